"""The classes of a classifier: the nodes of the taxonomy that carry training labels."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError


@dataclass(frozen=True, eq=False)
class ClassIndex:
    """Class indices 0..c-1 and the nodes they stand for, ascending by node.

    Args:
        class_nodes: ``(c,)`` int64, ascending, each once.
        class_counts: ``(c,)`` int64, training images of each class, at least 1.

    Raises:
        DataError: The nodes are not ascending, or a class has no image.

    Examples:
        >>> classes = ClassIndex.from_nodes([7, 3, 7, 9])
        >>> classes.class_nodes.tolist(), classes.class_counts.tolist()
        ([3, 7, 9], [1, 2, 1])
        >>> classes.targets([9, 4, 3]).tolist()
        [2, -1, 0]
    """

    class_nodes: NDArray[np.int64]
    class_counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        nodes = np.array(self.class_nodes, dtype=np.int64)
        counts = np.array(self.class_counts, dtype=np.int64)
        if nodes.ndim != 1 or nodes.shape != counts.shape:
            raise DataError(
                f"Class nodes and counts must be two vectors of one length, got shapes "
                f"{nodes.shape} and {counts.shape}."
            )
        if len(nodes) == 0:
            raise DataError("There is no class: no training image has a label.")
        if nodes[0] < 0 or (np.diff(nodes) <= 0).any():
            raise DataError("Class nodes must be ascending node indices from 0, each once.")
        if (counts < 1).any():
            first = int(nodes[np.argmax(counts < 1)])
            raise DataError(f"A class needs at least one training image; node {first} has none.")
        for name, array in (("class_nodes", nodes), ("class_counts", counts)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def from_nodes(cls, training_nodes: ArrayLike) -> Self:
        """Make the classes from the node of each training image, ``(N,)``.

        Raises:
            DataError: There is no image, or a node is negative (a label outside the taxonomy).
        """
        nodes, counts = np.unique(np.asarray(training_nodes, dtype=np.int64), return_counts=True)
        if len(nodes) and nodes[0] < 0:
            raise DataError(
                f"{int(counts[nodes < 0].sum())} training images have a label outside the "
                "taxonomy (node below 0): resolve or remove them first."
            )
        return cls(nodes, counts)

    def __len__(self) -> int:
        return len(self.class_nodes)

    def targets(self, nodes: ArrayLike) -> NDArray[np.int64]:
        """Return the class index of each node, any shape; -1 for a node that is no class."""
        wanted = np.asarray(nodes, dtype=np.int64)
        place = np.searchsorted(self.class_nodes, wanted).clip(max=len(self) - 1)
        return np.where(self.class_nodes[place] == wanted, place, -1).astype(np.int64)
