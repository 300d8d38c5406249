"""Keys of stored embeddings: the digest of a photo's bytes, and the view it was seen through."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taxonet.errors import DataError

PLAIN = "plain"
"""The view that prediction sees: no augmentation."""

DIGEST_BYTES = 32

Digests = NDArray[np.bytes_]
"""SHA-256 digests, ``(n,)`` of dtype ``S32``.

NumPy ignores zero bytes at the end of such strings. Digests have one length, so that comparing and
sorting them is right nevertheless.
"""


def view_key(transform: str, seed: int, number: int) -> str:
    """Return the key of an augmented view.

    Args:
        transform: Text that names the random transform with all of its options.
        seed: Key of its randomness.
        number: Tells apart several views of one photo through one transform, from 0.

    Examples:
        >>> view_key("crop_flip(scale=0.5)", seed=0, number=2)
        'crop_flip(scale=0.5), seed 0, number 2'
    """
    return f"{transform}, seed {seed}, number {number}"


def pack_digests(digests: Sequence[str]) -> Digests:
    """Return SHA-256 digests of 64 small hexadecimal digits as one array ``(n,)`` of their bytes.

    Raises:
        DataError: One of them is no such digest.

    Examples:
        >>> pack_digests(["61" * 32]).tolist() == [b"a" * 32]
        True
    """
    text = "".join(digests)
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        packed = b""
    # Each length by itself, or a short digest could borrow from a long one. In small letters, or
    # one photo could have two names.
    is_whole = len(packed) == DIGEST_BYTES * len(digests) and all(len(one) == 64 for one in digests)
    if not is_whole or text != text.lower():
        wrong = next(one for one in digests if not _is_digest(one))
        raise DataError(
            "A photo is known by the SHA-256 of its bytes, 64 hexadecimal digits in small "
            f"letters, got {wrong!r}."
        )
    return np.frombuffer(packed, dtype=f"S{DIGEST_BYTES}")


def unpack_digest(packed: bytes) -> str:
    """Return one element of an array of digests as 64 hexadecimal digits.

    Examples:
        >>> unpack_digest(b"a") == "61" + "00" * 31
        True
    """
    return packed.ljust(DIGEST_BYTES, b"\0").hex()


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
