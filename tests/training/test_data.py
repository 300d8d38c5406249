from pathlib import Path

import pandas as pd
import pytest

from taxonet.data.table import ImageTable
from taxonet.errors import DataError, TaxonomyError
from taxonet.recipes.verbs import TaxonomySource
from taxonet.taxonomy import Taxonomy
from taxonet.training.data import TrainingData, open_taxonomy, open_training_data
from tests.helpers import ragged_taxonomy

ROWS = [
    ("a.jpg", "dog rose", "train"),
    ("b.jpg", "maple", "train"),
    ("c.jpg", "red maple", "train"),
    ("d.jpg", "red maple", "train"),
    ("e.jpg", "Rosa canina", "val"),
    ("f.jpg", "Acer", "calibration"),
    ("g.jpg", "Rosaceae/Rosa/Rosa canina", "test"),
    ("h.jpg", "birch", "test"),
]


def table_of(rows: list[tuple[str, str | None, str]]) -> ImageTable:
    return ImageTable(pd.DataFrame(rows, columns=["image", "taxon", "split"]))


def opened(rows: list[tuple[str, str | None, str]], share: float = 0.1) -> TrainingData:
    return open_training_data(table_of(rows), ragged_taxonomy(), seed=0, calibration_share=share)


def test_classes_are_the_nodes_of_the_training_photos() -> None:
    """Labels, names and full paths of a node are one class; a genus may be one."""
    data = opened(list(ROWS))
    assert data.classes.class_nodes.tolist() == [6, 7, 10]  # Acer, Rosa canina, Acer rubrum
    assert data.classes.class_counts.tolist() == [1, 1, 2]
    table, targets = data.split("train")
    assert table.frame["image"].tolist() == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert targets.tolist() == [1, 0, 2, 2]
    assert data.split("val")[1].tolist() == [1]
    assert data.split("calibration")[1].tolist() == [0]
    test, targets = data.split("test")
    assert (test.frame["image"].tolist(), targets.tolist()) == (["g.jpg"], [1])
    assert data.outside() == {"test": 1}  # the birch, of which there is no training photo


@pytest.mark.parametrize(("share", "calibration"), [(0.25, 10), (0.0, 0)])
def test_missing_splits_are_taken_from_train(share: float, calibration: int) -> None:
    rows: list[tuple[str, str | None, str]] = [
        (f"{label}{number}.jpg", label, "train")
        for label in ("dog rose", "red maple")
        for number in range(20)
    ]
    rows.append(("test.jpg", "dog rose", "test"))
    counts = opened(rows, share).table.split_counts()
    assert counts.get("calibration", 0) == calibration
    assert counts["val"] == 4
    assert counts["train"] == 36 - calibration
    assert counts["test"] == 1


def test_the_split_unknown_is_nobodys() -> None:
    """Its photos may have any label, of a class too, or none: no part of training sees them."""
    strangers: list[tuple[str, str | None, str]] = [
        ("s.jpg", "Ilex", "unknown"),
        ("t.jpg", None, "unknown"),
        ("u.jpg", "dog rose", "unknown"),
    ]
    data, without = opened([*ROWS, *strangers]), opened(list(ROWS))
    assert data.classes.class_counts.tolist() == without.classes.class_counts.tolist()
    assert data.digest() == without.digest()
    assert data.nodes.tolist() == [*without.nodes.tolist(), -1, -1, -1]
    assert data.outside() == {"test": 1}
    assert data.table.split_counts()["unknown"] == 3  # they are in the run's split.csv
    for split in ("train", "val", "calibration", "test"):
        assert data.split(split)[0].frame.equals(without.split(split)[0].frame)


def test_unlabelled_photos_are_refused() -> None:
    with pytest.raises(DataError, match=r"2 photos have no label \(first: x.jpg\)"):
        opened([*ROWS, ("x.jpg", None, "train"), ("y.jpg", None, "test")])


def test_no_training_photo_is_refused() -> None:
    rows: list[tuple[str, str | None, str]] = [(image, taxon, "test") for image, taxon, _ in ROWS]
    with pytest.raises(DataError, match="train"):
        opened(rows)


def test_labels_must_be_known() -> None:
    with pytest.raises(TaxonomyError, match="1 of 7 labels"):
        opened([*ROWS[:-1], ("h.jpg", "brich", "test")])


def test_the_digest_tells_apart_what_a_resume_must_not_mix() -> None:
    def digest(**changes: tuple[str, str | None, str]) -> str:
        rows: list[tuple[str, str | None, str]] = [
            changes.get(row[0].removesuffix(".jpg"), row) for row in ROWS
        ]
        return opened(rows).digest()

    same = digest()
    assert digest(a=("a.jpg", "Rosa canina", "train")) == same  # another name of the same taxon
    assert digest(g=("other.jpg", "dog rose", "test")) == same
    assert digest(f=("other.jpg", "Acer", "calibration")) == same
    different = [
        digest(a=("z.jpg", "dog rose", "train")),
        digest(c=("c.jpg", "maple", "train")),
        digest(e=("e.jpg", "Rosa canina", "train")),
        digest(e=("e.jpg", "red maple", "val")),
        digest(e=("z.jpg", "Rosa canina", "val")),
    ]
    assert len({same, *different}) == 6


def test_a_taxonomy_from_a_table_and_from_labels(tmp_path: Path) -> None:
    ragged_taxonomy().write_table(tmp_path / "tree.csv")
    table = table_of(list(ROWS))
    tree = open_taxonomy(TaxonomySource(taxonomy=tmp_path / "tree.csv"), table)
    assert tree.digest == ragged_taxonomy().digest
    cut = open_taxonomy(
        TaxonomySource(taxonomy=tmp_path / "tree.csv", ranks=("family", "genus")), table
    )
    assert cut.ranks == ("family", "genus")
    flat = open_taxonomy(TaxonomySource(), table)
    assert isinstance(flat, Taxonomy)
    assert flat.names[1:] == tuple(sorted({str(taxon) for _, taxon, _ in ROWS}))
