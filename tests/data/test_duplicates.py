from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from taxonet.data.duplicates import Fingerprint, fingerprint, near_groups
from taxonet.errors import ConfigError

GREYS = np.arange(256, dtype=np.uint8)


def groups_of(hashes: list[int], near_distance: int) -> list[int]:
    """The groups of photos that nothing but their hashes could tell apart."""
    prints = [Fingerprint(bits, GREYS) for bits in hashes]
    return [int(group) for group in near_groups(prints, near_distance=near_distance)]


def bits_apart(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def groups_by_trying_all(hashes: list[int], near_distance: int) -> list[set[int]]:
    groups = [{i} for i in range(len(hashes))]
    for i, j in combinations(range(len(hashes)), 2):
        if bits_apart(hashes[i], hashes[j]) <= near_distance:
            one, other = (next(group for group in groups if k in group) for k in (i, j))
            if one is not other:
                one |= other
                groups.remove(other)
    return groups


near_hashes = st.lists(
    st.builds(
        lambda base, flips: base ^ sum(1 << bit for bit in set(flips)),
        st.sampled_from([0, 2**64 - 1, 0x0F0F_1234_5678_9ABC]),
        st.lists(st.integers(0, 63), max_size=6),
    ),
    max_size=25,
)


@given(hashes=near_hashes, near_distance=st.integers(0, 15))
def test_groups_are_those_of_trying_all_pairs(hashes: list[int], near_distance: int) -> None:
    found = groups_of(hashes, near_distance)
    expected = groups_by_trying_all(hashes, near_distance)
    assert len(found) == len(hashes)
    for i, j in combinations(range(len(hashes)), 2):
        assert (found[i] == found[j]) == any({i, j} <= group for group in expected)


def test_more_hashes_than_are_compared_at_once() -> None:
    # All agree in the low bits, so every one is a candidate of every other.
    hashes = [i << 40 for i in range(0, 6000, 2)]
    found = groups_of([*hashes, hashes[0] ^ 1, hashes[-1] ^ (1 << 50)], 1)
    assert len(set(groups_of(hashes, 0))) == 3000
    assert found[0] == found[3000]
    assert found[2999] == found[3001]


def test_thumbnails_tell_apart_what_the_hash_cannot() -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(GREYS + rng.normal(0, 2, 256), 0, 255).astype(np.uint8)
    brighter = (GREYS // 2 + 100).astype(np.uint8)
    other = np.roll(GREYS, 20)
    flat = np.full(256, 9, np.uint8)
    prints = [Fingerprint(0, grey) for grey in (GREYS, noisy, brighter, other, flat, flat)]
    assert near_groups(prints, near_distance=0).tolist() == [0, 0, 0, 1, 2, 3]


def test_the_distance_has_a_range() -> None:
    with pytest.raises(ConfigError, match=r"0\.\.15"):
        near_groups([], near_distance=16)
    assert near_groups([], near_distance=4).tolist() == []


def test_the_hash_survives_scaling_and_light_but_not_another_picture() -> None:
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(30, 200, (8, 9, 3), dtype=np.uint8))
    photo = coarse.resize((180, 160), Image.Resampling.BICUBIC)
    code = fingerprint(photo).bits
    assert bits_apart(code, fingerprint(photo.resize((90, 80))).bits) <= 2
    assert bits_apart(code, fingerprint(ImageEnhance.Brightness(photo).enhance(0.8)).bits) <= 2
    assert bits_apart(code, fingerprint(photo.transpose(Image.Transpose.ROTATE_180)).bits) > 16


def test_a_photo_is_found_again_after_scaling_and_compression() -> None:
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(30, 200, (8, 9, 3), dtype=np.uint8))
    photo = coarse.resize((180, 160), Image.Resampling.BICUBIC)
    stream = BytesIO()
    photo.resize((90, 80)).save(stream, "JPEG", quality=60)
    turned = photo.transpose(Image.Transpose.ROTATE_180)
    prints = [fingerprint(image) for image in (photo, Image.open(stream), turned)]
    assert near_groups(prints, near_distance=4).tolist() == [0, 0, 1]


def test_the_hash_by_hand() -> None:
    # The first row gets brighter everywhere, the second nowhere, the third at its end alone.
    rows = [list(range(9)), [5] * 9, [5] * 8 + [9]] + [[7] * 9] * 5
    image = Image.fromarray(np.array(rows, dtype=np.uint8))
    assert fingerprint(image).bits == int("ff0001" + "00" * 5, 16)
