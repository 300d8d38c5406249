"""A tree as it was read, in any order, and its arrangement in breadth-first order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from taxonet.errors import TaxonomyError


@dataclass(frozen=True)
class Draft:
    """Nodes in the order in which they were met, before anything is known to form a tree.

    Args:
        names: The clean name of each node.
        parents: The parent of each node (n,), -1 for a root.
        ranks: Names of the ranks, coarse to fine; empty where the source knows none.
        rank: For each node its index into ``ranks``, or -1 (n,).
        origin: Says where a node was first met, for messages: ``"row 7 of plants.csv"``.
        labels: Training labels and their nodes.
    """

    names: Sequence[str]
    parents: NDArray[np.int64]
    ranks: tuple[str, ...]
    rank: NDArray[np.int64]
    origin: Callable[[int], str]
    labels: Mapping[str, int] = field(default_factory=dict)

    def path(self, node: int) -> str:
        """Return the names from below the root to a node, joined by slashes."""
        names = []
        while self.parents[node] >= 0:
            names.append(self.names[node])
            node = int(self.parents[node])
        return "/".join(reversed(names)) or self.names[node]


def breadth_first(draft: Draft) -> NDArray[np.int64]:
    """Order the nodes of a draft: level by level, siblings side by side, by code points.

    Returns:
        The draft's node at each place of the order (n,).

    Raises:
        TaxonomyError: The draft is no tree: no root or several, a cycle, or two children of one
            parent with the same name.
    """
    _check_root(draft)
    in_order = {name: place for place, name in enumerate(sorted(dict.fromkeys(draft.names)))}
    codes = np.array([in_order[name] for name in draft.names])
    by_parent = np.lexsort((codes, draft.parents))  # the root first, then sibling after sibling
    _check_siblings(draft, by_parent, codes)

    child_count = np.bincount(draft.parents + 1, minlength=len(codes) + 1)
    start = np.concatenate(([0], np.cumsum(child_count)[:-1]))
    level = by_parent[:1]
    levels = []
    while level.size:
        levels.append(level)
        counts = child_count[level + 1]
        skipped = start[level + 1] - (np.cumsum(counts) - counts)
        level = by_parent[np.repeat(skipped, counts) + np.arange(counts.sum())]
    order = np.concatenate(levels)
    if len(order) < len(codes):
        raise TaxonomyError(_cycle_message(draft, order))
    return order


def check_values(draft: Draft) -> None:
    """Check the arrays of a draft that a caller made by hand: lengths, ranges, empty names.

    Raises:
        TaxonomyError: The message names the argument and its values.
    """
    count = len(draft.names)
    if count == 0 or draft.parents.shape != (count,) or draft.rank.shape != (count,):
        raise TaxonomyError(
            f"Expected a parent and a rank for each of {count} names (at least one), but got "
            f"{draft.parents.shape} and {draft.rank.shape}."
        )
    if "" in draft.names:
        raise TaxonomyError(f"The name of node {draft.names.index('')} is empty.")
    for what, values, stop in (
        ("parents", draft.parents, count),
        ("rank", draft.rank, len(draft.ranks)),
        ("labels", np.array([0, *draft.labels.values()]), count),
    ):
        least = 0 if what == "labels" else -1
        if values.min() < least or values.max() >= stop:
            raise TaxonomyError(f"Values of {what} are {least} to {stop - 1}, but got {values}.")


def _check_root(draft: Draft) -> None:
    roots = np.flatnonzero(draft.parents < 0)
    if len(roots) == 0:
        raise TaxonomyError(_cycle_message(draft, roots))
    if len(roots) > 1:
        named = ", ".join(f"{draft.names[i]!r} ({draft.origin(int(i))})" for i in roots[:5])
        more = f" and {len(roots) - 5} more" if len(roots) > 5 else ""
        raise TaxonomyError(
            f"A taxonomy has one root, but {len(roots)} nodes have no parent: {named}{more}. "
            "Add the missing edges, or one root above them."
        )


def _check_siblings(draft: Draft, by_parent: NDArray[np.int64], codes: NDArray[np.int64]) -> None:
    left, right = by_parent[:-1], by_parent[1:]
    same = (draft.parents[left] == draft.parents[right]) & (codes[left] == codes[right])
    if same.any():
        pair = int(np.flatnonzero(same)[0])
        met = [
            f"{_kind(draft, i)} in {draft.origin(i)}" for i in sorted(by_parent[pair : pair + 2])
        ]
        raise TaxonomyError(
            f"The path {draft.path(int(left[pair]))!r} stands for two nodes: {met[0]}, and "
            f"{met[1]}. A path is one node and has one rank: correct one of them."
        )


def _kind(draft: Draft, node: int) -> str:
    return draft.ranks[draft.rank[node]] if draft.rank[node] >= 0 else "a node"


def _cycle_message(draft: Draft, reached: NDArray[np.int64]) -> str:
    outside = np.ones(len(draft.names), dtype=bool)
    outside[reached] = False
    node = int(np.flatnonzero(outside)[0])
    walk: dict[int, None] = {}
    while node not in walk:
        walk[node] = None
        node = int(draft.parents[node])
    around = list(walk)[list(walk).index(node) :]
    around.append(node)
    names = " -> ".join(repr(draft.names[i]) for i in reversed(around))
    return (
        f"A taxonomy has no cycles, but {names} is one (parent -> child; {draft.names[node]!r} "
        f"first gets a parent in {draft.origin(node)}). Remove one of these edges."
    )
