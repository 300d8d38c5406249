"""Parts of the tree, as options name them: ``rank=name``, and all that lies below."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from taxonet.taxonomy.tree import Taxonomy


def taxa_named(taxonomy: "Taxonomy", text: str) -> tuple[int, ...]:
    """Return the nodes that ``rank=name`` stands for, several where the rank has the name twice.

    A tree without ranks, such as that of an edge list, has names only: there it is ``name``.

    Raises:
        ConfigError: No such rank, or no taxon of that name at that rank; with the nearest.

    Examples:
        >>> from taxonet.taxonomy import Taxonomy
        >>> taxa_named(Taxonomy.from_edges([("Rosa", "Rosa canina")]), "Rosa canina")
        (1,)
    """
    if not taxonomy.ranks:
        return _checked(taxonomy.find(text.strip()), text, taxonomy.names, what="taxon")
    rank, equals, name = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise ConfigError(f"Expected rank=name, such as family=Rosaceae, got {text!r}.")
    if rank not in taxonomy.ranks:
        raise ConfigError(
            f"The taxonomy has no rank {rank!r}.{did_you_mean(rank, taxonomy.ranks)} "
            f"Its ranks: {', '.join(taxonomy.ranks)}."
        )
    at_rank = set(taxonomy.at_rank(rank).tolist())
    nodes = tuple(node for node in taxonomy.find(name) if node in at_rank)
    return _checked(nodes, name, [taxonomy.names[node] for node in at_rank], what=rank)


def lies_under(
    taxonomy: "Taxonomy", nodes: ArrayLike, tops: Sequence[int] | NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say of each node whether it is one of ``tops`` or below one; in time linear in the tree.

    Args:
        taxonomy: The tree.
        nodes: Node indices, any shape.
        tops: Node indices ``(m,)``.

    Examples:
        >>> from taxonet.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
        >>> lies_under(tree, [0, 1, 2, 3], [1]).tolist()
        [False, True, False, True]
    """
    inside = np.zeros(len(taxonomy), dtype=bool)
    inside[np.asarray(tops, dtype=np.int64)] = True
    for level in taxonomy.level_slices[1:]:
        inside[level] |= inside[taxonomy.parent[level]]
    found: NDArray[np.bool_] = inside[np.asarray(nodes, dtype=np.int64)]
    return found


def _checked(
    nodes: tuple[int, ...], name: str, known: Sequence[str], *, what: str
) -> tuple[int, ...]:
    if not nodes:
        raise ConfigError(f"No {what} is called {name!r}.{did_you_mean(name, known)}")
    return nodes
