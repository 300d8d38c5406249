"""Transforms by name: from a decoded photo to the pixels that the network sees.

A transform maps an RGB image to a uint8 tensor ``(3, H, W)`` of the size that its `ResizeSpec`
asks for. Pixels stay uint8 until they are on the device, where the network normalises a whole
batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from taxonet.data.decoding import BrokenImage
from taxonet.data.resizing import (
    ResizeSpec,
    pad_border,
    resize_middle,
    resize_pixels,
    to_tensor,
)
from taxonet.errors import ConfigError
from taxonet.registry import TRANSFORMS
from taxonet.seeds import seed_of

_SIDE_OF_CIFAR = 32

# The mean colour of ImageNet, of 255.
_MEAN_COLOUR = (124, 116, 104)


@dataclass(frozen=True)
class Transform:
    """A photo's way to the network's input.

    Examples:
        >>> transform = plain(ResizeSpec(size=(2, 3)))
        >>> tuple(transform(Image.new("RGB", (20, 20))).shape)
        (3, 2, 3)
    """

    size: tuple[int, int]
    """Height and width of what comes out."""
    resize: Callable[[Image.Image], Tensor]
    """From an RGB image to uint8 ``(3, H, W)``."""
    changes: tuple[Callable[[Tensor], Tensor], ...] = ()
    """What happens to the pixels afterwards, in turn."""
    decode_at_least: int | None = None
    """A JPEG may be decoded smaller as long as neither side falls below this; None: it may not."""

    def __call__(self, image: Image.Image) -> Tensor:
        """Return uint8 pixels ``(3, *size)`` of an RGB image."""
        pixels = self.resize(image)
        for change in self.changes:
            pixels = change(pixels)
        return pixels

    def then(self, *changes: Callable[[Tensor], Tensor]) -> "Transform":
        """Return this transform followed by changes to the pixels."""
        return replace(self, changes=(*self.changes, *changes))


def keyed(transform: Transform, image: Image.Image, *key: int | str) -> Tensor:
    """Apply a transform whose randomness depends on the key alone.

    Torch's global random state on the CPU is as before afterwards.

    Examples:
        >>> transform = crop_flip(ResizeSpec(size=(8, 8)))
        >>> image = Image.linear_gradient("L").convert("RGB")
        >>> bool((keyed(transform, image, 0, "a") == keyed(transform, image, 0, "a")).all())
        True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(*key))
        return transform(image)


@TRANSFORMS.register("plain")
def plain(spec: ResizeSpec) -> Transform:
    """Return the transform for evaluation and prediction: resize, no randomness.

    ``crop`` takes the middle, which keeps a plant's proportions; ``pad`` repeats the border until
    the proportions are those of the input, which keeps the ends of a long leaf on a plain
    background. With a ``crop_share`` of 1 an image that already has the size passes unchanged.

    A JPEG whose middle is taken is decoded in full: smaller decoding moves single pixels by up to
    8/255 on photos of twice to eight times the size, and pretrained weights expect timm's pixels.
    """
    if spec.fit == "crop":
        return Transform(spec.size, partial(resize_middle, spec=spec))
    return Transform(
        spec.size,
        partial(pad_border, spec=spec),
        (partial(resize_pixels, spec=spec),),
        decode_at_least=_enough_pixels(spec),
    )


@TRANSFORMS.register("crop_flip")
def crop_flip(spec: ResizeSpec, *, smallest_area: float = 0.5, flip_prob: float = 0.5) -> Transform:
    """Return the usual training transform: a random part of the image, mirrored or not.

    The part covers from ``smallest_area`` to all of the image: less would often miss the plant.
    ``spec`` should be what `plain` is given at prediction; its ``crop_share`` is ignored.
    """
    part = v2.RandomResizedCrop(spec.size, scale=(smallest_area, 1.0))
    resize = partial(_padded_part if spec.fit == "pad" else _part, part=part, spec=spec)
    flip = v2.RandomHorizontalFlip(flip_prob)
    return Transform(spec.size, resize, (flip,), decode_at_least=_enough_pixels(spec))


@TRANSFORMS.register("augmix")
def augmix(spec: ResizeSpec, *, severity: int = 3, mixture_width: int = 3) -> Transform:
    """Return `crop_flip` followed by AugMix: a mixture of chains of mild distortions.

    Reference:
        Hendrycks et al., "AugMix: A Simple Data Processing Method to Improve Robustness and
        Uncertainty" (ICLR 2020), algorithm 1.
    """
    return crop_flip(spec).then(v2.AugMix(severity=severity, mixture_width=mixture_width))


