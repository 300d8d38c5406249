"""Which head class lends its covariance to a tail image."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from taxonet.errors import ConfigError, DataError
from taxonet.seeds import generator


def split_classes(
    class_counts: ArrayLike, *, tail_shots: int = 100
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the tail classes, with fewer than ``tail_shots`` training images, and the head's.

    SMART prints no line between them; this is the one of norm-guided selection.

    Args:
        class_counts: Training images of each class ``(K,)``.
        tail_shots: The images from which on a class is a head class, at least 1.

    Raises:
        ConfigError: ``tail_shots`` below 1, or no class is a head class.

    Examples:
        >>> split_classes([500, 100, 99, 5])
        (array([2, 3]), array([0, 1]))
    """
    if tail_shots < 1:
        raise ConfigError(f"tail_shots must be at least 1 image, but is {tail_shots}.")
    counts = np.asarray(class_counts)
    if not (counts >= tail_shots).any():
        raise ConfigError(
            f"No class has {tail_shots} training images or more, so there is no head class to "
            f"borrow from; the largest has {counts.max(initial=0)}. Lower tail_shots."
        )
    return np.flatnonzero(counts < tail_shots), np.flatnonzero(counts >= tail_shots)


class HeadChoice:
    """Draws a head class for each image of a tail class.

    Without similarity every head class is equally likely (the paper's rule). With it the draw is
    among the k head classes that are most similar to the tail class (the paper's offline scheme
    has k = 5), and those as similar as the k-th: in a taxonomy many relatives are equally near,
    and a cut among them would follow the order of the classes.

    Args:
        tail_classes: Indices of the tail classes; none is allowed, and then nothing is drawn.
        head_classes: Indices of the head classes, at least one, none of them a tail class.
        similarity: ``(tail classes, head classes)`` in the order of the two, higher is nearer.
        k: How many of the nearest, at least 1; all head classes where there are fewer.

    Raises:
        ConfigError: k below 1, no head class, or a class on both sides or twice.
        DataError: A similarity of another shape, or one that is not finite.

    Reference:
        Zhang et al., Semantic Transfer from Head to Tail, sections 3.3 and 4.3.

    Examples:
        >>> choice = HeadChoice([2, 3], [0, 1], similarity=[[0.9, 0.1], [0.5, 0.5]], k=1)
        >>> choice.candidates(2), choice.candidates(3)
        (array([0]), array([0, 1]))
        >>> choice.draw(torch.tensor([2, 0, 2]), 7, "epoch", 0)
        tensor([ 0, -1,  0])
    """

    def __init__(
        self,
        tail_classes: ArrayLike,
        head_classes: ArrayLike,
        *,
        similarity: ArrayLike | None = None,
        k: int = 5,
    ) -> None:
        self.tail_classes = np.asarray(tail_classes, dtype=np.int64)
        self.head_classes = np.asarray(head_classes, dtype=np.int64)
        both = np.concatenate([self.tail_classes, self.head_classes])
        if len(self.head_classes) == 0 or len(np.unique(both)) < len(both):
            raise ConfigError(
                "Head and tail need at least 1 head class and no class twice, but got "
                f"{len(self.tail_classes)} tail and {len(self.head_classes)} head classes, "
                f"{len(both) - len(np.unique(both))} of them repeated."
            )
        if k < 1:
            raise ConfigError(f"k must be at least 1 head class, but is {k}.")
        self._row = {int(tail): row for row, tail in enumerate(self.tail_classes)}
        self._similarity = None if similarity is None else self._checked(similarity)
        if self._similarity is not None:
            place = max(0, len(self.head_classes) - k)
            self._at_least = np.partition(self._similarity, place, axis=1)[:, place]

    def candidates(self, tail_class: int) -> NDArray[np.int64]:
        """Return the head classes that a tail class may draw."""
        row = self._row[tail_class]
        if self._similarity is None:
            return self.head_classes
        near: NDArray[np.int64] = self.head_classes[self._similarity[row] >= self._at_least[row]]
        return near

    def draw(self, target: Tensor, *key: int | str) -> Tensor:
        """Return a head class for each image, -1 where its class ``(B,)`` is no tail class.

        Args:
            target: The class of each image, int64 ``(B,)``.
            *key: What the draw depends on, such as the seed, the epoch and the step; of equal
                keys, images of one class at one place of the batch draw the same.

        Returns:
            int64 ``(B,)`` on the device of the target.
        """
        draws = generator("head class", *key).random(len(target))
        heads = [
            self._drawn(tail, draw)
            for tail, draw in zip(target.tolist(), draws.tolist(), strict=True)
        ]
        return torch.tensor(heads, dtype=torch.int64, device=target.device)

    def _drawn(self, tail_class: int, draw: float) -> int:
        if tail_class not in self._row:
            return -1
        candidates = self.candidates(tail_class)
        return int(candidates[int(draw * len(candidates))])

    def _checked(self, similarity: ArrayLike) -> NDArray[np.float32]:
        given = np.asarray(similarity, dtype=np.float32)
        expected = (len(self.tail_classes), len(self.head_classes))
        if given.shape != expected:
            raise DataError(
                f"The similarity must be of shape {expected}, tail by head classes, but is "
                f"{given.shape}."
            )
        if not np.isfinite(given).all():
            raise DataError("The similarity must be finite, but holds nan or infinite values.")
        return given
