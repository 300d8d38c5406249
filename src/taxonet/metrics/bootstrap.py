"""How far a figure could lie elsewhere, had other images of the same kind been tested."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError
from taxonet.seeds import generator

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_BLOCK_VALUES = 1 << 20  # resampled values that are held at once, of each array


class Interval(NamedTuple):
    """A figure of the test images, and the ends of its confidence interval."""

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    statistic: Callable[..., ArrayLike],
    *per_image: ArrayLike,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return a percentile bootstrap interval of any statistic of per-image values.

    As many images as there are get drawn with replacement, again and again, and the interval
    holds the central share of what the statistic gives. The draws are keyed by the seed and do
    not depend on how many are made at once; arrays of one image stay together.

    Args:
        statistic: Takes the arrays, images along the LAST axis, and reduces that axis: floats
            ``(N,)`` to one value, ``(R, N)`` to ``(R,)``; such as ``lambda x: x.mean(axis=-1)``.
        *per_image: One or more arrays ``(N,)``, a value of each image.
        level: The share inside the interval, in (0, 1).
        resamples: How often to draw, at least 1.
        seed: Keys the draws.

    Raises:
        DataError: No images, arrays that are not rows of one length, a level outside (0, 1), no
            resample, or a statistic that keeps the images' axis.

    Reference:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Examples:
        >>> right = np.repeat([1.0, 0.0], [75, 25])
        >>> found = bootstrap_interval(lambda x: x.mean(axis=-1), right, seed=0)
        >>> found.estimate, round(found.low, 2), round(found.high, 2)
        (0.75, 0.66, 0.83)
    """
    rows = [np.asarray(values) for values in per_image]
    n_images = _common_length(rows)
    check_options(level=level, resamples=resamples)
    draws = []
    rng = generator("bootstrap", seed)
    block = max(1, _BLOCK_VALUES // n_images)
    for start in range(0, resamples, block):
        images = rng.integers(n_images, size=(min(block, resamples - start), n_images))
        values = np.asarray(statistic(*(row[images] for row in rows)), dtype=np.float64)
        if values.shape != images.shape[:1]:
            raise DataError(
                f"Expected a statistic that reduces the last axis: {images.shape} to "
                f"{images.shape[:1]}, got {values.shape}."
            )
        draws.append(values)
    return percentile_interval(
        float(np.asarray(statistic(*rows))), np.concatenate(draws), level=level
    )


def image_weights(n_images: int, *, seed: int, resample: int) -> IntArray:
    """Return how often each image is drawn in one resample, int64 ``(N,)``, N in sum."""
    rng = generator("bootstrap weights", seed, resample)
    return np.bincount(rng.integers(n_images, size=n_images), minlength=n_images).astype(np.int64)


def percentile_interval(estimate: float, draws: FloatArray, *, level: float) -> Interval:
    """Return the interval that holds the central share ``level`` of the draws ``(R,)``.

    Examples:
        >>> percentile_interval(2.0, np.arange(5.0), level=0.5)
        Interval(estimate=2.0, low=1.0, high=3.0)
    """
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def check_options(*, level: float, resamples: int) -> None:
    """Refuse a level outside (0, 1), or no resample.

    Raises:
        DataError: As said.
    """
    if not 0 < level < 1:
        raise DataError(f"Expected a confidence level in (0, 1), got {level}.")
    if resamples < 1:
        raise DataError(f"Expected at least one resample, got {resamples}.")


def _common_length(rows: list[NDArray[np.generic]]) -> int:
    shapes = [row.shape for row in rows]
    if not shapes or len(set(shapes)) > 1 or len(shapes[0]) != 1 or shapes[0][0] == 0:
        raise DataError(
            "Expected per-image arrays (N,) of one length, N at least 1, got shapes "
            f"{', '.join(map(str, shapes)) or 'of no array'}."
        )
    return len(rows[0])
