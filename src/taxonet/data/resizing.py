"""Resizing of photos to the network's input: the middle of a photo, a random part, or all of it."""

from dataclasses import dataclass
from math import floor
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from taxonet.errors import ConfigError

Fit = Literal["crop", "pad"]
Interpolation = Literal["bilinear", "bicubic"]

_OF_PIL = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_OF_TORCHVISION = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}


# 128 MiB in Pillow: at 224 pixels of height, a photo 500 times as long as it is high.
_MOST_SCALED_PIXELS = 1 << 25


@dataclass(frozen=True, kw_only=True)
class ResizeSpec:
    """The input that a network expects, and how a photo of any shape becomes it.

    Args:
        size: Height and width of the input in pixels.
        fit: ``crop`` takes the middle of a photo; ``pad`` takes all of it and repeats its border.
        interpolation: How pixels are interpolated; always antialiased.
        crop_share: Share of the resized photo's shorter side that the middle takes, in (0, 1];
            ``crop_pct`` of timm. Only the middle has it: random parts and ``pad`` ignore it.

    Raises:
        ConfigError: A value out of its range.

    Examples:
        >>> ResizeSpec(size=(614, 512)).interpolation
        'bilinear'
        >>> ResizeSpec(size=(224, 224), crop_share=1.5)
        Traceback (most recent call last):
        ...
        taxonet.errors.ConfigError: crop_share must be above 0 and at most 1, got 1.5.
    """

    size: tuple[int, int]
    fit: Fit = "crop"
    interpolation: Interpolation = "bilinear"
    crop_share: float = 1.0

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise ConfigError(
                f"size must be a height and a width of at least 1 pixel, got {self.size}."
            )
        for name, kinds in (("fit", Fit), ("interpolation", Interpolation)):
            if getattr(self, name) not in get_args(kinds):
                raise ConfigError(
                    f"{name} must be one of {', '.join(get_args(kinds))}, got "
                    f"{getattr(self, name)!r}."
                )
        if not 0 < self.crop_share <= 1:
            raise ConfigError(f"crop_share must be above 0 and at most 1, got {self.crop_share}.")


def to_tensor(image: Image.Image) -> Tensor:
    """Return the pixels of an RGB image as a uint8 tensor ``(3, H, W)`` of their own memory.

    Examples:
        >>> to_tensor(Image.new("RGB", (1, 1), (7, 8, 9))).flatten().tolist()
        [7, 8, 9]
    """
    pixels = torch.from_numpy(np.array(image))  # (H, W, 3); a copy, for PIL's array is read-only
    return pixels.permute(2, 0, 1).contiguous()


def resize_middle(image: Image.Image, *, spec: ResizeSpec) -> Tensor:
    """Resize a photo, keep its middle, and return it as a uint8 tensor ``(3, *spec.size)``.

    The photo is scaled until its shorter side is ``floor(size / crop_share)`` long, or until it
    covers that rectangle, and the middle is cut out. These are the pixels of timm 1.0.31's
    evaluation transform.

    Args:
        image: RGB, of any size.
        spec: Its ``fit`` plays no role.

    Examples:
        >>> photo = Image.new("RGB", (300, 200), (7, 7, 7))
        >>> tuple(resize_middle(photo, spec=ResizeSpec(size=(64, 48))).shape)
        (3, 64, 48)
    """
    height, width = spec.size
    scaled_height, scaled_width = _scaled_size(image.height, image.width, spec)
    top, left = round((scaled_height - height) / 2), round((scaled_width - width) / 2)
    resampling = _OF_PIL[spec.interpolation]
    if scaled_height * scaled_width <= _MOST_SCALED_PIXELS:
        # All of it before the cut, as timm does: Pillow chooses which axis it scales first by the
        # sizes, and clips between the two, which shows where edges are hard.
        scaled = image.resize((scaled_width, scaled_height), resampling)
        return to_tensor(scaled.crop((left, top, left + width, top + height)))
    # A sliver that would be huge: only what is kept, given in fractions of the photo's pixels.
    y, x = image.height / scaled_height, image.width / scaled_width
    box = (
        left * x,
        top * y,
        min((left + width) * x, image.width),  # rounding must not lead outside
        min((top + height) * y, image.height),
    )
    return to_tensor(image.resize((width, height), resampling, box=box))


def _scaled_size(height: int, width: int, spec: ResizeSpec) -> tuple[int, int]:
    """Return height and width of the whole photo at the scale of the input, rounded as in timm."""
    least_height, least_width = (floor(side / spec.crop_share) for side in spec.size)
    if least_height == least_width:
        if width <= height:
            return int(least_width * height / width), least_width
        return least_height, int(least_height * width / height)
    factor = min(height / least_height, width / least_width)
    return round(height / factor), round(width / factor)


def resize_pixels(pixels: Tensor, *, spec: ResizeSpec) -> Tensor:
    """Resize a uint8 tensor ``(3, H, W)`` to ``(3, *spec.size)``, whatever its proportions.

    An image of the size is returned as it is.

    Examples:
        >>> pixels = torch.full((3, 9, 2), 50, dtype=torch.uint8)
        >>> resize_pixels(pixels, spec=ResizeSpec(size=(2, 2)))[0].tolist()
        [[50, 50], [50, 50]]
    """
    return _resized(pixels, spec.size, spec.interpolation)


def pad_border(image: Image.Image, *, spec: ResizeSpec, at_most: int = 1) -> Tensor:
    """Repeat the border of a photo until it has the proportions of the input.

    A photo that is larger than the input is shrunk first, because the border of a sliver would
    make a huge image.

    Args:
        image: RGB, of any size.
        spec: The input; ``crop_share`` plays no role.
        at_most: Largest size of the result, in sizes of the input.

    Returns:
        uint8 ``(3, h, w)`` with the whole photo in the middle; ``h / w`` is that of the input, to
        a pixel.

    Examples:
        >>> photo = Image.new("RGB", (4, 2), (7, 7, 7))
        >>> tuple(pad_border(photo, spec=ResizeSpec(size=(9, 9))).shape)
        (3, 4, 4)
    """
    most_height, most_width = (at_most * side for side in spec.size)
    height, width = image.height, image.width
    shrink = min(1.0, most_height / height, most_width / width)
    pixels = to_tensor(image)
    if shrink < 1:
        height, width = max(1, round(height * shrink)), max(1, round(width * shrink))
        pixels = _resized(pixels, (height, width), spec.interpolation)
    padded_height = max(height, round(width * most_height / most_width))
    padded_width = max(width, round(height * most_width / most_height))
    left, top = (padded_width - width) // 2, (padded_height - height) // 2
    margins = [left, top, padded_width - width - left, padded_height - height - top]
    padded: Tensor = v2.functional.pad(pixels, margins, padding_mode="edge")
    return padded


def _resized(pixels: Tensor, size: tuple[int, int], interpolation: Interpolation) -> Tensor:
    resized: Tensor = v2.functional.resize(
        pixels, list(size), interpolation=_OF_TORCHVISION[interpolation], antialias=True
    )
    return resized
