"""Two images made into one: blended (mixup), or one pasted into the other (CutMix, CMO)."""

import math

import numpy as np
from torch import Tensor


def blend(images: Tensor, partners: Tensor, share: float) -> Tensor:
    """Return ``share * images + (1 - share) * partners``.

    Args:
        images: ``(B, 3, H, W)`` floats.
        partners: Likewise.
        share: Of the first image, in [0, 1].

    Reference:
        Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization, eq. 1.

    Examples:
        >>> import torch
        >>> blend(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), 0.75).item()
        0.25
    """
    return share * images + (1 - share) * partners


def paste(images: Tensor, partners: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """Return the images with a box of their partners pasted in.

    Args:
        images: ``(B, 3, H, W)``.
        partners: Likewise.
        box: Top, left, bottom, right in pixels; the last two are not part of it.
    """
    top, left, bottom, right = box
    pasted = images.clone()
    pasted[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
    return pasted


def random_box(
    rng: np.random.Generator, *, height: int, width: int, share: float
) -> tuple[int, int, int, int]:
    """Draw a box that covers a share ``1 - share`` of an image, cut off at the image's border.

    Its centre is anywhere, its sides are as those of the image, times ``(1 - share)^(1/2)``.

    Returns:
        Top, left, bottom, right in pixels.

    Reference:
        Yun et al. 2019, CutMix: Regularization Strategy to Train Strong Classifiers with
        Localizable Features, eq. 2.
    """
    side = math.sqrt(1 - share)
    middle_y, middle_x = int(rng.integers(height)), int(rng.integers(width))
    half_y, half_x = int(height * side) // 2, int(width * side) // 2
    top, bottom = max(0, middle_y - half_y), min(height, middle_y + half_y)
    left, right = max(0, middle_x - half_x), min(width, middle_x + half_x)
    return top, left, bottom, right


def kept_share(box: tuple[int, int, int, int], *, height: int, width: int) -> float:
    """Return the share of an image that a box leaves as it was.

    Examples:
        >>> kept_share((0, 0, 2, 1), height=4, width=4)
        0.875
    """
    top, left, bottom, right = box
    return 1 - (bottom - top) * (right - left) / (height * width)
