"""Bytes to pixels: the one place that knows how photo files can be broken."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from taxonet.errors import DataError


@dataclass(frozen=True)
class StoredPhoto:
    """A photo that is not at hand; a store has its features under the digest of its bytes."""

    sha256: str


ImageSource = str | Path | bytes | Image.Image | NDArray[np.uint8] | StoredPhoto

MAX_PIXELS = 100_000_000
_JPEG_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif"}
_OTHER_SUFFIXES = {
    ".png",
    ".apng",
    ".webp",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".avif",
}
IMAGE_SUFFIXES = frozenset(_JPEG_SUFFIXES | _OTHER_SUFFIXES)
# No more than these: some of Pillow's other readers start external programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "MPO")
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BrokenImage(DataError):  # noqa: N818 - it is the image that is broken
    """An image that cannot be used; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def load_image(
    source: ImageSource, *, at_least: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Return an RGB image from a path, bytes, a PIL image or an array.

    Args:
        source: Path, encoded bytes, PIL image, or uint8 array ``(H, W)``, ``(H, W, 3)`` or
            ``(H, W, 4)``; of a `StoredPhoto` there is no image.
        at_least: See `decode`.
        max_pixels: See `decode`.

    Raises:
        BrokenImage: The image cannot be used.
    """
    if isinstance(source, str | Path | bytes | StoredPhoto):
        return decode(file_bytes(source), at_least=at_least, max_pixels=max_pixels)
    with _any_failure_is_a_broken_image():
        image = _from_array(source) if isinstance(source, np.ndarray) else source
        _check_size(image, max_pixels)
        return _upright_rgb(image)


def decode(
    data: bytes, *, at_least: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode an image file to 8-bit RGB.

    Transparent pixels are laid on white, 16-bit grey is scaled to 8 bits, CMYK is converted, the
    EXIF orientation is applied, and of an animation the first frame is taken. Embedded colour
    profiles are not applied.

    Args:
        data: The file's bytes: JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or AVIF.
        at_least: A JPEG may be decoded at a half, a quarter or an eighth of its size, which is
            several times faster, as long as neither side falls below this many pixels.
        max_pixels: Largest width times height; read from the header, before decoding.

    Raises:
        BrokenImage: The bytes are no image of these kinds, damaged, or too large.

    Examples:
        >>> stream = BytesIO()
        >>> Image.new("L", (3, 2), 255).save(stream, "PNG")
        >>> decode(stream.getvalue()).getpixel((0, 0))
        (255, 255, 255)
        >>> decode(b"Quercus robur")
        Traceback (most recent call last):
        ...
        taxonet.data.decoding.BrokenImage: not an image file of a known kind
    """
    if not data:
        raise BrokenImage("empty file")
    with _any_failure_is_a_broken_image():
        try:
            image: Image.Image = Image.open(BytesIO(data), formats=_readable_formats())
        except UnidentifiedImageError:
            raise BrokenImage("not an image file of a known kind") from None
        _check_size(image, max_pixels)
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        return _upright_rgb(image)


@cache
def _readable_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@contextmanager
def _any_failure_is_a_broken_image() -> Iterator[None]:
    """Turn whatever a decoder raises into `BrokenImage`, and keep its warnings quiet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BrokenImage:
        raise
    except Image.DecompressionBombError as error:
        raise BrokenImage(f"too many pixels: {error}") from None
    # Damaged files make decoders raise almost anything: OSError, SyntaxError, struct.error,
    # KeyError, ValueError, MemoryError.
    except Exception as error:
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise BrokenImage(f"truncated or damaged: {detail}") from None


def file_bytes(source: str | Path | bytes | StoredPhoto) -> bytes:
    """Return the bytes of an image file that is a path, or bytes already.

    Raises:
        BrokenImage: The file cannot be read, or only its features are at hand.
    """
    if isinstance(source, StoredPhoto):
        raise BrokenImage(
            "only its features are at hand: name the store that has them with --features"
        )
    return source if isinstance(source, bytes) else read_file(Path(source))


def read_file(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        BrokenImage: There is no such file, or it may not or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BrokenImage("no such file") from None
    except IsADirectoryError:
        raise BrokenImage("a folder, not a file") from None
    except PermissionError:
        raise BrokenImage("no permission to read the file") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        detail = getattr(error, "strerror", None) or error
        raise BrokenImage(f"cannot be read: {detail}") from None


def _from_array(array: NDArray[np.uint8]) -> Image.Image:
    colour = array.ndim == 3 and array.shape[2] in (3, 4)
    if array.dtype != np.uint8 or not (array.ndim == 2 or colour):
        raise BrokenImage(
            f"an array must be uint8 of shape (H, W), (H, W, 3) or (H, W, 4), got {array.dtype} "
            f"of shape {array.shape}"
        )
    return Image.fromarray(array)


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width == 0 or height == 0:
        raise BrokenImage("an image without pixels")
    if width * height > max_pixels:
        raise BrokenImage(
            f"too many pixels: {width} x {height} is over the limit of {max_pixels:,}"
        )


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    rgb = _to_rgb(image)
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> int:
    # The pixels of a photo with damaged EXIF are still good: take it as it lies.
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise BrokenImage("floating-point pixels, whose range is not stated")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray(_sixteen_to_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    # A copy even of RGB: the caller's image, and what hangs on it, stays untouched.
    return image.convert("RGB")


def _sixteen_to_eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    wide = pixels.astype(np.int64)
    if wide.min() < 0 or wide.max() > 0xFFFF:
        raise BrokenImage("32-bit grey, whose range is not stated")
    return ((wide + 128) // 257).astype(np.uint8)
