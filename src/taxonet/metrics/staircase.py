"""The staircase over points of two figures: which pairs of values are reached at once."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def staircase_area(x: FloatArray, y: FloatArray) -> float:
    """Return the area of all (a, b) from (0, 0) that some point passes in both figures.

    This is the integral over x of the Pareto-monotone curve ``max {y_i : x_i >= x}``: a step
    function, from x = 0 to the largest x, without interpolation between points. The order of
    the points does not matter, nor which figure is called x.

    Args:
        x: Floats ``(t,)``, at least 0.
        y: Floats ``(t,)``, at least 0.

    Examples:
        >>> x, y = np.array([0.2, 0.8, 0.1, 0.7]), np.array([0.5, 0.3, 0.9, 0.1])
        >>> round(staircase_area(x, y), 6)  # 0.1 * 0.9 + 0.1 * 0.5 + 0.6 * 0.3
        0.32
    """
    order = np.argsort(-x, kind="stable")  # quick on curves, which are nearly sorted
    falling, best = x[order], np.maximum.accumulate(y[order])
    return float(np.dot(-np.diff(falling, append=0.0), best))


def best_where(y: FloatArray, reached: NDArray[np.bool_]) -> float:
    """Return the largest y of the points that reach what is asked for, 0 where none does.

    Examples:
        >>> x, y = np.array([0.1, 0.2, 0.8]), np.array([0.9, 0.5, 0.3])
        >>> best_where(y, x >= 0.15), best_where(y, x >= 0.9)
        (0.5, 0.0)
    """
    return float(y.max(where=reached, initial=0.0))
