"""Batched augmentation against torchvision, image by image."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode

from benchmarks.gpu_augment import NUMBERS, CifarAugmentation, Policy, cut_out, shifted_or_flipped
from benchmarks.gpu_operations import MOVING, OPERATIONS, inverse_map, moved
from taxonet.data.resizing import ResizeSpec
from taxonet.data.transforms import auto_augment_cutout
from taxonet.seeds import seed_of

SIDE = 32
CPU = torch.device("cpu")
AUTO_AUGMENT = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)


def of_torchvision(image: Tensor, name: str, strength: float) -> Tensor:
    changed: Tensor = AUTO_AUGMENT._apply_image_or_video_transform(
        image, name, strength, interpolation=InterpolationMode.NEAREST, fill=AUTO_AUGMENT._fill
    )
    return changed


def strengths(name: str, level: int | None) -> list[float]:
    levels, signed = AUTO_AUGMENT._AUGMENTATION_SPACE[name]
    values = levels(10, SIDE, SIDE)
    strength = 0.0 if values is None else float(values[level])
    return [strength, -strength] if signed else [strength]


USED = sorted(
    {
        (name, s)
        for pair in AUTO_AUGMENT._policies
        for name, _, lev in pair
        for s in strengths(name, lev)
    }
)


def keyed(*key: int | str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(*key))


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Smooth, noisy, flat and grey ones, and one of few values."""
    draws = keyed("images")
    coarse = torch.rand((16, 3, 6, 6), generator=draws) * 300 - 20
    smooth = torch.nn.functional.interpolate(coarse, size=SIDE, mode="bicubic")
    noisy = torch.rand((16, 3, SIDE, SIDE), generator=draws) * 256
    images = torch.cat([smooth, noisy]).clamp(0, 255).to(torch.uint8)
    images[0] = 7
    images[1] = images[1, :1]
    images[2] = images[2] // 64
    return images


@pytest.mark.parametrize(("name", "strength"), USED)
def test_an_operation_is_torchvisions_to_the_last_bit(
    images: Tensor, name: str, strength: float
) -> None:
    count = len(images)
    if name in MOVING:
        maps = torch.tensor([inverse_map(name, strength, side=SIDE)] * count)
        found = moved(images, maps)
    else:
        found = OPERATIONS[name](images, torch.full((count,), strength, dtype=torch.float64))
    wanted = torch.stack([of_torchvision(image, name, strength) for image in images])
    assert found.dtype is torch.uint8
    assert torch.equal(found, wanted)


def test_each_image_has_a_strength_of_its_own(images: Tensor) -> None:
    strength = torch.linspace(-0.9, 0.9, len(images), dtype=torch.float64)
    for name in ("Brightness", "Color", "Contrast", "Sharpness"):
        wanted = [
            of_torchvision(image, name, float(one))
            for image, one in zip(images, strength, strict=True)
        ]
        assert torch.equal(OPERATIONS[name](images, strength), torch.stack(wanted)), name


def test_the_tables_are_torchvisions() -> None:
    policy, names = Policy(side=SIDE, device=CPU), list(OPERATIONS)
    assert len(policy.code) == len(AUTO_AUGMENT._policies) == 25
    for row, pair in enumerate(AUTO_AUGMENT._policies):
        for place, (name, probability, level) in enumerate(pair):
            assert policy.probability[row, place] == torch.tensor(probability)
            code = int(policy.code[row, place])
            assert name in MOVING if code == -1 else names[code] == name
            strength, *negative = strengths(name, level)
            assert float(policy.strength[row, place]) == strength
            assert bool(policy.signed[row, place]) == bool(negative)
            for sign, value in enumerate([strength, *negative]):
                wanted = torch.tensor(inverse_map(name, value, side=SIDE))
                assert torch.equal(policy.maps[row, place, sign], wanted)


def one_by_one(image: Tensor, numbers: list[float]) -> Tensor:
    """The policy as torchvision goes through it, with its draws given."""
    for place, (name, probability, level) in enumerate(
        AUTO_AUGMENT._policies[int(numbers[3] * 25)]
    ):
        if numbers[4 + place] <= probability:
            possible = strengths(name, level)
            negative = len(possible) == 2 and numbers[6 + place] <= 0.5
            image = of_torchvision(image, name, possible[negative])
    return image


def test_the_policy_takes_the_operations_that_were_drawn(images: Tensor) -> None:
    many = images.repeat(16, 1, 1, 1)
    numbers = torch.rand((len(many), NUMBERS), generator=keyed("policy"))
    found = Policy(side=SIDE, device=CPU)(many, numbers)
    wanted = [one_by_one(*pair) for pair in zip(many, numbers.tolist(), strict=True)]
    assert torch.equal(found, torch.stack(wanted))
    assert (found != many).flatten(1).any(1).float().mean() > 0.5


