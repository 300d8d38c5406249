"""The operations of AutoAugment on whole batches, each image with a strength of its own.

All take uint8 images ``(B, 3, H, W)``, strengths ``(B,)``, and give uint8 images; shapes depend on
nothing drawn and no value is read back from the device, so that they can stand in a CUDA graph.
They compute what torchvision's functions compute for one image, in the same order of float32
steps.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as of_torchvision

Operation = Callable[[Tensor, Tensor], Tensor]

#: Operations that move pixels; they are done together, by `moved`.
MOVING = frozenset({"Rotate", "ShearY", "TranslateX", "TranslateY"})

_WHITE = 255
_BITS = 8


def brightness(images: Tensor, strength: Tensor) -> Tensor:
    """Scale the pixels by ``1 + strength``."""
    return _uint8(images * _per_image(1 + strength))


def colour(images: Tensor, strength: Tensor) -> Tensor:
    """Move the pixels away from their grey, or towards it."""
    return _blended(images, _grey(images), strength)


def contrast(images: Tensor, strength: Tensor) -> Tensor:
    """Move the pixels away from the image's mean grey, or towards it."""
    return _blended(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), strength)


def sharpness(images: Tensor, strength: Tensor) -> Tensor:
    """Move the pixels away from their neighbourhood, or towards it; the border stays."""
    pixels = images.float()
    middle = pixels[..., 1:-1, 1:-1]
    # Whole numbers, so exact; a matrix unit of lower precision would round some the other way.
    smooth = ((_box_sum(pixels) + 4 * middle) / 13).round()
    pixels[..., 1:-1, 1:-1] = torch.addcmul(middle, smooth - middle, _per_image(-strength))
    return _uint8(pixels)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits of each value."""
    lost = _BITS - bits.to(torch.int32).clamp(0, _BITS)
    mask: Tensor = 2**_BITS - torch.pow(2, lost)
    return images & mask.to(torch.uint8).view(-1, 1, 1, 1)


def solarize(images: Tensor, share: Tensor) -> Tensor:
    """Invert the values from that share of white on."""
    return torch.where(images >= _per_image(_WHITE * share.double()), invert(images, share), images)


def auto_contrast(images: Tensor, _strength: Tensor) -> Tensor:
    """Stretch each colour to the whole range."""
    stretched: Tensor = of_torchvision.autocontrast(images)
    return stretched


def equalize(images: Tensor, _strength: Tensor) -> Tensor:
    """Flatten the histogram of each colour."""
    flat: Tensor = of_torchvision.equalize(images)
    return flat


def invert(images: Tensor, _strength: Tensor) -> Tensor:
    """Turn black to white."""
    inverted: Tensor = _WHITE - images
    return inverted


OPERATIONS: dict[str, Operation] = {
    "Brightness": brightness,
    "Color": colour,
    "Contrast": contrast,
    "Sharpness": sharpness,
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": auto_contrast,
    "Equalize": equalize,
    "Invert": invert,
}


def inverse_map(name: str, strength: float, *, side: int) -> list[list[float]]:
    """Return where a pixel comes from: ``(x, y) <- M (x, y, 1)``, from the middle of the image.

    Examples:
        >>> inverse_map("TranslateX", 3.9, side=32)  # whole pixels
        [[1.0, 0.0, -3.0], [0.0, 1.0, 0.0]]
        >>> inverse_map("Invert", 1.0, side=32)  # moves nothing
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if name == "Rotate":
        angle = math.radians(strength)
        return [[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]]
    if name == "ShearY":  # the left border stays where it is
        return [[1.0, 0.0, 0.0], [strength, 1.0, strength * side / 2]]
    right = float(int(strength)) if name == "TranslateX" else 0.0
    down = float(int(strength)) if name == "TranslateY" else 0.0
    return [[1.0, 0.0, 0.0 - right], [0.0, 1.0, 0.0 - down]]


def moved(images: Tensor, maps: Tensor) -> Tensor:
    """Move the pixels of each image by its map ``(B, 2, 3)``; what comes in is black.

    Each pixel takes the nearest one's value.
    """
    side = images.shape[-1]
    line = torch.arange(side, device=images.device) - (side - 1) / 2
    y, x = line.view(1, -1, 1), line.view(1, 1, -1)
    maps = (maps / (side / 2)).view(-1, 6, 1, 1)
    across = x * maps[:, 0] + y * maps[:, 1] + maps[:, 2]
    along = x * maps[:, 3] + y * maps[:, 4] + maps[:, 5]
    grid = torch.stack((across, along), dim=3)  # (B, H, W, 2)
    found = F.grid_sample(
        images.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return found.round().to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(dim=1)
    grey = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)
    return grey.floor_().unsqueeze(1)


def _blended(images: Tensor, other: Tensor, strength: Tensor) -> Tensor:
    scaled = images * _per_image(1 + strength)
    return _uint8(torch.addcmul(scaled, other, _per_image(-strength)))


def _box_sum(pixels: Tensor) -> Tensor:
    rows = pixels[..., :-2, :] + pixels[..., 1:-1, :] + pixels[..., 2:, :]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


def _per_image(values: Tensor) -> Tensor:
    return values.float().view(-1, 1, 1, 1)


def _uint8(pixels: Tensor) -> Tensor:
    """Cut to the range, then drop what is behind the point, as torchvision does."""
    return pixels.clamp(0, _WHITE).to(torch.uint8)
