"""What the class statistics cost in memory, and the refusal of what does not fit."""

from typing import Literal, get_args

import torch

from taxonet.errors import ConfigError

#: How the covariance of a class is kept: whole, or as a factor of a few columns.
CovarianceForm = Literal["full", "lowrank"]


def statistics_memory(
    classes: int,
    channels: int,
    *,
    covariance: CovarianceForm,
    rank: int = 32,
    dtype: torch.dtype = torch.float32,
) -> int:
    """Return the bytes of all buffers of a `ClassStatistics`.

    ``K (C^2 b + 8 C + 8)`` for ``full`` and ``K (C r b + 8 C + 8)`` for ``lowrank``, with b bytes a
    value of ``dtype``; means and variances are float32, the count of images is int64.

    Examples:
        >>> statistics_memory(100, 64, covariance="full")
        1690400
        >>> iNat18 = statistics_memory(8142, 2048, covariance="lowrank", dtype=torch.float16)
        >>> round(iNat18 / 1e9, 2)
        1.2
    """
    check_form(channels, covariance=covariance, rank=rank, dtype=dtype)
    columns = channels if covariance == "full" else rank
    return classes * (channels * columns * dtype.itemsize + 8 * channels + 8)


def check_budget(
    classes: int,
    channels: int,
    *,
    budget_bytes: int,
    covariance: CovarianceForm,
    rank: int = 32,
    dtype: torch.dtype = torch.float32,
) -> int:
    """Return the bytes of the statistics, or raise a ConfigError where they exceed the budget.

    Examples:
        >>> check_budget(8142, 2048, budget_bytes=4 * 10**9, covariance="full")
        Traceback (most recent call last):
        ...
        taxonet.errors.ConfigError: Full covariances of 8142 classes and 2048 channels in float32 \
take 136.7 GB, beyond the budget of 4.0 GB. With `covariance: lowrank` of rank 32 they take 2.3 GB.
    """
    needed = statistics_memory(classes, channels, covariance=covariance, rank=rank, dtype=dtype)
    if needed <= budget_bytes:
        return needed
    if covariance == "full":
        columns = min(rank, channels)
        smaller = statistics_memory(
            classes, channels, covariance="lowrank", rank=columns, dtype=dtype
        )
        advice = (
            f"With `covariance: lowrank` of rank {columns} they take {readable_bytes(smaller)}."
        )
    else:
        advice = "Take a lower `rank`, a shorter dtype or an earlier layer with fewer channels."
    raise ConfigError(
        f"{_what(classes, channels, covariance, rank, dtype)} take {readable_bytes(needed)}, "
        f"beyond the budget of {readable_bytes(budget_bytes)}. {advice}"
    )


def describe(
    classes: int,
    channels: int,
    *,
    covariance: CovarianceForm,
    rank: int = 32,
    dtype: torch.dtype = torch.float32,
) -> str:
    """Return one line that says what the statistics hold and take.

    Examples:
        >>> describe(100, 64, covariance="lowrank", rank=16)
        'Low-rank covariances (rank 16) of 100 classes and 64 channels in float32 take 461.6 kB.'
    """
    needed = statistics_memory(classes, channels, covariance=covariance, rank=rank, dtype=dtype)
    what = _what(classes, channels, covariance, rank, dtype)
    return f"{what} take {readable_bytes(needed)}."


def check_form(channels: int, *, covariance: str, rank: int, dtype: torch.dtype) -> None:
    """Raise a ConfigError unless covariances can be kept in this form."""
    if covariance not in get_args(CovarianceForm):
        raise ConfigError(f"covariance must be 'full' or 'lowrank', but is {covariance!r}.")
    if covariance == "lowrank" and not 1 <= rank <= channels:
        raise ConfigError(
            f"rank must be 1 to the {channels} channels, but is {rank}. "
            "A covariance has no more directions than channels."
        )
    if not dtype.is_floating_point:
        raise ConfigError(f"dtype must be a floating-point type, but is {dtype}.")


def readable_bytes(count: int) -> str:
    """Return a number of bytes in decimal units.

    Examples:
        >>> readable_bytes(999), readable_bytes(1_500_000)
        ('999 B', '1.5 MB')
    """
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _what(
    classes: int, channels: int, covariance: CovarianceForm, rank: int, dtype: torch.dtype
) -> str:
    kind = "Full covariances" if covariance == "full" else f"Low-rank covariances (rank {rank})"
    name = str(dtype).removeprefix("torch.")
    return f"{kind} of {classes} classes and {channels} channels in {name}"
