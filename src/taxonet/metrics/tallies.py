"""What an operating curve remembers: every step of every image, or a histogram of steps."""

from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from taxonet.metrics.judging import JudgedImages

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class CurveTotals(NamedTuple):
    """Sums over N images, at every threshold and without one.

    Attributes:
        images: N.
        threshold: float64 ``(t,)``, descending; the first is infinite.
        sums: float64 ``(t, 3)``, recall, precision and correct images.
        single: float64 ``(3,)``, majority F1, leaf F1 and images with the right leaf.
    """

    images: int
    threshold: FloatArray
    sums: FloatArray
    single: FloatArray


class Tally(Protocol):
    """What keeps the judged images of an operating curve."""

    images: int

    def add(self, batch: JudgedImages) -> None:
        """Add a batch."""

    def merge(self, other: Self) -> None:
        """Add all that another tally of the same make holds."""

    def totals(self) -> CurveTotals:
        """Return the sums at every threshold; there is at least one image."""


class SortedSteps:
    """The steps of all images by falling confidence, ready for sums with any weights.

    Args:
        judged: All images in one.
    """

    def __init__(self, judged: JudgedImages) -> None:
        order = np.argsort(-judged.confidence, kind="stable")
        confidence = judged.confidence[order]
        self._image, self._gain = judged.image[order], judged.gain[order]
        self._first, self._single = judged.first, judged.single
        # Equal confidences are one threshold: it takes all of their steps.
        self._ends = np.flatnonzero(np.diff(confidence, append=-np.inf) != 0)
        self._threshold = np.concatenate([[np.inf], confidence[self._ends]])

    def totals(self, weights: IntArray | None = None) -> CurveTotals:
        """Sum up, each image once or as often as its weight, int64 ``(N,)``, says."""
        first, single, gain = self._first, self._single, self._gain
        if weights is not None:
            first, single = weights[:, None] * first, weights[:, None] * single
            gain = weights[self._image, None] * gain
        start = first.sum(axis=0)
        return CurveTotals(
            images=len(first) if weights is None else int(weights.sum()),
            threshold=self._threshold,
            sums=np.vstack([start, start + np.cumsum(gain, axis=0)[self._ends]]),
            single=single.sum(axis=0),
        )


class ExactTally:
    """Keeps every step of every image: about 40 bytes a step."""

    def __init__(self) -> None:
        self.images = 0
        self._parts: list[JudgedImages] = []

    def add(self, batch: JudgedImages) -> None:
        """Add a batch; its images are counted on from those that are there."""
        self._parts.append(batch._replace(image=batch.image + self.images))
        self.images += len(batch.first)

    def merge(self, other: Self) -> None:
        """Add all that another tally holds."""
        if other.images:
            self.add(other._joined())

    def totals(self) -> CurveTotals:
        """Return the sums at every confidence that occurred."""
        return self.steps().totals()

    def steps(self) -> SortedSteps:
        """Return all steps, sorted."""
        return SortedSteps(self._joined())

    def _joined(self) -> JudgedImages:
        return JudgedImages(*map(np.concatenate, zip(*self._parts, strict=True)))


class BinnedTally:
    """Keeps the sums of the steps in equal bins of confidence, whatever the number of images.

    Args:
        bins: How many bins [0, 1] is cut into; bin b holds confidences in ``[b, b + 1) / bins``,
            the last one 1 too.
    """

    def __init__(self, bins: int) -> None:
        self.images = 0
        self._edges = np.arange(bins) / bins
        self._gain = np.zeros((bins, 3))
        self._first = np.zeros(3)
        self._single = np.zeros(3)

    def add(self, batch: JudgedImages) -> None:
        """Add a batch."""
        self.images += len(batch.first)
        # Rounding may have put a probability just outside [0, 1].
        bin_of = np.maximum(np.searchsorted(self._edges, batch.confidence, side="right") - 1, 0)
        for figure in range(3):
            gain = batch.gain[:, figure]
            self._gain[:, figure] += np.bincount(bin_of, gain, minlength=len(self._edges))
        self._first += batch.first.sum(axis=0)
        self._single += batch.single.sum(axis=0)

    def merge(self, other: Self) -> None:
        """Add all that another tally of as many bins holds."""
        self.images += other.images
        self._gain += other._gain
        self._first += other._first
        self._single += other._single

    def totals(self) -> CurveTotals:
        """Return the sums at the lower edge of every bin."""
        falling = np.cumsum(self._gain[::-1], axis=0)
        return CurveTotals(
            images=self.images,
            threshold=np.concatenate([[np.inf], self._edges[::-1]]),
            sums=np.vstack([self._first, self._first + falling]),
            single=self._single,
        )
