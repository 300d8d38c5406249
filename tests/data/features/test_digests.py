import os
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taxonet.data.features import digests, photo_digests
from taxonet.progress import Progress


def test_the_digest_is_that_of_the_bytes_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_AT_ONCE", 7)
    contents = [f"photo {number}".encode() * (50 - number) for number in range(50)]
    paths = [tmp_path / f"{number}.jpg" for number in range(50)]
    for path, data in zip(paths, contents, strict=True):
        path.write_bytes(data)
    expected = [sha256(data).hexdigest() for data in contents]
    assert photo_digests(paths) == (expected, {})
    assert photo_digests(iter(contents), workers=1) == (expected, {})
    assert photo_digests([str(path) for path in paths], workers=3) == (expected, {})


def test_what_cannot_be_read_has_a_reason_and_no_digest(tmp_path: Path) -> None:
    (tmp_path / "no photo.jpg").write_bytes(b"text")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").touch()
    names = ["no photo.jpg", "absent.jpg", "folder.jpg", "empty.jpg"]
    found, broken = photo_digests([*(tmp_path / name for name in names), "null\0.jpg"])
    assert [bool(digest) for digest in found] == [True, False, False, True, False]
    assert found[3] == sha256(b"").hexdigest()
    assert broken[1] == "no such file"
    assert broken[2] == "a folder, not a file"
    assert broken[4].startswith("cannot be read")
    assert set(broken) == {1, 2, 4}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert photo_digests([tmp_path / "pipe.jpg"]) == ([""], {0: "not a regular file"})


def test_an_image_in_memory_is_known_by_its_pixels() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    image = Image.fromarray(pixels)
    stream = BytesIO()
    image.save(stream, "PNG")
    turned = pixels.reshape(4, 2, 3)
    found, broken = photo_digests([pixels, image, stream.getvalue(), turned, pixels.tobytes()])
    assert found[0] == found[1]
    assert len(set(found)) == 4
    assert not broken
    found, broken = photo_digests([pixels.astype(np.float32)])
    assert found == [""]
    assert "must be uint8" in broken[0]


def test_progress_counts_the_photos() -> None:
    with Progress("reading", 3, shown=False) as progress:
        photo_digests([b"a", b"b", "absent"], progress=progress)
    assert progress.done == 3
