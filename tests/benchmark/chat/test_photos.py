from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from taxonet.benchmark.chat.photos import photo_to_send
from taxonet.data.decoding import BrokenImage
from tests.helpers import photo

_ORIENTATION = 0x0112


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def test_nothing_but_the_pixels_is_sent(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Who Took It"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[2] = (52.0, 31.0, 12.0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "a.jpg"
    photo(0).save(
        path, exif=exif, comment=b"where I live", xmp=b"<x:xmpmeta>me</x>", icc_profile=profile
    )
    kept = path.read_bytes()
    for secret in (b"Who Took It", b"where I live", b"xmpmeta", b"ICC_PROFILE", b"Exif"):
        assert secret in kept
    sent = photo_to_send(path, max_side=64)
    for secret in (b"Who Took It", b"where I live", b"xmpmeta", b"ICC_PROFILE", b"Exif"):
        assert secret not in sent
    assert set(opened(sent).info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize(
    ("size", "max_side", "sent"),
    [
        ((400, 200), 100, (100, 50)),
        ((200, 400), 100, (50, 100)),
        ((100, 40), 100, (100, 40)),
        ((30, 20), 100, (30, 20)),
        ((3000, 2), 100, (100, 1)),
    ],
)
def test_the_longest_side_is_bounded_and_nothing_grows(
    size: tuple[int, int], max_side: int, sent: tuple[int, int]
) -> None:
    stream = BytesIO()
    photo(1, size).save(stream, "JPEG")
    image = opened(photo_to_send(stream.getvalue(), max_side=max_side))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", sent)


def test_a_photo_is_sent_upright() -> None:
    exif = Image.Exif()
    exif[_ORIENTATION] = 6  # turned by a quarter
    stream = BytesIO()
    photo(2, (60, 30)).save(stream, "JPEG", exif=exif, quality=95)
    found = opened(photo_to_send(stream.getvalue(), max_side=100))
    upright = photo(2, (60, 30)).transpose(Image.Transpose.ROTATE_270)
    assert found.size == (30, 60)
    assert np.abs(np.asarray(found, float) - np.asarray(upright, float)).mean() < 4


def test_equal_photos_are_equal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    photo(3).save(path)
    assert photo_to_send(path, max_side=32) == photo_to_send(path.read_bytes(), max_side=32)


def test_a_broken_photo_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(BrokenImage, match="no such file"):
        photo_to_send(tmp_path / "none.jpg", max_side=32)
    with pytest.raises(BrokenImage, match="not an image"):
        photo_to_send(b"text", max_side=32)
