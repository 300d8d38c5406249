"""What happens to a decoded image before the network sees it, by name.

A transform maps a uint8 tensor ``(3, H, W)`` to a uint8 tensor ``(3, S, S)``. Pixels stay uint8
until they are on the device, where the network normalises a whole batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms import v2

from taxonet.data.decoding import BrokenImage
from taxonet.registry import TRANSFORMS
from taxonet.seeds import seed_of

Transform = Callable[[Tensor], Tensor]
Fit = Literal["crop", "pad"]

_SIDE_OF_CIFAR = 32


def keyed(transform: Transform, image: Tensor, *key: int | str) -> Tensor:
    """Apply a transform whose randomness depends on the key alone.

    Torch's global random state on the CPU is as before afterwards.

    Examples:
        >>> flip = v2.RandomHorizontalFlip()
        >>> image = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)
        >>> bool((keyed(flip, image, 0, "a.jpg") == keyed(flip, image, 0, "a.jpg")).all())
        True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(*key))
        return transform(image)


@TRANSFORMS.register("plain")
def plain(image_size: int, *, fit: Fit = "crop") -> Transform:
    """Return the transform for judging and predicting: resize, no randomness.

    ``crop`` takes the middle square, which keeps a plant's proportions; ``pad`` makes a
    square by repeating the border, which keeps the ends of a long leaf on a plain background. An
    image that already has the size passes unchanged.
    """
    # The square first: a sliver scaled by its shorter side would be huge before it is cropped.
    square = _square(fit, at_most=image_size)
    return _in_turn(square, v2.Resize((image_size, image_size), antialias=True))


@TRANSFORMS.register("crop_flip")
def crop_flip(
    image_size: int, *, fit: Fit = "crop", smallest_area: float = 0.5, flip_prob: float = 0.5
) -> Transform:
    """Return the usual training transform: a random part of the image, mirrored or not.

    The part covers from ``smallest_area`` to all of the image: less would often miss the plant.
    ``fit`` should be what `plain` is given at prediction.
    """
    crop = v2.RandomResizedCrop(image_size, scale=(smallest_area, 1.0), antialias=True)
    padding = [_square(fit, at_most=2 * image_size)] if fit == "pad" else []
    return _in_turn(*padding, crop, v2.RandomHorizontalFlip(flip_prob))


@TRANSFORMS.register("augmix")
def augmix(
    image_size: int, *, fit: Fit = "crop", severity: int = 3, mixture_width: int = 3
) -> Transform:
    """Return `crop_flip` followed by AugMix: a mixture of chains of mild distortions.

    Reference:
        Hendrycks et al., "AugMix: A Simple Data Processing Method to Improve Robustness and
        Uncertainty" (ICLR 2020), algorithm 1.
    """
    mix = v2.AugMix(severity=severity, mixture_width=mixture_width)
    return _in_turn(crop_flip(image_size, fit=fit), mix)


@TRANSFORMS.register("rand_augment")
def rand_augment(
    image_size: int, *, fit: Fit = "crop", operations: int = 2, magnitude: int = 9
) -> Transform:
    """Return `crop_flip` followed by RandAugment: a few distortions of one strength.

    Reference:
        Cubuk et al. 2020, RandAugment: Practical Automated Data Augmentation with a Reduced
        Search Space.
    """
    distort = v2.RandAugment(num_ops=operations, magnitude=magnitude)
    return _in_turn(crop_flip(image_size, fit=fit), distort)


@TRANSFORMS.register("sim_augment")
def sim_augment(
    image_size: int, *, fit: Fit = "crop", smallest_area: float = 0.2, strength: float = 1.0
) -> Transform:
    """Return the transform of contrastive views: a small crop, mirrored, other colours, blurred.

    Colours change with the chance 0.8, turn to grey with 0.2, and are blurred with 0.5 where the
    image is larger than 32 pixels.

    Reference:
        Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations,
        appendix A; CIFAR without blur, as there in appendix B.9.
    """
    crop = crop_flip(image_size, fit=fit, smallest_area=smallest_area)
    shift = 0.4 * strength
    colours = v2.ColorJitter(shift, shift, shift, 0.1 * strength)
    steps = [crop, v2.RandomApply([colours], p=0.8), v2.RandomGrayscale(p=0.2)]
    if image_size > _SIDE_OF_CIFAR:
        kernel = image_size // 10 | 1  # about a tenth of the side, and odd
        steps.append(v2.RandomApply([v2.GaussianBlur(kernel, sigma=(0.1, 2.0))], p=0.5))
    return _in_turn(*steps)


@TRANSFORMS.register("shift_flip")
def shift_flip(image_size: int, *, shift: int = 4, flip_prob: float = 0.5) -> Transform:
    """Return the plain transform of the CIFAR benchmarks: moved by some pixels, mirrored or not.

    What comes in from outside the image is black.
    """
    move = v2.RandomCrop(image_size, padding=shift)
    return _in_turn(plain(image_size), move, v2.RandomHorizontalFlip(flip_prob))


@TRANSFORMS.register("auto_augment_cutout")
def auto_augment_cutout(image_size: int, *, shift: int = 4, hole: int = 16) -> Transform:
    """Return the strong transform of the CIFAR benchmarks.

    `shift_flip`, then a policy of AutoAugment that was found on CIFAR-10, then Cutout: a black
    square of ``hole`` pixels around a point anywhere in the image.

    Reference:
        Cubuk et al. 2019, AutoAugment; DeVries and Taylor 2017, Cutout.
    """
    policy = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
    return _in_turn(shift_flip(image_size, shift=shift), policy, partial(_cut_out, side=hole))


@TRANSFORMS.register("none")
def none(image_size: int) -> Transform:
    """Return a check that images have the size already; an image of another size is broken."""
    return partial(_require_size, side=image_size)


def _require_size(image: Tensor, *, side: int) -> Tensor:
    height, width = image.shape[-2:]
    if (height, width) != (side, side):
        raise BrokenImage(
            f"{width} x {height} pixels, but without a transform it must be {side} x {side}"
        )
    return image


def _cut_out(image: Tensor, *, side: int) -> Tensor:
    height, width = image.shape[-2:]
    middle_y = int(torch.randint(height, ()))
    middle_x = int(torch.randint(width, ()))
    rows = slice(max(0, middle_y - side // 2), middle_y + side // 2)
    columns = slice(max(0, middle_x - side // 2), middle_x + side // 2)
    cut = image.clone()
    cut[..., rows, columns] = 0
    return cut


def _in_turn(*transforms: Transform) -> Transform:
    composed: Transform = v2.Compose(list(transforms))
    return composed


def _square(fit: Fit, *, at_most: int) -> Transform:
    return partial(_pad_to_square, at_most=at_most) if fit == "pad" else _middle_square


def _middle_square(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side]


def _pad_to_square(image: Tensor, *, at_most: int) -> Tensor:
    """Repeat the border around the image; shrink it first: a sliver would make a huge square."""
    height, width = image.shape[-2:]
    shrink = min(1.0, at_most / max(height, width))
    if shrink < 1:
        height, width = max(1, round(height * shrink)), max(1, round(width * shrink))
        image = v2.functional.resize(image, [height, width], antialias=True)
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    margins = [left, top, side - width - left, side - height - top]
    square: Tensor = v2.functional.pad(image, margins, padding_mode="edge")
    return square
