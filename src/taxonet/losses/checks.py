"""The checks of what a loss is given: class counts, scores, targets, options."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from taxonet.errors import ConfigError, DataError

ClassCounts = Tensor | np.ndarray | Sequence[int]


def check_class_counts(class_counts: ClassCounts) -> Tensor:
    """Return the counts as an int64 tensor on the CPU, or raise a DataError.

    Examples:
        >>> check_class_counts([3, 1])
        tensor([3, 1])
        >>> check_class_counts([3, 0, 2, 0])
        Traceback (most recent call last):
        ...
        taxonet.errors.DataError: Every class needs at least 1 training image, but classes \
[1, 3] have [0, 0]. Leave classes without training images out.
    """
    given = class_counts.tolist() if isinstance(class_counts, Tensor) else class_counts
    counts = np.array(given)  # a copy: later changes of the caller's array have no effect
    if counts.ndim != 1 or len(counts) < 2:
        raise DataError(
            "class_counts must be one row of at least 2 classes, but its shape is "
            f"{counts.shape}. With one class there is nothing to learn."
        )
    if counts.dtype.kind not in "iu":
        raise DataError(f"class_counts must be integers, but they are {counts.dtype}.")
    wrong = np.flatnonzero(counts < 1)
    if len(wrong):
        raise DataError(
            f"Every class needs at least 1 training image, but classes {_some(wrong.tolist())} "
            f"have {_some(counts[wrong].tolist())}. Leave classes without training images out."
        )
    return torch.from_numpy(counts.astype(np.int64))


def check_batch(scores: Tensor, target: Tensor) -> None:
    """Raise a DataError unless scores are floats ``(B, c)`` and targets int64 ``(B,)`` in 0..c-1.

    A wrong target would end a CUDA process without a readable message, and -100 would be skipped
    in silence; so the range is looked at here, at the price of one number read from the device.
    """
    if scores.ndim != 2 or len(scores) == 0 or not scores.is_floating_point():
        raise DataError(
            "Scores must be floating-point numbers of shape (B, c) with B >= 1, "
            f"but got {scores.dtype} of shape {tuple(scores.shape)}."
        )
    rows, classes = scores.shape
    if target.dtype is not torch.int64 or target.shape != (rows,):
        raise DataError(
            f"The target must be int64 of shape ({rows},), one class index for each row of the "
            f"scores, but got {target.dtype} of shape {tuple(target.shape)}."
        )
    outside = (target < 0) | (target >= classes)
    if bool(outside.any()):
        positions = torch.nonzero(outside).flatten().tolist()
        raise DataError(
            f"Targets must lie in 0..{classes - 1}, but rows {_some(positions)} of the batch have "
            f"{_some(target[outside].tolist())}."
        )


def check_number(name: str, value: float, *, at_least: float = -math.inf) -> float:
    """Return an option as a finite float, or raise a ConfigError that names it."""
    if not (math.isfinite(value) and value >= at_least):
        bound = "" if at_least == -math.inf else f" of at least {at_least:g}"
        raise ConfigError(f"{name} must be a finite number{bound}, but is {value}.")
    return float(value)


def check_share(name: str, value: float) -> float:
    """Return an option as a float in [0, 1), or raise a ConfigError that names it."""
    if not 0 <= value < 1:
        raise ConfigError(f"{name} must be a share of at least 0 and below 1, but is {value}.")
    return float(value)


def check_scale(scale: float) -> float:
    """Return the scale as a finite float above 0, or raise a ConfigError."""
    if not (math.isfinite(scale) and scale > 0):
        raise ConfigError(f"scale must be a finite number above 0, but is {scale}.")
    return float(scale)


def at_least_float32(values: Tensor) -> Tensor:
    """Raise half precision to float32 and leave float64 as it is.

    A margin of 0.001 on a cosine near 1 is lost in bfloat16, whose steps there are 0.004.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _some(values: Sequence[int], most: int = 10) -> str:
    shown = ", ".join(str(value) for value in values[:most])
    return f"[{shown}, ... {len(values)} in all]" if len(values) > most else f"[{shown}]"
