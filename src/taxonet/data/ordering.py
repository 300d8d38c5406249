"""Orders that depend on names and a key, never on the order of rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taxonet.seeds import seed_of


def keyed_order(names: Sequence[str], *key: int | str) -> NDArray[np.int64]:
    """Return the positions of distinct names in a shuffled order that the key decides.

    Every name gets its own number from the key, so the order among some names stays what it is
    when others come or go, or when the rows are permuted.

    Examples:
        >>> names = ["a", "b", "c", "d"]
        >>> order = keyed_order(names, 7, "split")
        >>> backwards = keyed_order(names[::-1], 7, "split")
        >>> [names[i] for i in order] == [names[::-1][i] for i in backwards]
        True
    """
    numbers = [seed_of(*key, name) for name in names]
    return np.array(sorted(range(len(names)), key=lambda i: (numbers[i], names[i])), dtype=np.int64)
