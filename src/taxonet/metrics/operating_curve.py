"""Recall, precision and correctness of named nodes as one confidence threshold moves."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from taxonet.errors import DataError
from taxonet.metrics.agreement import NodeValue
from taxonet.metrics.arrays import Values, node_probabilities, target_indices
from taxonet.metrics.bootstrap import (
    Interval,
    check_options,
    image_weights,
    percentile_interval,
)
from taxonet.metrics.judging import Judge
from taxonet.metrics.staircase import best_where, staircase_area
from taxonet.metrics.tallies import BinnedTally, CurveTotals, ExactTally
from taxonet.metrics.vectors import row_blocks
from taxonet.taxonomy.shape import TreeShape

FloatArray = NDArray[np.float64]

_PERCENT_CORRECT = (90, 95)


@dataclass(frozen=True, eq=False)
class OperatingPoints:
    """What naming nodes at every threshold gives, and the seven figures made of it.

    Attributes:
        images: How many images were judged.
        threshold: float64 ``(t,)``, descending. At a threshold each image is named by the most
            specific step of its Pareto sequence of at least that confidence, or by its first
            (most confident) step where none reaches it; that is what stands at infinity.
        recall: float64 ``(t,)`` in [0, 1], mean over images.
        precision: float64 ``(t,)`` in [0, 1], mean over images.
        correct: float64 ``(t,)`` in [0, 1], share of images named rightly.
        metrics: AP, AC, R@90, R@95, M-F1, L-F1 and L-Top1 by name, fractions in [0, 1].
    """

    images: int
    threshold: FloatArray
    recall: FloatArray
    precision: FloatArray
    correct: FloatArray
    metrics: dict[str, float]


class OperatingCurve:
    r"""Collects images and traces how they are named as one threshold moves over all of them.

    The Pareto sequence of an image are the nodes that no other node beats in both confidence and
    specificity (minus the number of leaves), `ParetoFinder`. A name below the truth is cut off
    there, and recall, precision and correctness of every name are those of
    `hierarchical_agreement`. Falling from infinity, a threshold lets more and more images step
    on to a more specific name; equal confidences step at once.

    * ``AP``, ``AC``: area under precision and correct over recall, on the Pareto-monotone curve
      (`staircase_area`): at recall x counts the best point of recall x or more, nothing is
      interpolated, and beyond the largest recall there is no area.
    * ``R@90``, ``R@95``: the largest recall with at least 90 (95) % correct images; 0 where no
      point has as many.
    * ``M-F1``: mean F1 of the most specific node with a probability over 0.5.
    * ``L-F1``, ``L-Top1``: mean F1 of the most probable leaf, and how often it is right.

    Ties within an image go to the more specific, then the more probable, then the lower node.
    Probabilities are compared as they are, not rounded.

    What the paper leaves open is decided as its public evaluation does: the curve begins with
    the first name of every image, however confident (with P(root) = 1 that is the root or its
    equal, at recall 0); the F1 of an image is averaged, not taken of averages; steps of exactly
    ``min_confidence`` are left out. Where that evaluation stops, an image without a name of
    enough confidence is named the root: correct, of recall 0 (1 where the truth tells nothing)
    and precision 1.

    The memory is that of one block of images, 48 bytes an image, and 40 bytes a step, of which an
    image has a handful; with ``bins`` it is fixed. The time is O(n) an image.

    Args:
        taxonomy: The tree, n nodes.
        kind: What a node is worth: ``information``, ``-log2(leaves below / all leaves)``, or
            ``depth``, edges from the root.
        min_confidence: Only nodes of more than this probability are steps, in [0, 1]; None is
            exact. The published figures of iNat21 use 0.1. M-F1 and the figures of leaves do
            not depend on it.
        bins: None keeps every threshold. A number keeps a histogram of as many equal bins of
            [0, 1], which is approximate: the curve is right at the edges of the bins and
            unknown between them, so that AP, AC and R@X come out at most as large as they are.

    Raises:
        DataError: Another kind, a ``min_confidence`` outside [0, 1], or no bin.

    Reference:
        Valmadre, Hierarchical Classification at Multiple Operating Points, arXiv 2210.10929,
        sections 3 and 4; its evaluation is https://github.com/jvlmdr/hiercls.

    Examples:
        >>> tree = TreeShape(np.array([-1, 0, 0, 1, 1, 2, 2], dtype=np.int32))
        >>> curve = OperatingCurve(tree)
        >>> curve.update([[1, 0.9, 0.1, 0.6, 0.3, 0.1, 0]], [3])
        >>> curve.update([[1, 0.2, 0.8, 0.1, 0.1, 0.3, 0.5]], [5])
        >>> points = curve.compute()
        >>> points.threshold.tolist()
        [inf, 0.9, 0.8, 0.6, 0.5]
        >>> points.recall.tolist(), points.precision.tolist(), points.correct.tolist()
        ([0.0, 0.25, 0.5, 0.75, 0.75], [1.0, 1.0, 1.0, 1.0, 0.75], [1.0, 1.0, 1.0, 1.0, 0.5])
        >>> points.metrics["AP"], points.metrics["R@95"], points.metrics["L-F1"]
        (0.75, 0.75, 0.75)
        >>> round(points.metrics["M-F1"], 3)  # node 3 has F1 1, node 2 2 * 0.5 / (0.5 + 1)
        0.833
    """

    def __init__(
        self,
        taxonomy: TreeShape,
        *,
        kind: NodeValue = "information",
        min_confidence: float | None = None,
        bins: int | None = None,
    ) -> None:
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise DataError(f"Expected min_confidence in [0, 1] or None, got {min_confidence}.")
        if bins is not None and bins < 1:
            raise DataError(f"Expected at least one bin, got {bins}.")
        self._taxonomy = taxonomy
        self._options = (kind, min_confidence, bins)
        self._judge = Judge(taxonomy, kind=kind, min_confidence=min_confidence)
        self._tally = ExactTally() if bins is None else BinnedTally(bins)

    @property
    def images(self) -> int:
        """How many images were added."""
        return self._tally.images

    def update(self, node_probs: Values, target_nodes: Values) -> None:
        """Add a batch. A batch that is refused leaves the curve as it was.

        Args:
            node_probs: Floats ``(B, n)`` in [0, 1] in node order, NumPy or torch of any device;
                summed up the tree, or any other confidences of nodes.
            target_nodes: Integers ``(B,)``, the true nodes, at any depth.

        Raises:
            DataError: Shapes that do not fit, NaN, probabilities outside [0, 1] by over 0.001,
                or a node out of range.
        """
        probs = node_probabilities(node_probs, self._taxonomy.size)
        truth = target_indices(target_nodes, self._taxonomy.size, images=len(probs))
        for rows in row_blocks(len(probs)):
            self._tally.add(self._judge(probs[rows], truth[rows]))

    def merge(self, other: Self) -> None:
        """Add all images of another curve of the same tree and options.

        Raises:
            DataError: Another tree or other options.
        """
        if self._options != other._options or not np.array_equal(
            self._taxonomy.parent, other._taxonomy.parent
        ):
            raise DataError("Curves of another tree, kind, min_confidence or bins do not merge.")
        self._tally.merge(other._tally)  # type: ignore[arg-type]  # equal bins, so of one make

    def compute(self) -> OperatingPoints:
        """Return the curve and its figures.

        Raises:
            DataError: There are no images.
        """
        self._need_images()
        totals = self._tally.totals()
        recall, precision, correct = _means(totals)
        return OperatingPoints(
            images=totals.images,
            threshold=totals.threshold,
            recall=recall,
            precision=precision,
            correct=correct,
            metrics=_figures(totals),
        )

    def resampled(
        self, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
    ) -> dict[str, Interval]:
        """Return a percentile bootstrap interval of each figure, drawing images anew.

        No image is judged again: a resample is one pass over the steps with other weights.

        Args:
            resamples: How often to draw as many images as there are, at least 1.
            level: The share inside the interval, in (0, 1).
            seed: Keys the draws.

        Raises:
            DataError: There are no images, a curve with ``bins``, or options out of range.

        Examples:
            >>> curve = OperatingCurve(TreeShape(np.array([-1, 0, 0], dtype=np.int32)))
            >>> curve.update([[1, 0.75, 0.25]] * 8, [1, 1, 1, 1, 1, 1, 2, 2])
            >>> curve.resampled(resamples=200)["L-Top1"]
            Interval(estimate=0.75, low=0.375, high=1.0)
        """
        self._need_images()
        check_options(level=level, resamples=resamples)
        if not isinstance(self._tally, ExactTally):
            raise DataError("A curve with bins keeps no images to draw; use bins=None.")
        steps = self._tally.steps()
        draws = [
            _figures(steps.totals(image_weights(self.images, seed=seed, resample=resample)))
            for resample in range(resamples)
        ]
        return {
            name: percentile_interval(value, np.array([draw[name] for draw in draws]), level=level)
            for name, value in _figures(steps.totals()).items()
        }

    def _need_images(self) -> None:
        if self.images == 0:
            raise DataError("There are no images to judge: call update first.")


def _means(totals: CurveTotals) -> tuple[FloatArray, FloatArray, FloatArray]:
    # Sums of gains and losses may end a rounding below 0 or above 1.
    recall, precision, correct = np.clip(totals.sums / totals.images, 0.0, 1.0).T
    return recall, precision, correct


def _figures(totals: CurveTotals) -> dict[str, float]:
    recall, precision, correct = _means(totals)
    right = totals.sums[:, 2]  # a whole number, so that shares of exactly X % are met exactly
    majority_f1, leaf_f1, leaf_right = (totals.single / totals.images).tolist()
    return {
        "AP": staircase_area(recall, precision),
        "AC": staircase_area(recall, correct),
        **{
            f"R@{percent}": best_where(recall, 100 * right >= percent * totals.images)
            for percent in _PERCENT_CORRECT
        },
        "M-F1": majority_f1,
        "L-F1": leaf_f1,
        "L-Top1": leaf_right,
    }