def test_crops_are_all_alike_and_half_are_mirrored() -> None:
    count = 20_000
    image = torch.arange(1, SIDE**2 + 1).view(1, 1, SIDE, SIDE).int().expand(count, 3, -1, -1)
    numbers = torch.rand((count, NUMBERS), generator=keyed("crops"))
    found = shifted_or_flipped(image, numbers)
    assert found.shape == (count, 3, SIDE, SIDE)
    assert torch.equal(found[:, 0], found[:, 2])
    middle = found[:, 0, 16, 10:22]
    step = (middle[:, 1] - middle[:, 0]).tolist()
    assert set(step) == {1, -1}
    assert abs(step.count(-1) / count - 0.5) < 0.015
    # Row 16 and column 16 of the image moved by -4 to 4; a mirrored one is read from the right.
    column = torch.where(torch.tensor(step) == 1, found[:, 0, 16, 16], found[:, 0, 16, 15])
    down = torch.div(column - 1, SIDE, rounding_mode="floor") - 16
    right = (column - 1) % SIDE - 16
    for moved_by in (down, right):
        shares = torch.bincount(moved_by + 4, minlength=9) / count
        assert len(shares) == 9
        assert (shares - 1 / 9).abs().max() < 0.01
    assert torch.corrcoef(torch.stack([down, right]).float())[0, 1].abs() < 0.03


def test_what_comes_in_from_outside_is_black() -> None:
    white = torch.full((1, 3, SIDE, SIDE), 255, dtype=torch.uint8)
    numbers = torch.zeros(1, NUMBERS)  # up and left by four, mirrored
    found = shifted_or_flipped(white, numbers)
    assert int((found == 0).sum()) == 3 * (SIDE**2 - 28**2)
    assert bool((found[..., 4:, :28] == 255).all())


def test_holes_are_centred_anywhere() -> None:
    count = 20_000
    numbers = torch.rand((count, NUMBERS), generator=keyed("holes"))
    white = torch.full((1, 1, SIDE, SIDE), 255, dtype=torch.uint8).expand(count, 1, -1, -1)
    holes = cut_out(white, numbers)[:, 0] == 0
    sizes = holes.any(2).sum(1)
    assert (int(sizes.min()), int(sizes.max())) == (8, 16)
    # Pixel 16 is covered by centres 9 to 24, pixel 0 by centres 0 to 8.
    assert abs(float(holes[:, 16, 16].float().mean()) - (16 / 32) ** 2) < 0.015
    assert abs(float(holes[:, 0, 0].float().mean()) - (9 / 32) ** 2) < 0.01


def test_the_whole_has_the_moments_of_the_plain_pipeline(images: Tensor) -> None:
    """Means and spreads over many draws of one image, by colour and quarter."""
    image, count = images[5], 3000
    numbers = torch.rand((count, NUMBERS), generator=keyed("whole"))
    augment = CifarAugmentation("auto_augment_cutout", side=SIDE, device=CPU)
    batched = augment(image.expand(count, -1, -1, -1), numbers)
    plain = auto_augment_cutout(ResizeSpec(size=(SIDE, SIDE)))
    photo = v2.functional.to_pil_image(image)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        singly = torch.stack([plain(photo) for _ in range(count)])
    pooled = [torch.nn.functional.avg_pool2d(part.float(), 16) for part in (batched, singly)]
    errors = (pooled[0].var(0) / count + pooled[1].var(0) / count).sqrt()
    assert ((pooled[0].mean(0) - pooled[1].mean(0)).abs() / errors).max() < 4.5
    ratio = pooled[0].std(0) / pooled[1].std(0)
    assert bool(((ratio > 0.92) & (ratio < 1.08)).all())


def test_the_plain_augmentation_only_moves_and_mirrors(images: Tensor) -> None:
    numbers = torch.rand((len(images), NUMBERS), generator=keyed("plain"))
    found = CifarAugmentation("shift_flip", side=SIDE, device=CPU)(images, numbers)
    assert torch.equal(found, shifted_or_flipped(images, numbers))


def test_no_operation_waits_for_a_value(images: Tensor) -> None:
    """On the meta device are no values: what runs there has shapes that follow from shapes."""
    meta = torch.device("meta")
    policy: Any = object.__new__(Policy)
    made = Policy(side=SIDE, device=CPU)
    for key, value in vars(made).items():
        setattr(policy, key, value.to(meta))
    augment = CifarAugmentation("shift_flip", side=SIDE, device=meta)
    augment.policy = policy
    found = augment(images.to(meta), torch.rand((len(images), NUMBERS), device=meta))
    assert found.shape == images.shape
    assert found.dtype is torch.uint8
