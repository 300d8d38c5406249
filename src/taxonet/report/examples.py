"""Right and wrong predictions to look at, as thumbnails that travel inside the page."""

import base64
from io import BytesIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from taxonet.errors import DataError
from taxonet.seeds import generator

IntArray = NDArray[np.int64]

DATA_URI_START = "data:image/jpeg;base64,"


def thumbnail_uri(image: bytes, *, side_px: int = 192) -> str:
    """Return an image file as a small JPEG in a ``data:`` URI.

    The picture is turned upright and re-encoded, so nothing else of the file (place, camera,
    comments) gets into the page.

    Args:
        image: The bytes of an image file that Pillow can read.
        side_px: Longest side of the thumbnail in pixels.

    Raises:
        DataError: The bytes are no readable image.
    """
    try:
        with Image.open(BytesIO(image)) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"Expected an image file for a thumbnail, got {len(image)} bytes that Pillow cannot "
            f"read: {error}"
        ) from error
    picture.thumbnail((side_px, side_px))
    # A new image has no metadata that the encoder could pass on.
    clean = Image.new("RGB", picture.size)
    clean.paste(picture)
    buffer = BytesIO()
    clean.save(buffer, format="JPEG", quality=80, optimize=True)
    return DATA_URI_START + base64.b64encode(buffer.getvalue()).decode("ascii")


def choose_right(right: ArrayLike, *, k: int, seed: int) -> IntArray:
    """Choose k rightly predicted images at random: a fair sample, not the prettiest.

    Args:
        right: Booleans ``(N,)``, whether each prediction is right.
        k: How many; all of them where fewer are right.
        seed: Key of the choice.

    Returns:
        int64, at most k rows, ascending.

    Examples:
        >>> choose_right([True, False, True], k=5, seed=0).tolist()
        [0, 2]
    """
    rows = np.flatnonzero(np.asarray(right, dtype=bool))
    drawn = generator("report examples", seed).permutation(len(rows))[:k]
    return np.sort(rows[drawn])


def choose_wrong(right: ArrayLike, probs: ArrayLike, *, k: int) -> IntArray:
    """Choose the k wrong predictions that the classifier was surest of, surest first.

    Args:
        right: Booleans ``(N,)``, whether each prediction is right.
        probs: Floats ``(N,)``, the probability of each prediction.
        k: How many; all of them where fewer are wrong.

    Returns:
        int64, at most k rows; ties in the order of the rows.

    Examples:
        >>> choose_wrong([True, False, False], [0.9, 0.4, 0.8], k=5).tolist()
        [2, 1]
    """
    rows = np.flatnonzero(~np.asarray(right, dtype=bool))
    return rows[np.argsort(-np.asarray(probs, dtype=np.float64)[rows], kind="stable")][:k]
