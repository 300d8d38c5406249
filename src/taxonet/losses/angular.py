"""Margins on angles, taken through their cosines alone.

The angle itself is never computed: the slope of ``acos`` is infinite at cosines of 1 and -1, which
is where the prototype of a class with one image starts.
"""

import math

import torch
from torch import Tensor

from taxonet.errors import ConfigError


def check_angle(name: str, angle_rad: float) -> float:
    """Return an option as a float in [0, pi], or raise a ConfigError that names it."""
    if not 0 <= angle_rad <= math.pi:
        raise ConfigError(
            f"{name} must be an angle in radians, at least 0 and at most pi, but is {angle_rad}."
        )
    return float(angle_rad)


def guarded_sin(cosines: Tensor) -> Tensor:
    """Return the sine of each angle in [0, pi] from its cosine, of any shape.

    ``sin t = sqrt((1 - cos t)(1 + cos t))``, and 0 for cosines that rounding took beyond 1 or -1.
    Its slope is infinite at the ends; the gradient there, and beyond, is 0 instead, the mean of
    the slopes on both sides of a prototype.

    Examples:
        >>> guarded_sin(torch.tensor([0.6, 1.0, -1.0000002]))
        tensor([0.8000, 0.0000, 0.0000])
    """
    squares = (1 - cosines) * (1 + cosines)
    inside = squares > 0
    # The root must not see a 0 even where its value is dropped: 0 times an infinite slope is NaN.
    return torch.where(inside, torch.where(inside, squares, 1.0).sqrt(), 0.0)


def cos_with_margin(cosines: Tensor, margins_rad: Tensor, *, monotone: bool = False) -> Tensor:
    """Return ``cos(t + m) = cos t cos m - sin t sin m``; margins of 0 change nothing.

    Once t + m passes pi, cos(t + m) rises again with t. ``monotone`` goes on with
    ``-2 - cos(t + m)`` there, which falls on to -2 + cos m at t = pi; value and slope have no jump.

    Args:
        cosines: ``cos t``, of any shape, t in [0, pi]; a little beyond 1 and -1 does no harm.
        margins_rad: The margins m in [0, pi] in radians, of a shape that broadcasts; they may
            carry a gradient.
        monotone: Whether the value falls all the way to t = pi.

    Examples:
        >>> cos_with_margin(torch.tensor([0.0, 1.0]), torch.tensor(torch.pi / 6))
        tensor([-0.5000,  0.8660])
        >>> far, quarter = torch.tensor([-1.0]), torch.tensor(torch.pi / 2)
        >>> cos_with_margin(far, quarter).abs() < 1e-6
        tensor([True])
        >>> cos_with_margin(far, quarter, monotone=True)
        tensor([-2.])
    """
    cos_margins = margins_rad.cos()
    shifted = cosines * cos_margins - guarded_sin(cosines) * margins_rad.sin()
    if not monotone:
        return shifted
    past_pi = cosines.clamp(min=-1) < -cos_margins  # t > pi - m
    return torch.where(past_pi, -2 - shifted, shifted)
