import pickle
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from taxonet.data import BrokenImage, decode, load_image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(size: tuple[int, int] = (32, 24), mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def reason_of(data: bytes, **options: Any) -> str:
    with pytest.raises(BrokenImage) as caught:
        decode(data, **options)
    return caught.value.reason


def pixel(data: bytes, x: int = 0, y: int = 0) -> Any:
    image = decode(data)
    assert image.mode == "RGB"
    return image.getpixel((x, y))


def test_a_lossless_image_keeps_its_pixels() -> None:
    image = noise()
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        assert np.array_equal(np.asarray(decode(encoded(image, kind))), np.asarray(image))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"Quercus robur\n" * 9, "not an image file of a known kind"),
        (b"<html></html>", "not an image file of a known kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image file of a known kind"),
    ],
)
def test_what_is_no_image(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_truncated_files(kind: str) -> None:
    data = encoded(noise(), kind)
    assert decode(data).size == (32, 24)
    assert reason_of(data[: len(data) // 2]).startswith(("truncated or damaged: ", "not an image"))


def test_transparency_is_laid_on_white() -> None:
    half_red = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert pixel(encoded(half_red, "PNG")) == (255, 127, 127)
    assert pixel(encoded(Image.new("LA", (2, 2), (0, 0)), "PNG")) == (255, 255, 255)


def test_palettes_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert pixel(encoded(image, "PNG")) == (10, 20, 30)
    seen_through = encoded(image, "PNG", transparency=0)
    assert pixel(seen_through) == (255, 255, 255)
    assert pixel(seen_through, 1) == (200, 100, 50)


def test_cmyk_is_converted() -> None:
    red, green, blue = pixel(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert red > 230
    assert max(green, blue) < 25


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    values = np.array([[0, 0x0101, 0x8080, 0xFFFF]], dtype=np.uint16)
    for kind in ("PNG", "TIFF", "PPM"):
        data = encoded(Image.fromarray(values), kind)
        assert [pixel(data, x) for x in range(4)] == [(v, v, v) for v in (0, 1, 0x80, 255)]


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [(np.float32, "floating-point pixels"), (np.int32, "32-bit grey")],
)
def test_greys_without_a_range_are_refused(dtype: type, reason: str) -> None:
    data = encoded(Image.fromarray(np.full((2, 2), 1_000_000, dtype=dtype)), "TIFF")
    assert reason_of(data) == f"{reason}, whose range is not stated"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    # Where the upright image's top left corner is stored, by the EXIF standard.
    upright = noise((4, 3))
    methods = Image.Transpose
    stored_by = {
        2: methods.FLIP_LEFT_RIGHT, 3: methods.ROTATE_180, 4: methods.FLIP_TOP_BOTTOM,
        5: methods.TRANSPOSE, 6: methods.ROTATE_90, 7: methods.TRANSVERSE, 8: methods.ROTATE_270,
    }  # fmt: skip
    stored = upright if orientation == 1 else upright.transpose(stored_by[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(
        np.asarray(decode(encoded(stored, "PNG", exif=exif))), np.asarray(upright)
    )


def test_damaged_exif_does_not_lose_the_photo() -> None:
    assert decode(encoded(noise(), "JPEG", exif=b"Exif\0\0MM\0*garbage")).size == (32, 24)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind: str) -> None:
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(red, kind, save_all=True, append_images=[blue], **options)
    assert pixel(data) == (255, 0, 0)


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + b"\0\0\0\0"


def test_bombs_are_told_from_the_header() -> None:
    # There are no pixels behind this header: decoding it would give another reason.
    assert reason_of(png_header(12_000, 12_000)) == (
        "too many pixels: 12000 x 12000 is over the limit of 100,000,000"
    )
    assert reason_of(png_header(60_000, 60_000)).startswith("too many pixels: ")
    assert reason_of(encoded(noise(), "PNG"), max_pixels=767).endswith("over the limit of 767")
    assert decode(encoded(noise(), "PNG"), max_pixels=768).size == (32, 24)


def test_jpeg_is_decoded_small_but_not_too_small() -> None:
    data = encoded(Image.new("RGB", (800, 600), "green"), "JPEG")
    assert decode(data).size == (800, 600)
    assert decode(data, at_least=128).size == (200, 150)
    assert decode(data, at_least=700).size == (800, 600)


def test_missing_unreadable_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reason(path: str | Path) -> str:
        with pytest.raises(BrokenImage) as caught:
            load_image(path)
        return caught.value.reason

    assert reason(tmp_path / "no.jpg") == "no such file"
    (tmp_path / "x.jpg").mkdir()
    assert reason(str(tmp_path / "x.jpg")) == "a folder, not a file"
    assert reason("null\0.jpg").startswith("cannot be read: ")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert reason(tmp_path / "locked.jpg") == "no permission to read the file"


def test_images_and_arrays_that_are_in_memory() -> None:
    image = noise()
    pixels = np.asarray(image)
    assert np.array_equal(np.asarray(load_image(image)), pixels)
    assert np.array_equal(np.asarray(load_image(pixels)), pixels)
    assert load_image(pixels[..., 0]).getpixel((0, 0)) == (int(pixels[0, 0, 0]),) * 3
    with pytest.raises(BrokenImage, match=r"uint8 .* got float64 of shape \(2, 2\)"):
        load_image(np.zeros((2, 2)))  # type: ignore[arg-type] # the wrong type is the point
    with pytest.raises(BrokenImage, match="without pixels"):
        load_image(np.zeros((0, 3, 3), np.uint8))


def test_a_broken_image_travels_between_processes() -> None:
    again = pickle.loads(pickle.dumps(BrokenImage("empty file")))
    assert again.reason == "empty file"


SEEDS = {
    kind: encoded(noise((12, 9), mode), kind)
    for kind, mode in [
        ("JPEG", "RGB"), ("PNG", "RGBA"), ("GIF", "P"), ("WEBP", "RGB"), ("BMP", "RGB"),
        ("TIFF", "RGB"), ("PPM", "L"),
    ]
}  # fmt: skip


@settings(max_examples=400)
@given(
    kind=st.sampled_from(sorted(SEEDS)),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8))
    ),
    cut=st.floats(0, 1),
    at_least=st.sampled_from([None, 4]),
)
def test_any_bytes_give_an_image_or_a_reason(
    kind: str, changes: list[tuple[float, bytes]], cut: float, at_least: int | None
) -> None:
    data = bytearray(SEEDS[kind])
    for place, patch in changes:
        start = int(place * len(data))
        data[start : start + len(patch)] = patch
    reason, image = "", None
    try:
        image = decode(bytes(data[: int(cut * len(data)) + 1]), at_least=at_least, max_pixels=10**6)
    except BrokenImage as error:
        reason = error.reason
    if image is None:
        assert 0 < len(reason) < 250
    else:
        assert image.mode == "RGB"
        assert image.width * image.height <= 10**6
