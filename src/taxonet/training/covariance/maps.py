"""Feature maps seen as positions: an image with a map of H x W is H W vectors of C channels."""

import torch
from torch import Tensor

from taxonet.errors import DataError


def positions_of(maps: Tensor) -> Tensor:
    """Return the maps ``(B, C, H, W)`` as positions ``(B, H W, C)``.

    Examples:
        >>> positions_of(torch.arange(8.0).reshape(1, 2, 2, 2)).tolist()
        [[[0.0, 4.0], [1.0, 5.0], [2.0, 6.0], [3.0, 7.0]]]
    """
    return maps.flatten(2).transpose(1, 2)


def maps_of(positions: Tensor, like: Tensor) -> Tensor:
    """Return positions ``(B, H W, C)`` as maps of the height and width of another map."""
    return positions.transpose(1, 2).reshape(len(positions), -1, *like.shape[2:])


def check_maps(features: Tensor, target: Tensor, *, classes: int, channels: int) -> None:
    """Raise a DataError unless maps are floats ``(B, C, H, W)`` with one class 0..K-1 an image.

    Examples:
        >>> check_maps(torch.zeros(1, 3), torch.tensor([0]), classes=2, channels=3)
        Traceback (most recent call last):
        ...
        taxonet.errors.DataError: Feature maps must be floating-point numbers of shape \
(B, 3, H, W) with H and W of at least 1, but got torch.float32 of shape (1, 3). Name a layer that \
gives maps.
    """
    whole = features.ndim == 4 and features.shape[1] == channels and 0 not in features.shape[2:]
    if not (whole and features.is_floating_point()):
        raise DataError(
            f"Feature maps must be floating-point numbers of shape (B, {channels}, H, W) with H "
            f"and W of at least 1, but got {features.dtype} of shape {tuple(features.shape)}. "
            "Name a layer that gives maps."
        )
    if target.dtype is not torch.int64 or target.shape != (len(features),):
        raise DataError(
            f"The target must be int64 of shape ({len(features)},), one class index for each "
            f"image, but got {target.dtype} of shape {tuple(target.shape)}."
        )
    if bool(((target < 0) | (target >= classes)).any()):
        raise DataError(
            f"Targets must lie in 0..{classes - 1}, but got {int(target.min())} to "
            f"{int(target.max())}."
        )
