import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from taxonet.data import BrokenImage, keyed
from taxonet.data.resizing import Fit, ResizeSpec, to_tensor
from taxonet.data.transforms import Transform, augmix, crop_flip, none, plain
from taxonet.errors import ConfigError
from taxonet.registry import TRANSFORMS


def noise(height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def of_colour(value: int, side: int) -> Image.Image:
    return Image.new("RGB", (side, side), (value, value, value))


def square(side: int, fit: Fit = "crop") -> ResizeSpec:
    return ResizeSpec(size=(side, side), fit=fit)


def values(pixels: Tensor) -> set[int]:
    return set(pixels.flatten().tolist())


@pytest.mark.parametrize("name", [name for name in TRANSFORMS.names() if name != "none"])
@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(16, 16), (18, 12), (12, 40)])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (40, 25), (7, 90), (1, 3000), (3000, 1)])
def test_every_transform_gives_the_size_it_was_asked_for(
    name: str, fit: Fit, size: tuple[int, int], height: int, width: int
) -> None:
    transform = TRANSFORMS.build(name, {}, ResizeSpec(size=size, fit=fit))
    image = keyed(transform, noise(height, width), 0)
    assert transform.size == size
    assert image.shape == (3, *size)
    assert image.dtype == torch.uint8


def test_plain_takes_the_middle_or_repeats_the_border() -> None:
    pixels = np.zeros((8, 24, 3), dtype=np.uint8)
    pixels[:, 8:16] = 100
    pixels[0] = 7
    pixels[:, 8:16] = 100
    image = Image.fromarray(pixels)
    assert values(plain(square(8))(image)) == {100}
    padded = plain(square(24, "pad"))(image)
    assert torch.equal(padded[:, 8:16], to_tensor(image))
    assert torch.equal(padded[:, 0], to_tensor(image)[:, 0])
    assert torch.equal(padded[:, -1], to_tensor(image)[:, -1])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_random_parts_are_torchvisions(interpolation: str) -> None:
    spec = ResizeSpec(size=(20, 16), interpolation=interpolation)  # type: ignore[arg-type] # a str
    expected = v2.Compose(
        [
            v2.RandomResizedCrop(
                (20, 16), (0.5, 1.0), interpolation=v2.InterpolationMode(interpolation)
            ),
            v2.RandomHorizontalFlip(),
        ]
    )
    for shape in ((40, 25), (7, 90), (200, 333), (1, 300)):
        for key in range(5):
            image = noise(*shape)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(key)
                one = expected(to_tensor(image))
                torch.manual_seed(key)
                assert torch.equal(crop_flip(spec)(image), one)


def test_random_parts_of_a_padded_photo_are_of_its_border_too() -> None:
    wide = Image.fromarray(np.asarray(noise(2, 64)))
    seen = [keyed(crop_flip(square(32, "pad")), wide, i) for i in range(20)]
    assert all(torch.equal(one[:, 0], one[:, 1]) for one in seen), "the border, repeated"
    assert len({one.numpy().tobytes() for one in seen}) == 20


@pytest.mark.parametrize("make", [crop_flip, augmix])
def test_randomness_hangs_on_the_key_alone(make: object) -> None:
    assert callable(make)
    transform, image = make(square(16)), noise(30, 30)
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
    columns = np.tile(np.arange(100, dtype=np.uint8)[:, None], (100, 1, 3))
    image = Image.fromarray(columns)
    ends = [keyed(crop_flip(square(50)), image, i)[0, 25, [0, -1]].int() for i in range(200)]
    widths = torch.tensor([abs(int(right - left)) for left, right in ends])
    # An area of 0.5 at a ratio of 3:4 is 61 pixels wide; the ends lie half a pixel inside.
    assert widths.min() >= 58
    assert widths.max() > 90
    mirrored = sum(bool(left > right) for left, right in ends)
    assert 70 < mirrored < 130


def test_augmix_distorts_beyond_the_crop() -> None:
    grey = of_colour(90, 32)
    assert values(keyed(crop_flip(square(32)), grey, 0)) == {90}
    assert any(len(values(keyed(augmix(square(32)), grey, i))) > 1 for i in range(10))


def test_none_refuses_another_size() -> None:
    image, check = noise(16, 18), none(ResizeSpec(size=(16, 18)))
    assert torch.equal(check(image), to_tensor(image))
    with pytest.raises(BrokenImage, match=r"20 x 16 pixels, .* 18 x 16"):
        check(noise(16, 20))


