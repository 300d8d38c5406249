import numpy as np
import pytest
import torch

from taxonet.data.crops import crops_of, side_to_crop
from tests.reference.crops import five_crops


@pytest.mark.parametrize(("side", "larger"), [(4, 5), (5, 8), (7, 8), (6, 6)])
def test_crops_equal_the_loop(side: int, larger: int) -> None:
    draw = torch.Generator().manual_seed(side)
    images = torch.randint(0, 256, (3, 3, larger, larger), dtype=torch.uint8, generator=draw)
    found = crops_of(images, image_size=side, crops=5)
    for row, image in enumerate(images.numpy()):
        for crop, expected in zip(found, five_crops(image, side), strict=True):
            np.testing.assert_array_equal(crop[row].numpy(), expected)


def test_one_crop_is_the_image() -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    (crop,) = crops_of(images, image_size=8, crops=1)
    assert crop is images


def test_the_square_is_an_eighth_larger_than_its_crops_at_most() -> None:
    assert [side_to_crop(size, crops=5) for size in (14, 32, 224, 336)] == [16, 37, 256, 384]
    assert [side_to_crop(size, crops=1) for size in (14, 32, 224)] == [14, 32, 224]
