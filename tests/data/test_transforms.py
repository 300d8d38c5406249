import pickle

import pytest
import torch
from torch import Tensor

from taxonet.data import BrokenImage, keyed
from taxonet.data.transforms import augmix, crop_flip, none, plain
from taxonet.registry import TRANSFORMS


def noise(height: int, width: int) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), generator=rng, dtype=torch.uint8)


def values(pixels: Tensor) -> set[int]:
    return set(pixels.flatten().tolist())


@pytest.mark.parametrize("name", ["plain", "crop_flip", "augmix"])
@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (40, 25), (7, 90), (1, 3000), (3000, 1)])
def test_every_transform_gives_the_size_it_was_asked_for(
    name: str, fit: str, height: int, width: int
) -> None:
    transform = TRANSFORMS.build(name, {"fit": fit}, 16)
    image = keyed(transform, noise(height, width), 0)
    assert image.shape == (3, 16, 16)
    assert image.dtype == torch.uint8


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_plain_leaves_an_image_of_the_size_alone(fit: str) -> None:
    image = noise(16, 16)
    assert torch.equal(TRANSFORMS.build("plain", {"fit": fit}, 16)(image), image)


def test_plain_takes_the_middle_or_repeats_the_border() -> None:
    image = torch.zeros(3, 8, 24, dtype=torch.uint8)
    image[:, :, 8:16] = 100
    image[:, 0] = 7
    image[:, :, 8:16] = 100
    assert values(plain(8)(image)) == {100}
    padded = plain(24, fit="pad")(image)
    assert torch.equal(padded[:, 8:16], image)
    assert torch.equal(padded[:, 0], image[:, 0])
    assert torch.equal(padded[:, -1], image[:, -1])


@pytest.mark.parametrize("make", [crop_flip, augmix])
def test_randomness_hangs_on_the_key_alone(make: object) -> None:
    assert callable(make)
    transform, image = make(16), noise(30, 30)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = keyed(transform, image, 0, 1, "a.jpg", "train")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(keyed(transform, image, 0, 1, "a.jpg", "train"), first)
    others = [(1, 1, "a.jpg", "train"), (0, 2, "a.jpg", "train"), (0, 1, "b.jpg", "train")]
    assert all(not torch.equal(keyed(transform, image, *key), first) for key in others)


def test_crops_cover_at_least_the_smallest_area_and_half_are_mirrored() -> None:
    # Each pixel's value is its column, so a crop shows its width and direction.
    columns = torch.arange(100, dtype=torch.uint8).expand(3, 100, 100)
    ends = [keyed(crop_flip(50), columns, i)[0, 25, [0, -1]].int() for i in range(200)]
    widths = torch.tensor([abs(int(right - left)) for left, right in ends])
    # An area of 0.5 at a ratio of 3:4 is 61 pixels wide; the ends lie half a pixel inside.
    assert widths.min() >= 58
    assert widths.max() > 90
    mirrored = sum(bool(left > right) for left, right in ends)
    assert 70 < mirrored < 130


def test_augmix_distorts_beyond_the_crop() -> None:
    grey = torch.full((3, 32, 32), 90, dtype=torch.uint8)
    assert values(keyed(crop_flip(32), grey, 0)) == {90}
    assert any(len(values(keyed(augmix(32), grey, i))) > 1 for i in range(10))


def test_none_refuses_another_size() -> None:
    image = noise(16, 16)
    assert none(16)(image) is image
    with pytest.raises(BrokenImage, match=r"20 x 16 pixels, .* 16 x 16"):
        none(16)(noise(16, 20))


def test_all_transforms_travel_to_workers() -> None:
    image = noise(16, 16)
    for name in TRANSFORMS.names():
        transform = TRANSFORMS.build(name, {}, 16)
        again = pickle.loads(pickle.dumps(transform))
        assert torch.equal(keyed(again, image, 0), keyed(transform, image, 0))


@pytest.mark.parametrize(
    "name", ["rand_augment", "sim_augment", "shift_flip", "auto_augment_cutout"]
)
@pytest.mark.parametrize("side", [32, 64])
def test_training_transforms_change_an_image_and_keep_its_form(name: str, side: int) -> None:
    transform, image = TRANSFORMS.build(name, {}, side), noise(side, side)
    seen = [keyed(transform, image, i) for i in range(8)]
    assert all(one.shape == (3, side, side) and one.dtype == torch.uint8 for one in seen)
    assert sum(not torch.equal(one, image) for one in seen) >= 6


def test_shifts_are_of_a_few_pixels_and_black_comes_in() -> None:
    image = torch.full((3, 32, 32), 200, dtype=torch.uint8)
    seen = [keyed(TRANSFORMS.build("shift_flip", {}, 32), image, i) for i in range(60)]
    black = [[int((one[0, 16] == 0).sum()), int((one[0, :, 16] == 0).sum())] for one in seen]
    assert torch.tensor(black).max() == 4
    assert torch.tensor(black).min() == 0


def test_the_hole_is_black_and_never_larger_than_asked() -> None:
    image = torch.full((3, 32, 32), 200, dtype=torch.uint8)
    cut = TRANSFORMS.build("auto_augment_cutout", {"shift": 0, "hole": 8}, 32)
    # Of what AutoAugment does to grey, black is left out by looking at grey's smallest share.
    holes = [int((keyed(cut, image, i)[0] == 0).sum()) for i in range(40)]
    assert min(holes) >= 16  # a corner cuts it to a quarter
    assert 64 in holes


def test_contrastive_views_lose_their_colours_now_and_then() -> None:
    colourful = noise(40, 40)
    seen = [keyed(TRANSFORMS.build("sim_augment", {}, 32), colourful, i) for i in range(100)]
    grey = sum(bool((one[0] == one[1]).all() and (one[1] == one[2]).all()) for one in seen)
    assert 8 <= grey <= 34
