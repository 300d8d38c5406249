"""The CIFAR augmentations of taxonet.data.transforms on whole batches of uint8 images.

The same distribution as `shift_flip` and `auto_augment_cutout` give image by image, but every image
draws all it could need from a row of uniform numbers: the result is a pure function of images and
numbers, without a branch.
"""

from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.gpu_operations import MOVING, OPERATIONS, inverse_map, moved

Augmentation = Literal["shift_flip", "auto_augment_cutout"]

#: Uniform numbers that an image needs: crop y and x, flip, policy, then for each of its two
#: operations whether and with which sign, then Cutout's y and x.
NUMBERS = 10
_CROP_Y, _CROP_X, _FLIP, _POLICY, _CUT_Y, _CUT_X = 0, 1, 2, 3, 8, 9
_WHETHER, _SIGN = (4, 5), (6, 7)

_SHIFT, _HOLE = 4, 16
_LEVELS = 10


class CifarAugmentation:
    """One of the two augmentations, with its tables on a device.

    Args:
        name: Which one.
        side: Height and width of the images in pixels.
        device: Where the images are.

    Examples:
        >>> augment = CifarAugmentation("shift_flip", side=2, device=torch.device("cpu"))
        >>> images = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
        >>> middle = torch.full((1, NUMBERS), 0.5)  # not moved; 0.5 does not mirror
        >>> bool((augment(images, middle) == images).all())
        True
    """

    def __init__(self, name: Augmentation, *, side: int, device: torch.device) -> None:
        self.policy = Policy(side=side, device=device) if name == "auto_augment_cutout" else None

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Return the images ``(B, 3, S, S)`` as changed by their numbers ``(B, NUMBERS)``."""
        images = shifted_or_flipped(images, numbers)
        if self.policy is None:
            return images
        return cut_out(self.policy(images, numbers), numbers)


class Policy:
    """AutoAugment's policy of CIFAR-10, read off torchvision's own object.

    Attributes:
        probability: Of each operation of each sub-policy, ``(25, 2)``.
        code: The index of the operation in `OPERATIONS`, ``(25, 2)``; -1 where pixels move.
        signed: Whether the strength gets a random sign.
        strength: The strength, ``(25, 2)`` float64; 0 where the operation has none.
        maps: The inverse maps for the strength and its negative, ``(25, 2, 2, 2, 3)``.
    """

    def __init__(self, *, side: int, device: torch.device) -> None:
        of_torchvision = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
        pairs = of_torchvision._policies
        names = list(OPERATIONS)
        code = [
            [-1 if name in MOVING else names.index(name) for name, *_ in pair] for pair in pairs
        ]
        space = {name: of_torchvision._AUGMENTATION_SPACE[name] for name in {*names, *MOVING}}

        def strength_of(name: str, level: int | None) -> float:
            levels = space[name][0](_LEVELS, side, side)
            return 0.0 if levels is None else float(levels[level])

        strength = [[strength_of(name, level) for name, _, level in pair] for pair in pairs]
        maps = [
            [
                [inverse_map(name, sign * value, side=side) for sign in (1, -1)]
                for (name, *_), value in zip(pair, values, strict=True)
            ]
            for pair, values in zip(pairs, strength, strict=True)
        ]
        self.probability = torch.tensor([[one[1] for one in pair] for pair in pairs], device=device)
        self.code = torch.tensor(code, device=device)
        self.signed = torch.tensor([[space[one[0]][1] for one in pair] for pair in pairs]).to(
            device
        )
        self.strength = torch.tensor(strength, dtype=torch.float64, device=device)
        self.maps = torch.tensor(maps, dtype=torch.float32, device=device)

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Apply to each image the two operations of the sub-policy that it draws."""
        chosen = whole_number(numbers[:, _POLICY], len(self.code))  # (B,)
        for place in (0, 1):
            used = numbers[:, _WHETHER[place]] <= self.probability[chosen, place]
            negative = self.signed[chosen, place] & (numbers[:, _SIGN[place]] <= 0.5)
            strength = self.strength[chosen, place]
            strength = torch.where(negative, -strength, strength)
            maps = self.maps[chosen, place, negative.long()]
            code = self.code[chosen, place]
            images = apply_operations(images, code, strength=strength, maps=maps, used=used)
        return images


def apply_operations(
    images: Tensor, code: Tensor, *, strength: Tensor, maps: Tensor, used: Tensor
) -> Tensor:
    """Apply one operation to each image.

    Every operation is computed for all images and kept where it was drawn: more arithmetic than
    sorting the images by operation, but no shape that depends on what was drawn.

    Args:
        images: ``(B, 3, S, S)`` uint8.
        code: Index in `OPERATIONS`, or -1 to move pixels by ``maps``, ``(B,)``.
        strength: ``(B,)``, signed.
        maps: Inverse maps ``(B, 2, 3)``.
        used: False leaves an image as it is, ``(B,)``.
    """
    result = torch.where(_mask(used & (code == -1)), moved(images, maps), images)
    for index, operation in enumerate(OPERATIONS.values()):
        result = torch.where(_mask(used & (code == index)), operation(images, strength), result)
    return result


def shifted_or_flipped(images: Tensor, numbers: Tensor) -> Tensor:
    """Move each image by up to 4 pixels each way, black coming in, and mirror half of them."""
    count, colours, side, _ = images.shape
    device = images.device
    padded = torch.nn.functional.pad(images, (_SHIFT,) * 4)
    line = torch.arange(side, device=device)
    top = whole_number(numbers[:, _CROP_Y], 2 * _SHIFT + 1)
    left = whole_number(numbers[:, _CROP_X], 2 * _SHIFT + 1)
    columns = torch.where((numbers[:, _FLIP] < 0.5).unsqueeze(1), line.flip(0), line)
    ys = (top.unsqueeze(1) + line).view(count, 1, side, 1)
    xs = (left.unsqueeze(1) + columns).view(count, 1, 1, side)
    image = torch.arange(count, device=device).view(-1, 1, 1, 1)
    colour = torch.arange(colours, device=device).view(1, -1, 1, 1)
    return padded[image, colour, ys, xs]


def cut_out(images: Tensor, numbers: Tensor) -> Tensor:
    """Blacken a square of 16 pixels around a point anywhere in each image."""
    side = images.shape[-1]
    line = torch.arange(side, device=images.device)

    def inside(column: int) -> Tensor:
        middle = whole_number(numbers[:, column], side).unsqueeze(1)
        return (line >= middle - _HOLE // 2) & (line < middle + _HOLE // 2)  # (B, S)

    hole = inside(_CUT_Y).unsqueeze(2) & inside(_CUT_X).unsqueeze(1)
    return images.masked_fill(hole.unsqueeze(1), 0)


def whole_number(uniform: Tensor, below: int) -> Tensor:
    """Turn numbers in [0, 1) to whole numbers from 0, all alike.

    Examples:
        >>> whole_number(torch.tensor([0.0, 0.34, 0.99999999]), 3)  # the last rounds to 1.0
        tensor([0, 1, 2])
    """
    return (uniform * below).long().clamp_max(below - 1)


def _mask(chosen: Tensor) -> Tensor:
    return chosen.view(-1, 1, 1, 1)
