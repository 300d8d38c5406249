import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from taxonet.classifier import TaxonClassifier, embed_photos
from taxonet.errors import ConfigError
from taxonet.recipes.verbs import EmbedConfig
from tests.helpers import photo, save_photo


def embed(source: Path | str, images: list[str], out: Path, **options: Any) -> tuple[int, int]:
    config = EmbedConfig(source=str(source), images=tuple(images), out=out, device="cpu", **options)
    found = embed_photos(config)
    return found.images, len(found.broken)


def test_every_photo_has_its_row_in_order(
    saved: Path, classifier: TaxonClassifier, photos: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "sub" / "embeddings.parquet"
    images = [*photos, photos[0]]
    assert embed(saved, images, out, batch_size=4) == (15, 2)
    rows = pq.read_table(out).to_pylist()
    assert [row["image"] for row in rows] == images
    assert [row["error"] for row in rows if row["error"]] == [
        "not an image file of a known kind",
        "no such file",
    ]
    for place, row in enumerate(rows):
        if place in (3, 9):
            assert row["embedding"] is None
        else:
            expected = classifier.embed([photo(place % 14)])[0]
            assert row["embedding"] == pytest.approx(expected, abs=1e-3)
            assert row["error"] is None
    assert rows[0]["embedding"] == pytest.approx(rows[14]["embedding"], abs=1e-3)
    assert np.abs(np.subtract(rows[0]["embedding"], rows[1]["embedding"])).max() > 1


def test_batches_of_unreadable_photos_are_nulls(
    saved: Path, photos: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "embeddings.parquet"
    assert embed(saved, [photos[3], photos[9], photos[0]], out, batch_size=1) == (3, 2)
    assert pq.read_table(out)["embedding"].is_null().to_pylist() == [True, True, False]


def test_no_photos_give_a_file_without_rows(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "embeddings.parquet"
    assert embed(saved, [str(tmp_path / "empty")], out) == (0, 0)
    assert pq.read_table(out).column_names == ["image", "embedding", "error"]


def test_a_name_that_is_no_text_is_escaped(saved: Path, tmp_path: Path) -> None:
    source = save_photo(tmp_path / "photo.png", 0)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    try:
        source.rename(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert embed(saved, [str(odd)], tmp_path / "e.parquet") == (1, 0)
    assert pq.read_table(tmp_path / "e.parquet")["image"].to_pylist() == [
        f"{tmp_path}/caf\\udce9.png"
    ]


def test_existing_files_are_refused(saved: Path, photos: list[str], tmp_path: Path) -> None:
    out = tmp_path / "embeddings.parquet"
    out.write_bytes(b"precious")
    with pytest.raises(ConfigError, match=r"embeddings\.parquet exists already"):
        embed(saved, photos, out)
    assert out.read_bytes() == b"precious"


def test_a_failed_run_leaves_no_file(saved: Path, photos: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere is no folder"):
        embed(tmp_path / "nowhere", photos, tmp_path / "e.parquet")
    with pytest.raises(ConfigError, match="resnet5O"):
        embed("resnet5O", photos, tmp_path / "e.parquet")
    with pytest.raises(Exception, match="matches the pattern"):
        embed(saved, [photos[0], "nothing/*.png"], tmp_path / "e.parquet")
    assert list(tmp_path.iterdir()) == []
