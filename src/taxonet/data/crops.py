"""Several looks at one photo: its corners and its middle, cut from a slightly larger square."""

from typing import Final, Literal

from torch import Tensor
from torchvision.transforms import v2

#: How often prediction looks at a photo: once, or at four corners and the middle.
Crops = Literal[1, 5]

#: Side of the square that five crops are cut from, in sides of a crop: 256 pixels for 224.
_LARGER: Final = 8 / 7


def side_to_crop(image_size: int, *, crops: Crops) -> int:
    """Return the side in pixels of the square that crops of a size are cut from.

    Examples:
        >>> side_to_crop(224, crops=1), side_to_crop(224, crops=5)
        (224, 256)
    """
    return image_size if crops == 1 else round(_LARGER * image_size)


def crops_of(images: Tensor, *, image_size: int, crops: Crops) -> tuple[Tensor, ...]:
    """Return the crops of a batch: the images themselves, or corners and middle.

    Args:
        images: ``(B, 3, L, L)``, L as `side_to_crop` says.
        image_size: Side S of a crop in pixels.
        crops: How many.

    Returns:
        As many tensors ``(B, 3, S, S)``: top left, top right, bottom left, bottom right, middle.

    Examples:
        >>> import torch
        >>> image = torch.arange(9).view(1, 1, 3, 3)
        >>> [one[0, 0, 0, 0].item() for one in crops_of(image, image_size=1, crops=5)]
        [0, 2, 6, 8, 4]
    """
    if crops == 1:
        return (images,)
    found: tuple[Tensor, ...] = v2.functional.five_crop(images, [image_size, image_size])
    return found
