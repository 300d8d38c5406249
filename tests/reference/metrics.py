"""Slow loops, written from the definitions, that the metrics must agree with."""

import math
from collections.abc import Sequence


def recall_of(truth: Sequence[int], predicted: Sequence[int], k: int) -> float | None:
    mine = [p for t, p in zip(truth, predicted, strict=True) if t == k]
    return sum(p == k for p in mine) / len(mine) if mine else None


def precision_of(truth: Sequence[int], predicted: Sequence[int], k: int) -> float:
    named = [t for t, p in zip(truth, predicted, strict=True) if p == k]
    return sum(t == k for t in named) / len(named) if named else 0.0


def f1_of(truth: Sequence[int], predicted: Sequence[int], k: int) -> float:
    recall, precision = recall_of(truth, predicted, k), precision_of(truth, predicted, k)
    return 2 * recall * precision / (recall + precision) if recall else 0.0


def macro(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def threshold_at_tpr(known: Sequence[float], tpr: float) -> float:
    for candidate in sorted(known):
        if sum(score <= candidate for score in known) / len(known) >= tpr:
            return candidate
    raise AssertionError("the largest score accepts everything")


def auroc(known: Sequence[float], unknown: Sequence[float]) -> float:
    wins = sum(1.0 if k < u else 0.5 if k == u else 0.0 for k in known for u in unknown)
    return wins / (len(known) * len(unknown))


def average_precision(known: Sequence[float], unknown: Sequence[float]) -> float:
    area, recall_before = 0.0, 0.0
    for threshold in sorted(set(known) | set(unknown)):
        right = sum(score <= threshold for score in known)
        accepted = right + sum(score <= threshold for score in unknown)
        recall = right / len(known)
        area += (recall - recall_before) * right / accepted
        recall_before = recall
    return area


def oscr(known: Sequence[float], right: Sequence[bool], unknown: Sequence[float]) -> float:
    """Trapezoids under (share of unknown accepted, share of known accepted and right)."""
    area, x_before, y_before = 0.0, 0.0, 0.0
    for threshold in sorted(set(known) | set(unknown)):
        x = sum(score <= threshold for score in unknown) / len(unknown)
        y = sum(s <= threshold and r for s, r in zip(known, right, strict=True)) / len(known)
        area += (x - x_before) * (y + y_before) / 2
        x_before, y_before = x, y
    return area


def reliability_bins(
    probs: Sequence[float], right: Sequence[bool], bins: int
) -> list[tuple[int, float, float]]:
    """Images, mean probability and accuracy of each bin, NaN where it is empty."""
    found = []
    for m in range(bins):
        lower, upper = m / bins, (m + 1) / bins
        members = [
            (p, r)
            for p, r in zip(probs, right, strict=True)
            if lower < p <= upper or (m == 0 and p == 0)
        ]
        if members:
            mean_prob = sum(p for p, _ in members) / len(members)
            accuracy = sum(r for _, r in members) / len(members)
            found.append((len(members), mean_prob, accuracy))
        else:
            found.append((0, math.nan, math.nan))
    return found


def expected_calibration_error(probs: Sequence[float], right: Sequence[bool], bins: int) -> float:
    return sum(
        images / len(probs) * abs(accuracy - mean_prob)
        for images, mean_prob, accuracy in reliability_bins(probs, right, bins)
        if images
    )
