"""The index of training photos, written by hand as `taxonet train` writes it."""

from pathlib import Path

import numpy as np
import pytest

from taxonet.classifier import TrainingIndex
from taxonet.errors import CheckpointError
from taxonet.seeds import generator
from tests.helpers import save_index


@pytest.mark.parametrize("at_once", [1, 3, 7, 100])
def test_rows_come_back_in_order_however_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("taxonet.classifier.index._ROWS_AT_ONCE", at_once)
    embeddings = generator("index").normal(size=(23, 5)).astype(np.float32)
    targets = generator("index", "targets").integers(0, 4, 23).tolist()
    save_index(tmp_path, embeddings, targets, rows=9)
    index = TrainingIndex(tmp_path, wanted_by="a test")
    assert (index.images, index.features) == (23, 5)
    found = index.read()
    np.testing.assert_array_equal(found.embeddings, embeddings)
    assert found.targets.tolist() == targets
    assert index.names() == [f"{k}.jpg" for k in range(23)]
    assert [array.dtype.name for array in found] == ["float32", "int64"]


def test_an_index_without_photos(tmp_path: Path) -> None:
    save_index(tmp_path, np.zeros((0, 4), dtype=np.float32), [], rows=1)
    found = TrainingIndex(tmp_path, wanted_by="a test").read()
    assert (found.embeddings.shape, found.targets.shape) == ((0, 4), (0,))


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"training\.parquet is missing: a test needs the emb"
    ):
        TrainingIndex(tmp_path, wanted_by="a test")