@TRANSFORMS.register("rand_augment")
def rand_augment(
    spec: ResizeSpec, *, operations: int = 2, magnitude: int = 9, erase_prob: float = 0.0
) -> Transform:
    """Return `crop_flip` followed by RandAugment: a few distortions of one strength.

    With the chance ``erase_prob`` a rectangle of 2 to 33 % of the image is erased afterwards: it
    gets the mean colour of ImageNet, which is about 0 once pixels are normalised.

    Raises:
        ConfigError: ``erase_prob`` is no probability.

    Reference:
        Cubuk et al. 2020, RandAugment: Practical Automated Data Augmentation with a Reduced
        Search Space; Zhong et al. 2020, Random Erasing Data Augmentation.
    """
    if not 0 <= erase_prob <= 1:
        raise ConfigError(
            f"rand_augment: erase_prob must lie in 0..1, because it is a probability, got "
            f"{erase_prob}."
        )
    distorted = crop_flip(spec).then(v2.RandAugment(num_ops=operations, magnitude=magnitude))
    if erase_prob == 0:
        return distorted
    return distorted.then(v2.RandomErasing(erase_prob, value=_MEAN_COLOUR))


@TRANSFORMS.register("sim_augment")
def sim_augment(
    spec: ResizeSpec, *, smallest_area: float = 0.2, strength: float = 1.0
) -> Transform:
    """Return the transform of contrastive views: a small crop, mirrored, other colours, blurred.

    Colours change with the chance 0.8, turn to grey with 0.2, and are blurred with 0.5 where the
    shorter side of the input is longer than 32 pixels.

    Reference:
        Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations,
        appendix A; CIFAR without blur, as there in appendix B.9.
    """
    shift = 0.4 * strength
    colours = v2.ColorJitter(shift, shift, shift, 0.1 * strength)
    changes = [v2.RandomApply([colours], p=0.8), v2.RandomGrayscale(p=0.2)]
    side = min(spec.size)
    if side > _SIDE_OF_CIFAR:
        kernel = side // 10 | 1  # about a tenth of the side, and odd
        changes.append(v2.RandomApply([v2.GaussianBlur(kernel, sigma=(0.1, 2.0))], p=0.5))
    return crop_flip(spec, smallest_area=smallest_area).then(*changes)


@TRANSFORMS.register("shift_flip")
def shift_flip(spec: ResizeSpec, *, shift: int = 4, flip_prob: float = 0.5) -> Transform:
    """Return the simple transform of the CIFAR benchmarks: moved by some pixels, mirrored or not.

    What comes in from outside the image is black.
    """
    move = v2.RandomCrop(spec.size, padding=shift)
    return plain(spec).then(move, v2.RandomHorizontalFlip(flip_prob))


@TRANSFORMS.register("auto_augment_cutout")
def auto_augment_cutout(spec: ResizeSpec, *, shift: int = 4, hole: int = 16) -> Transform:
    """Return the strong transform of the CIFAR benchmarks.

    `shift_flip`, then a policy of AutoAugment that was found on CIFAR-10, then Cutout: a black
    square of ``hole`` pixels around a point anywhere in the image.

    Reference:
        Cubuk et al. 2019, AutoAugment; DeVries and Taylor 2017, Cutout.
    """
    policy = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
    return shift_flip(spec, shift=shift).then(policy, partial(_cut_out, side=hole))


@TRANSFORMS.register("none")
def none(spec: ResizeSpec) -> Transform:
    """Return a check that images have the size already; an image of another size is broken."""
    return Transform(spec.size, partial(_require_size, size=spec.size))


def _enough_pixels(spec: ResizeSpec) -> int:
    """Return the side that leaves a random part pixels enough, and JPEG its fast small decoding."""
    return 2 * max(spec.size)


def _part(image: Image.Image, *, part: v2.RandomResizedCrop, spec: ResizeSpec) -> Tensor:
    # Cut before pixels are copied. PIL cuts; its pixels are resized as those of a padded image.
    box = part.make_params([image])
    left, top = box["left"], box["top"]
    pixels = to_tensor(image.crop((left, top, left + box["width"], top + box["height"])))
    return resize_pixels(pixels, spec=spec)


def _padded_part(image: Image.Image, *, part: v2.RandomResizedCrop, spec: ResizeSpec) -> Tensor:
    pixels = pad_border(image, spec=spec, at_most=2)
    box = part.make_params([pixels])
    top, left = box["top"], box["left"]
    cut = pixels[:, top : top + box["height"], left : left + box["width"]]
    return resize_pixels(cut, spec=spec)


def _require_size(image: Image.Image, *, size: tuple[int, int]) -> Tensor:
    height, width = size
    if image.size != (width, height):
        raise BrokenImage(
            f"{image.width} x {image.height} pixels, but without a transform it must be "
            f"{width} x {height}"
        )
    return to_tensor(image)


def _cut_out(image: Tensor, *, side: int) -> Tensor:
    height, width = image.shape[-2:]
    middle_y = int(torch.randint(height, ()))
    middle_x = int(torch.randint(width, ()))
    rows = slice(max(0, middle_y - side // 2), middle_y + side // 2)
    columns = slice(max(0, middle_x - side // 2), middle_x + side // 2)
    cut = image.clone()
    cut[..., rows, columns] = 0
    return cut
