import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from taxonet.errors import DataError
from taxonet.report import choose_right, choose_wrong, thumbnail_uri

START = "data:image/jpeg;base64,"


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def decoded(uri: str) -> Image.Image:
    assert uri.startswith(START)
    return Image.open(BytesIO(base64.b64decode(uri.removeprefix(START))))


def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape() -> None:
    uri = thumbnail_uri(encoded(Image.new("RGB", (640, 320), (0, 128, 0)), "PNG"), side_px=100)
    picture = decoded(uri)
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (100, 50), "RGB")
    pixel = np.asarray(picture)[25, 50].astype(int)
    assert np.abs(pixel - [0, 128, 0]).max() <= 4


def test_small_images_are_not_enlarged() -> None:
    assert decoded(thumbnail_uri(encoded(Image.new("RGB", (20, 10)), "PNG"))).size == (20, 10)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    file_format = "TIFF" if mode == "CMYK" else "PNG"
    uri = thumbnail_uri(encoded(Image.new(mode, (30, 30)), file_format))
    assert decoded(uri).mode == "RGB"


def test_turned_upright_and_stripped_of_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    exif[0x010E] = "secret place"
    raw = encoded(Image.new("RGB", (60, 30)), "JPEG", exif=exif, comment=b"secret comment")
    uri = thumbnail_uri(raw)
    assert decoded(uri).size == (30, 60)
    assert not decoded(uri).getexif()
    assert b"secret" not in base64.b64decode(uri.removeprefix(START))


@pytest.mark.parametrize("raw", [b"", b"not an image", b"\x89PNG\r\n\x1a\n broken"])
def test_broken_files_are_refused(raw: bytes) -> None:
    with pytest.raises(DataError, match=f"got {len(raw)} bytes"):
        thumbnail_uri(raw)


def test_a_truncated_file_is_refused() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    raw = encoded(Image.fromarray(pixels), "JPEG")
    with pytest.raises(DataError, match="cannot read"):
        thumbnail_uri(raw[: len(raw) // 2])


def test_right_examples_are_a_keyed_sample() -> None:
    right = np.arange(100) % 3 > 0
    rows = choose_right(right, k=10, seed=1)
    assert len(set(rows.tolist())) == 10
    assert right[rows].all()
    assert rows.tolist() == sorted(rows.tolist())
    assert choose_right(right, k=10, seed=1).tolist() == rows.tolist()
    assert choose_right(right, k=10, seed=2).tolist() != rows.tolist()


def test_wrong_examples_are_the_surest_ones() -> None:
    right = [False, True, False, False, False]
    assert choose_wrong(right, [0.5, 0.99, 0.9, 0.5, 0.7], k=4).tolist() == [2, 4, 0, 3]
    assert choose_wrong(right, [0.5, 0.99, 0.9, 0.5, 0.7], k=1).tolist() == [2]


def test_nothing_to_choose_from() -> None:
    assert choose_right([False], k=3, seed=0).tolist() == []
    assert choose_wrong([True], [0.5], k=3).tolist() == []