def test_all_transforms_travel_to_workers() -> None:
    image = noise(16, 16)
    for name in TRANSFORMS.names():
        transform = TRANSFORMS.build(name, {}, square(16))
        again = pickle.loads(pickle.dumps(transform))
        assert torch.equal(keyed(again, image, 0), keyed(transform, image, 0))


@pytest.mark.parametrize(
    "name", ["rand_augment", "sim_augment", "shift_flip", "auto_augment_cutout"]
)
@pytest.mark.parametrize("side", [32, 64])
def test_training_transforms_change_an_image_and_keep_its_form(name: str, side: int) -> None:
    transform, image = TRANSFORMS.build(name, {}, square(side)), noise(side, side)
    seen = [keyed(transform, image, i) for i in range(8)]
    assert all(one.shape == (3, side, side) and one.dtype == torch.uint8 for one in seen)
    assert sum(not torch.equal(one, to_tensor(image)) for one in seen) >= 6


def test_shifts_are_of_a_few_pixels_and_black_comes_in() -> None:
    image = of_colour(200, 32)
    seen = [keyed(TRANSFORMS.build("shift_flip", {}, square(32)), image, i) for i in range(60)]
    black = [[int((one[0, 16] == 0).sum()), int((one[0, :, 16] == 0).sum())] for one in seen]
    assert torch.tensor(black).max() == 4
    assert torch.tensor(black).min() == 0


def test_the_hole_is_black_and_never_larger_than_asked() -> None:
    image = of_colour(200, 32)
    cut = TRANSFORMS.build("auto_augment_cutout", {"shift": 0, "hole": 8}, square(32))
    # Of what AutoAugment does to grey, black is left out by looking at grey's smallest share.
    holes = [int((keyed(cut, image, i)[0] == 0).sum()) for i in range(40)]
    assert min(holes) >= 16  # a corner cuts it to a quarter
    assert 64 in holes


def test_contrastive_views_lose_their_colours_now_and_then() -> None:
    colourful = noise(40, 40)
    seen = [
        keyed(TRANSFORMS.build("sim_augment", {}, square(32)), colourful, i) for i in range(100)
    ]
    grey = sum(bool((one[0] == one[1]).all() and (one[1] == one[2]).all()) for one in seen)
    assert 8 <= grey <= 34


def test_a_rectangle_of_the_mean_colour_is_erased_as_often_as_asked() -> None:
    assert keyed(rand(0.0), noise(40, 40), 3).equal(keyed(rand(None), noise(40, 40), 3))
    erased = [_erased(keyed(rand(0.5), noise(40, 40), i)) for i in range(200)]
    assert 70 < sum(share > 0 for share in erased) < 130
    assert max(erased) <= 0.36  # a third of the image, and rounding
    assert min(share for share in erased if share > 0) >= 0.01
    with pytest.raises(ConfigError, match=r"erase_prob must lie in 0\.\.1, .* got 1\.5"):
        rand(1.5)


def rand(erase_prob: float | None) -> Transform:
    options = {} if erase_prob is None else {"erase_prob": erase_prob}
    built: Transform = TRANSFORMS.build(
        "rand_augment", {"operations": 0, **options}, ResizeSpec(size=(30, 40))
    )
    return built


def _erased(pixels: Tensor) -> float:
    """Return the share of the pixels that have the mean colour, all in one rectangle."""
    mean = torch.tensor([124, 116, 104], dtype=torch.uint8)[:, None, None]
    rows, columns = (pixels == mean).all(dim=0).nonzero(as_tuple=True)
    if len(rows) < 4:  # noise may have the colour by chance
        return 0.0
    height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    assert len(rows) == height * width
    return len(rows) / (30 * 40)


@pytest.mark.parametrize(
    ("name", "fit", "at_least"),
    [
        ("plain", "crop", None),
        ("plain", "pad", 60),
        ("crop_flip", "crop", 60),
        ("none", "crop", None),
    ],
)
def test_only_where_pixels_are_not_those_of_timm_a_jpeg_is_decoded_smaller(
    name: str, fit: Fit, at_least: int | None
) -> None:
    transform = TRANSFORMS.build(name, {}, ResizeSpec(size=(30, 20), fit=fit))
    assert transform.decode_at_least == at_least
