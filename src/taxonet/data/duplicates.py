"""Photos that occur twice, scaled or compressed anew: found without comparing all pairs."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from taxonet.errors import ConfigError

_HASH_BITS = 64
_THUMBNAIL_SIDE = 16
# Thumbnails of one photo saved twice correlate above this, those of similar leaves below it.
_LEAST_CORRELATION = 0.995
_COMPARED_AT_ONCE = 4_000_000

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


class Fingerprint(NamedTuple):
    """What a photo is recognised by: a 64-bit difference hash, and a thumbnail ``(256,)`` uint8.

    The hash finds candidates quickly, but dark leaves on white paper have nearly equal hashes;
    the thumbnail tells them apart.
    """

    bits: int
    thumbnail: NDArray[np.uint8]


def fingerprint(image: Image.Image) -> Fingerprint:
    """Return the fingerprint of an image.

    Bit k of the hash, from the highest, says whether the image, shrunk to 9 x 8 greys, gets
    brighter from one pixel to the next. The fingerprint survives scaling, compression and
    changes of brightness; not cropping or mirroring.

    Examples:
        >>> fingerprint(Image.linear_gradient("L").rotate(90)).bits == 2**64 - 1
        True
    """
    grey = image.convert("L")
    rows = np.asarray(grey.resize((9, 8), Image.Resampling.BOX))
    brighter = rows[:, 1:] > rows[:, :-1]  # (8, 8)
    side = (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)
    thumbnail = np.asarray(grey.resize(side, Image.Resampling.BOX)).reshape(-1)
    return Fingerprint(int.from_bytes(np.packbits(brighter).tobytes(), "big"), thumbnail)


def near_groups(prints: Sequence[Fingerprint], *, near_distance: int) -> NDArray[np.int64]:
    """Number the groups of photos that are nearly the same.

    Two photos are near when their hashes differ in at most ``near_distance`` bits and their
    thumbnails correlate at 0.995 or more. A group is all that chains of near photos connect. An
    image of one colour is near to none.

    Args:
        prints: Fingerprints of N photos.
        near_distance: Largest number of differing bits, 0 to 15.

    Returns:
        ``(N,)`` int64, equal within a group.

    Raises:
        ConfigError: The distance is out of range.

    Examples:
        >>> greys = np.arange(256, dtype=np.uint8)
        >>> prints = [Fingerprint(bits, greys) for bits in (0b0000, 0b0001, 2**40 - 1)]
        >>> near_groups(prints, near_distance=1).tolist()
        [0, 0, 1]
    """
    if not 0 <= near_distance <= 15:
        raise ConfigError(f"`near_distance` must lie in 0..15 bits, got {near_distance}.")
    hashes = np.array([print_.bits for print_ in prints], dtype=np.uint64)
    thumbnails = np.array([print_.thumbnail for print_ in prints], dtype=np.uint8)
    pairs = list(_near_pairs(hashes, thumbnails, near_distance))
    left = np.concatenate([np.empty(0, np.int64), *(pair[0] for pair in pairs)])
    right = np.concatenate([np.empty(0, np.int64), *(pair[1] for pair in pairs)])
    size = (len(prints), len(prints))
    if not len(prints):
        return np.empty(0, np.int64)
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=size)
    _, group = connected_components(graph, directed=False)
    return np.asarray(group, dtype=np.int64)


def _near_pairs(
    hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8], near_distance: int
) -> Iterator[Pairs]:
    """Yield positions of near pairs.

    Of d + 1 bands of the bits, d differing bits leave at least one untouched: only hashes that
    agree in a band need comparing.
    """
    edges = np.linspace(0, _HASH_BITS, near_distance + 2).astype(int)
    for low, high in pairwise(edges.tolist()):
        mask = np.uint64((1 << (high - low)) - 1)
        band = (hashes >> np.uint64(low)) & mask
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order])) + 1
        for members in np.split(order, starts):
            if len(members) > 1:
                yield from _near_pairs_among(members, hashes, thumbnails, near_distance)


def _near_pairs_among(
    members: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    thumbnails: NDArray[np.uint8],
    near_distance: int,
) -> Iterator[Pairs]:
    bits = hashes[members]
    step = max(1, _COMPARED_AT_ONCE // len(members))
    for start in range(0, len(members), step):
        block = bits[start : start + step, None]
        near = np.bitwise_count(block ^ bits[None, start:]) <= near_distance  # (block, rest)
        left, right = np.nonzero(np.triu(near, k=1))
        if len(left):
            rest = _standardised(thumbnails[members[start:]])  # (rest, 256)
            alike = (rest[: len(block)] @ rest.T)[left, right] >= _LEAST_CORRELATION
            yield members[start + left[alike]], members[start + right[alike]]


def _standardised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale rows so that their products are correlations; a row of one grey becomes zero."""
    centred = thumbnails - thumbnails.mean(axis=1, keepdims=True, dtype=np.float32)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = centred / np.maximum(length, 1e-6)
    return scaled
