"""Likely nodes as a table: one line for each photo and taxon."""

from collections.abc import Iterable, Iterator

from taxonet.classifier.rows import NODE_PROBS, Row
from taxonet.taxonomy import Taxonomy

NODE_COLUMNS = ["image", "scientificName", "taxonRank", "path", "probability"]


def node_lines(rows: Iterable[Row], taxonomy: Taxonomy) -> Iterator[Row]:
    """Yield a line for each node that a row holds, in the order of the rows and of the nodes.

    Args:
        rows: Rows of a `RowMaker` with ``node_probs_from``; unreadable images have no lines.
        taxonomy: The tree of that maker.

    Examples:
        >>> tree = Taxonomy.from_edges([("root", "Rosa"), ("Rosa", "Rosa canina")])
        >>> (line,) = node_lines([{"image": "a.jpg", "nodeProbs": [(2, 0.75)]}], tree)
        >>> [line[column] for column in NODE_COLUMNS]
        ['a.jpg', 'Rosa canina', None, 'Rosa/Rosa canina', 0.75]
    """
    for row in rows:
        for node, probability in row.get(NODE_PROBS, ()):
            yield {
                "image": row["image"],
                "scientificName": taxonomy.names[node],
                "taxonRank": taxonomy.rank_name(node),
                "path": taxonomy.path_text(node),
                "probability": probability,
            }
