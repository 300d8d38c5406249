"""A batch of images judged: what every threshold would name, and how well that agrees."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from taxonet.metrics.agreement import NodeValue, agreement_of, node_value
from taxonet.metrics.arrays import Probabilities
from taxonet.metrics.pareto import ParetoFinder
from taxonet.taxonomy.shape import TreeShape

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MAJORITY_PROB = 0.5


class JudgedImages(NamedTuple):
    """What B images give to the operating curve and to the figures without a threshold.

    Figures of the curve are columns: recall, precision, correct (0 or 1).

    Attributes:
        image: int64 ``(s,)``, row of the image of each further step, ascending.
        confidence: float64 ``(s,)``; at thresholds up to this, the step is taken.
        gain: float64 ``(s, 3)``, what the step adds to the figures of its image.
        first: float64 ``(B, 3)``, figures of the first name, which every threshold allows.
        single: float64 ``(B, 3)``, majority F1, F1 of the best leaf, whether it is right.
    """

    image: IntArray
    confidence: FloatArray
    gain: FloatArray
    first: FloatArray
    single: FloatArray


class Judge:
    """Judges node probabilities against true nodes, all images of a batch at once.

    Args:
        taxonomy: The tree, n nodes.
        kind: What a node is worth, ``information`` or ``depth``.
        min_confidence: Steps of no more than this are left out of the Pareto sequences.
    """

    def __init__(
        self, taxonomy: TreeShape, *, kind: NodeValue, min_confidence: float | None
    ) -> None:
        self._taxonomy = taxonomy
        self._value = node_value(taxonomy, kind)
        self._finder = ParetoFinder(taxonomy)
        self._min_confidence = min_confidence

    def __call__(self, probs: Probabilities, truth: IntArray) -> JudgedImages:
        """Judge floats ``(B, n)`` and integers ``(B,)``, both checked."""
        image, node, confidence = self._finder(probs)
        found = agreement_of(node, truth[image], self._taxonomy, value=self._value)
        figures = np.column_stack([found.recall, found.precision, found.correct])
        leaf = np.flatnonzero(_starts(image))  # the first step of an image is its best leaf
        # The root is what is left to say where nothing is likely enough.
        root_recall = (self._value[truth] == 0).astype(np.float64)
        majority_f1 = root_recall.copy()
        likely = np.flatnonzero(confidence > _MAJORITY_PROB)
        majority = likely[_starts(image[likely])]
        majority_f1[image[majority]] = found.f1[majority]
        single = np.column_stack([majority_f1, found.f1[leaf], found.correct[leaf]])
        if self._min_confidence is not None:
            kept = confidence > self._min_confidence
            image, confidence, figures = image[kept], confidence[kept], figures[kept]
        # The steps of an image are ascending in confidence: its last one is what it names first.
        is_first = _starts(image[::-1])[::-1]
        first = np.column_stack([root_recall, np.ones((len(truth), 2))])
        first[image[is_first]] = figures[is_first]
        further = np.flatnonzero(~is_first)
        gain = figures[further] - figures[further + 1]
        return JudgedImages(image[further], confidence[further], gain, first, single)


def _starts(image: IntArray) -> BoolArray:
    """Mark the first entry of each image; equal images are neighbours."""
    return np.asarray(np.diff(image, prepend=-1) != 0)
