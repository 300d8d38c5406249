"""Photos in a random order that does not depend on how their table is sorted."""

import numpy as np

from taxonet.data.table import ImageTable
from taxonet.evaluation.judge import IntArray
from taxonet.seeds import generator


def drawn_rows(table: ImageTable, what: str) -> IntArray:
    """Return the rows of a table in a random order, ``(N,)``: always the same photos first.

    Args:
        table: Photos.
        what: What they are drawn for; each purpose has its own order.
    """
    by_name = np.argsort(table.frame["image"].to_numpy(dtype=str), kind="stable")
    order: IntArray = by_name[generator("photos drawn", what).permutation(len(table))]
    return order
