"""The learning rate as a pure function of the step, so that a resume needs no state for it."""

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
