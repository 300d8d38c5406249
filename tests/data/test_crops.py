import numpy as np
import pytest
import torch
from PIL import Image

from taxonet.data.crops import crops_of, spec_to_crop
from taxonet.data.resizing import ResizeSpec
from taxonet.data.transforms import plain
from tests.reference.crops import five_crops

Size = tuple[int, int]


def square(side: int, crop_share: float = 1.0) -> ResizeSpec:
    return ResizeSpec(size=(side, side), crop_share=crop_share)


@pytest.mark.parametrize(
    ("size", "larger"), [((4, 4), (5, 5)), ((5, 5), (8, 8)), ((7, 4), (8, 5)), ((6, 6), (6, 6))]
)
def test_crops_equal_the_loop(size: Size, larger: Size) -> None:
    draw = torch.Generator().manual_seed(sum(size))
    images = torch.randint(0, 256, (3, 3, *larger), dtype=torch.uint8, generator=draw)
    found = crops_of(images, size=size, crops=5)
    for row, image in enumerate(images.numpy()):
        for crop, expected in zip(found, five_crops(image, size), strict=True):
            np.testing.assert_array_equal(crop[row].numpy(), expected)


def test_one_crop_is_the_image() -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    (crop,) = crops_of(images, size=(8, 8), crops=1)
    assert crop is images


def test_five_crops_are_cut_from_an_image_larger_by_a_seventh() -> None:
    for side, larger in ((14, 16), (32, 37), (224, 256), (336, 384)):
        assert spec_to_crop(square(side), crops=5).size == (larger, larger)
        assert spec_to_crop(square(side), crops=1) == square(side)
    assert spec_to_crop(ResizeSpec(size=(614, 512)), crops=5).size == (702, 585)


def test_five_crops_show_more_of_the_photo_at_the_same_scale() -> None:
    photo = Image.linear_gradient("L").resize((300, 200)).convert("RGB")
    spec = square(56, crop_share=0.7)
    larger = plain(spec_to_crop(spec, crops=5))(photo)
    assert larger.shape == (3, 64, 64)
    assert torch.equal(larger[:, 4:-4, 4:-4], plain(spec)(photo))
    assert spec_to_crop(square(224, crop_share=0.95), crops=5).crop_share == 1
