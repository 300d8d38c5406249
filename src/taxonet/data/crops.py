"""Several crops of one photo: its corners and its middle, cut from a slightly larger image."""

from dataclasses import replace
from typing import Final, Literal

from torch import Tensor
from torchvision.transforms import v2

from taxonet.data.resizing import ResizeSpec

#: Crops of a photo in prediction: one, or four corners and the middle.
Crops = Literal[1, 5]

#: Size of the image that five crops are cut from, in sizes of a crop: 256 pixels for 224.
_LARGER: Final = 8 / 7


def spec_to_crop(spec: ResizeSpec, *, crops: Crops) -> ResizeSpec:
    """Return how a photo is resized to the image that crops are cut from.

    It shows as much more of the photo as it is larger, if there is more, so that plants have the
    size that they have in a single crop.

    Args:
        spec: How a single crop is made.
        crops: How many there are.

    Examples:
        >>> spec = ResizeSpec(size=(224, 112), crop_share=0.75)
        >>> spec_to_crop(spec, crops=1) == spec
        True
        >>> larger = spec_to_crop(spec, crops=5)
        >>> larger.size, round(larger.crop_share, 4)
        ((256, 128), 0.8571)
    """
    if crops == 1:
        return spec
    height, width = (round(_LARGER * side) for side in spec.size)
    return replace(spec, size=(height, width), crop_share=min(1.0, _LARGER * spec.crop_share))


def crops_of(images: Tensor, *, size: tuple[int, int], crops: Crops) -> tuple[Tensor, ...]:
    """Return the crops of a batch: the images themselves, or corners and middle.

    Args:
        images: ``(B, 3, *L)``, where L is the size of `spec_to_crop`.
        size: Height and width of a crop in pixels.
        crops: How many.

    Returns:
        As many tensors ``(B, 3, *size)``: top left, top right, bottom left, bottom right, middle.

    Examples:
        >>> import torch
        >>> image = torch.arange(9).view(1, 1, 3, 3)
        >>> [one[0, 0, 0, 0].item() for one in crops_of(image, size=(1, 1), crops=5)]
        [0, 2, 6, 8, 4]
    """
    if crops == 1:
        return (images,)
    found: tuple[Tensor, ...] = v2.functional.five_crop(images, list(size))
    return found
