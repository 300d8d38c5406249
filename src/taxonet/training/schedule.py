"""The learning rate as a pure function of the step, so that a resume needs no state for it."""

from bisect import bisect_right
from collections.abc import Sequence
from math import cos, pi


def warmup_cosine(step: int, *, total_steps: int, warmup_steps: int, floor: float = 0.0) -> float:
    r"""Return the share of the peak learning rate to use at a step.

    .. math:: f(t) = \frac{t + 1}{w} \ (t < w), \qquad
        f(t) = floor + (1 - floor) \frac{1 + \cos(\pi (t - w) / (T - w))}{2} \ (t \ge w)

    Args:
        step: Index of the update, from 0.
        total_steps: Updates of the whole run (T).
        warmup_steps: Updates of the linear warm-up (w).
        floor: Share of the peak that the cosine ends at, 0 to 1.

    Returns:
        A factor in (0, 1]: the first update already moves, and the warm-up ends at 1.

    Examples:
        >>> [round(warmup_cosine(t, total_steps=6, warmup_steps=2), 3) for t in range(6)]
        [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return floor + (1 - floor) * (1 + cos(pi * progress)) / 2


def warmup_steps_down(
    step: int, *, warmup_steps: int, milestones: Sequence[int], factor: float
) -> float:
    """Return the share of the peak learning rate to use at a step, where it falls in steps.

    Args:
        step: Index of the update, from 0.
        warmup_steps: Updates of the linear warm-up.
        milestones: Updates from which on the rate is multiplied by ``factor`` once more, ascending.
        factor: Above 0, at most 1.

    Examples:
        >>> rates = [
        ...     warmup_steps_down(t, warmup_steps=2, milestones=[3, 5], factor=0.5)
        ...     for t in range(6)
        ... ]
        >>> rates
        [0.5, 1.0, 1.0, 0.5, 0.5, 0.25]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return float(factor ** bisect_right(milestones, step))
