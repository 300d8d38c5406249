import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.training.mixing import blend, kept_share, paste, random_box


def test_a_blend_is_the_mean_by_shares() -> None:
    images = torch.arange(12.0).view(1, 3, 2, 2)
    partners = 100 - images
    torch.testing.assert_close(blend(images, partners, 1.0), images)
    torch.testing.assert_close(blend(images, partners, 0.0), partners)
    torch.testing.assert_close(blend(images, partners, 0.25), 75 - 0.5 * images)


def test_a_box_is_pasted_and_the_rest_is_left() -> None:
    images, partners = torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4, 5)
    mixed = paste(images, partners, (1, 2, 3, 5))
    expected = torch.zeros(4, 5)
    expected[1:3, 2:5] = 1
    assert (mixed == expected).all()
    assert images.sum() == 0
    assert mixed[0, 0].mean() == pytest.approx(1 - kept_share((1, 2, 3, 5), height=4, width=5))


@given(
    seed=st.integers(0, 999),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    share=st.floats(0, 1),
)
def test_a_box_lies_in_the_image(seed: int, height: int, width: int, share: float) -> None:
    box = random_box(np.random.default_rng(seed), height=height, width=width, share=share)
    top, left, bottom, right = box
    assert 0 <= top <= bottom <= height
    assert 0 <= left <= right <= width
    # A box is cut off at the border, never larger than asked.
    assert kept_share(box, height=height, width=width) >= share - 1e-9


def test_a_box_within_the_image_has_the_share_that_was_drawn() -> None:
    boxes = [
        random_box(np.random.default_rng(seed), height=64, width=64, share=0.75)
        for seed in range(200)
    ]
    whole = [box for box in boxes if box[2] - box[0] == 32 and box[3] - box[1] == 32]
    assert len(whole) > 30
    assert kept_share(whole[0], height=64, width=64) == 0.75
    middles = np.array(
        [((top + bottom) / 2, (left + right) / 2) for top, left, bottom, right in whole]
    )
    assert (middles.min(axis=0) < 20).all()
    assert (middles.max(axis=0) > 44).all()


def test_the_whole_image_is_pasted_where_nothing_is_kept() -> None:
    box = random_box(np.random.default_rng(3), height=8, width=8, share=1.0)
    assert kept_share(box, height=8, width=8) == 1.0
