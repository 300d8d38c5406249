"""How often each class is drawn in an epoch: samplers, by name."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from taxonet.registry import SAMPLERS


class Sampler(ABC):
    """The base of the samplers: classes are drawn with chances that follow their sizes.

    An epoch holds as many draws as there are images, whatever the sampler. Within a class each
    image comes once before any comes again.

    Attributes:
        each_image_once: Whether an epoch is simply a permutation of the images.
    """

    each_image_once: ClassVar[bool] = False

    @abstractmethod
    def class_probs(self, class_counts: NDArray[np.int64], progress: float) -> NDArray[np.float64]:
        """Return the chance of each class ``(c,)``, with sum 1.

        Args:
            class_counts: Images of each class ``(c,)``, at least 1.
            progress: The share of the training that is over, 0 in the first epoch, 1 in the last.
        """


@SAMPLERS.register("instance_balanced")
class InstanceBalancedSampler(Sampler):
    """Each image once in an epoch, so that a class comes as often as it has images.

    Examples:
        >>> InstanceBalancedSampler().class_probs(np.array([9, 1]), 0.0)
        array([0.9, 0.1])
    """

    each_image_once: ClassVar[bool] = True

    def class_probs(self, class_counts: NDArray[np.int64], progress: float) -> NDArray[np.float64]:
        """Return ``N_k / N``."""
        return power_probs(class_counts, 1.0)


@SAMPLERS.register("square_root")
class SquareRootSampler(Sampler):
    """A class in proportion to the square root of its size.

    Examples:
        >>> SquareRootSampler().class_probs(np.array([9, 1]), 0.0)
        array([0.75, 0.25])
    """

    def class_probs(self, class_counts: NDArray[np.int64], progress: float) -> NDArray[np.float64]:
        """Return the chances, in proportion to ``N_k^(1/2)``."""
        return power_probs(class_counts, 0.5)


@SAMPLERS.register("class_balanced")
class ClassBalancedSampler(Sampler):
    """All classes alike.

    Examples:
        >>> ClassBalancedSampler().class_probs(np.array([9, 1]), 0.0)
        array([0.5, 0.5])
    """

    def class_probs(self, class_counts: NDArray[np.int64], progress: float) -> NDArray[np.float64]:
        """Return ``1 / c`` for each class."""
        return power_probs(class_counts, 0.0)


@SAMPLERS.register("reversed")
class ReversedSampler(Sampler):
    """The rarer, the more often: a class in inverse proportion to its size.

    Tail-dominated batches (SMART) and the pasted images of CMO are drawn so.

    Examples:
        >>> ReversedSampler().class_probs(np.array([9, 1]), 0.0)
        array([0.1, 0.9])
    """

    def class_probs(self, class_counts: NDArray[np.int64], progress: float) -> NDArray[np.float64]:
        """Return the chances, in proportion to ``1 / N_k``."""
        return power_probs(class_counts, -1.0)


@SAMPLERS.register("progressive")
class ProgressiveSampler(Sampler):
    """From instance-balanced in the first epoch to class-balanced in the last, in a straight line.

    Reference:
        Kang et al. 2020, Decoupling Representation and Classifier for Long-Tailed Recognition,
        section 3, eq. 2.

    Examples:
        >>> ProgressiveSampler().class_probs(np.array([9, 1]), 0.5)
        array([0.7, 0.3])
    """

    def class_probs(self, class_counts: NDArray[np.int64], progress: float) -> NDArray[np.float64]:
        """Return ``(1 - t) N_k / N + t / c``."""
        by_instance, by_class = power_probs(class_counts, 1.0), power_probs(class_counts, 0.0)
        return (1 - progress) * by_instance + progress * by_class


def power_probs(class_counts: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """Return chances in proportion to ``N_k^power``, with sum 1."""
    weights = np.asarray(class_counts, dtype=np.float64) ** power
    probs: NDArray[np.float64] = weights / weights.sum()
    return probs


def epoch_rows(
    sampler: Sampler,
    rows_of_classes: Sequence[NDArray[np.int64]],
    rng: np.random.Generator,
    *,
    progress: float,
) -> NDArray[np.int64]:
    """Return the rows of an epoch in the order they are drawn, as many as there are rows.

    Args:
        sampler: Says how often each class comes.
        rows_of_classes: The rows of each class, none empty.
        rng: The source of all chance.
        progress: The share of the training that is over, in [0, 1].

    Examples:
        >>> rows = [np.arange(9), np.array([9])]
        >>> drawn = epoch_rows(ClassBalancedSampler(), rows, np.random.default_rng(0), progress=0.0)
        >>> len(drawn), int((drawn == 9).sum())
        (10, 4)
    """
    if sampler.each_image_once:
        return rng.permutation(np.sort(np.concatenate(rows_of_classes)))
    sizes = np.array([len(rows) for rows in rows_of_classes])
    draws = rng.multinomial(sizes.sum(), sampler.class_probs(sizes, progress))
    drawn = [
        _in_rounds(rows, int(number), rng)
        for rows, number in zip(rows_of_classes, draws, strict=True)
    ]
    return rng.permutation(np.concatenate(drawn))


def occurrences(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often each entry came before, so that repeated draws can be told apart.

    Examples:
        >>> occurrences(np.array([4, 7, 4, 4])).tolist()
        [0, 0, 1, 2]
    """
    order = np.argsort(rows, kind="stable")
    place = np.arange(len(rows))
    starts = np.r_[True, np.diff(rows[order]) != 0] if len(rows) else np.zeros(0, dtype=bool)
    first = np.maximum.accumulate(np.where(starts, place, 0))
    number = np.empty(len(rows), dtype=np.int64)
    number[order] = place - first
    return number


def _in_rounds(rows: NDArray[np.int64], number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``number`` of the rows: all of them in a new order, again and again."""
    rounds = [rng.permutation(rows) for _ in range(-(-number // len(rows)))]
    return np.concatenate([rows[:0], *rounds])[:number]
