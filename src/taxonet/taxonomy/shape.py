"""The shape of a rooted tree: a parent array in breadth-first order and what follows from it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import TaxonomyError

Scalar = TypeVar("Scalar", bound=np.generic)


def read_only(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Make an array read-only, in place, and return it."""
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False, repr=False)
class TreeShape:
    """A rooted tree of nodes 0 to n - 1 in breadth-first order, without names.

    Parents come before their children, each level is one slice, and the children of a node are
    one slice. All arrays are read-only; none is larger than ``n log2(depth)``.

    Args:
        parent: The parent of each node, int32 (n,), ascending; -1 for the root, node 0.

    Examples:
        >>> shape = TreeShape(np.array([-1, 0, 0, 1, 1], dtype=np.int32))
        >>> shape.children(1), shape.leaves, shape.depth
        (range(3, 5), array([2, 3, 4]), array([0, 1, 1, 2, 2], dtype=int32))
        >>> shape.lca([[3], [2]], [3, 4])
        array([[3, 1],
               [0, 0]])
    """

    parent: NDArray[np.int32]

    def __post_init__(self) -> None:
        read_only(self.parent)

    @property
    def size(self) -> int:
        """The number of nodes, the root included."""
        return len(self.parent)

    def __len__(self) -> int:
        return len(self.parent)

    @cached_property
    def _child_start(self) -> NDArray[np.int64]:
        """The children of v are the nodes from item v to before item v + 1 (n + 1,)."""
        counts = np.bincount(self.parent[1:], minlength=self.size)
        return np.concatenate(([1], 1 + np.cumsum(counts)))

    @cached_property
    def level_slices(self) -> tuple[slice, ...]:
        """The nodes of each depth, from the root's, as slices."""
        slices = [slice(0, 1)]
        while (stop := int(self._child_start[slices[-1].stop])) > slices[-1].stop:
            slices.append(slice(slices[-1].stop, stop))
        return tuple(slices)

    @cached_property
    def depth(self) -> NDArray[np.int32]:
        """Edges from the root to each node (n,)."""
        sizes = [level.stop - level.start for level in self.level_slices]
        return read_only(np.repeat(np.arange(len(sizes), dtype=np.int32), sizes))

    @cached_property
    def leaves(self) -> NDArray[np.int64]:
        """The nodes without children, ascending."""
        return read_only(np.flatnonzero(np.diff(self._child_start) == 0))

    @cached_property
    def leaf_count(self) -> NDArray[np.int64]:
        """The number of leaves in the subtree of each node (n,); 1 for a leaf."""
        counts = np.zeros(self.size, dtype=np.int64)
        counts[self.leaves] = 1
        for level in reversed(self.level_slices[1:]):
            np.add.at(counts, self.parent[level], counts[level])
        return read_only(counts)

    @cached_property
    def information(self) -> NDArray[np.float64]:
        """What naming a node tells, ``-log2(leaf_count / total)`` in bits (n,); 0 at the root."""
        return read_only(np.log2(self.leaf_count[0] / self.leaf_count))

    def children(self, node: int) -> range:
        """Return the children of a node, sorted by name."""
        node = int(self._nodes(node))
        return range(int(self._child_start[node]), int(self._child_start[node + 1]))

    def ancestors(self, node: int) -> NDArray[np.int64]:
        """Return a node, its parent, and so on to the root, which comes last."""
        climbed = [int(self._nodes(node))]
        while climbed[-1] != 0:
            climbed.append(int(self.parent[climbed[-1]]))
        return np.array(climbed)

    def subtree(self, node: int) -> NDArray[np.int64]:
        """Return a node and all nodes below it, ascending.

        Examples:
            >>> TreeShape(np.array([-1, 0, 0, 1, 1, 2], dtype=np.int32)).subtree(1)
            array([1, 3, 4])
        """
        start = int(self._nodes(node))
        stop = start + 1
        levels = []
        while stop > start:
            levels.append(np.arange(start, stop))
            # Neighbours in a level have neighbouring children.
            start, stop = int(self._child_start[start]), int(self._child_start[stop])
        return np.concatenate(levels)

    def level(self, depth: int) -> NDArray[np.int64]:
        """Return the nodes of a level: those of that depth, and the leaves that are shallower.

        Each leaf lies below or on exactly one node of a level.
        """
        return np.flatnonzero(
            (self.depth == depth) | ((self.depth < depth) & (np.diff(self._child_start) == 0))
        )

    def ancestor_at_depth(self, nodes: ArrayLike, depth: int) -> NDArray[np.int64]:
        """Return the ancestor of each node at a depth; a shallower node stays itself.

        Args:
            nodes: Node indices, any shape.
            depth: Edges from the root, at least 0.
        """
        climbing = self._nodes(nodes).copy()
        while (deeper := self.depth[climbing] > depth).any():
            climbing = np.where(deeper, self.parent[climbing], climbing)
        return climbing

    def lca(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.int64]:
        """Return the lowest common ancestor of each pair of nodes; shapes broadcast.

        A node is an ancestor of itself. Takes ``O(log depth)`` steps, each over all pairs.
        """
        a, b = np.broadcast_arrays(self._nodes(a), self._nodes(b))
        a_is_deeper = self.depth[a] >= self.depth[b]
        deep, shallow = np.where(a_is_deeper, a, b), np.where(a_is_deeper, b, a)
        gap = self.depth[deep] - self.depth[shallow]
        for bit, jump in enumerate(self._jumps):
            deep = np.where(gap >> bit & 1, jump[deep], deep)
        for jump in reversed(self._jumps):
            apart = jump[deep] != jump[shallow]
            deep = np.where(apart, jump[deep], deep)
            shallow = np.where(apart, jump[shallow], shallow)
        return np.where(deep == shallow, deep, self.parent[deep]).astype(np.int64)

    @cached_property
    def _jumps(self) -> tuple[NDArray[np.int32], ...]:
        """For k = 0, 1, ... the ancestor 2**k edges above each node; the root above itself."""
        jumps = [np.maximum(self.parent, 0)]
        while 2 ** len(jumps) < len(self.level_slices):
            jumps.append(jumps[-1][jumps[-1]])
        return tuple(jumps)

    def _nodes(self, nodes: ArrayLike) -> NDArray[np.int64]:
        checked = np.asarray(nodes, dtype=np.int64)
        # A negative index would quietly count from the end.
        if checked.size and (checked.min() < 0 or checked.max() >= self.size):
            raise TaxonomyError(
                f"Nodes are 0 to {self.size - 1}, but got {checked.min()} to {checked.max()}."
            )
        return checked
