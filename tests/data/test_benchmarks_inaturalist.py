import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taxonet.data.benchmarks import (
    BenchmarkSet,
    inaturalist_2018,
    inaturalist_2019,
    inaturalist_2021,
    inaturalist_2021_mini,
)
from taxonet.errors import DataError
from taxonet.taxonomy import Taxonomy, match_labels

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
ROSE = ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Rosa", "Rosa canina")
OAK = (
    "Plantae",
    "Tracheophyta",
    "Magnoliopsida",
    "Fagales",
    "Fagaceae",
    "Quercus",
    "Quercus robur",
)


def category(number: int, path: tuple[str, ...]) -> dict[str, Any]:
    return {"id": number, "name": path[-1], **dict(zip(RANKS, path[:-1], strict=True))}


NAMED = [category(1, ROSE), category(0, OAK)]
OBSCURED = [category(1, tuple("abcdefg")), category(0, tuple("abcdehi"))]


def annotations(images: dict[str, int], categories: list[dict[str, Any]]) -> dict[str, Any]:
    """An annotation file: the category of each image; ids start at 100."""
    numbered = list(enumerate(images.items(), start=100))
    return {
        "images": [{"id": number, "file_name": name} for number, (name, _) in numbered],
        "annotations": [
            {"id": number, "image_id": number, "category_id": label}
            for number, (_, label) in reversed(numbered)
        ],
        "categories": categories,
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in content.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder


def files_of(
    train: str, val: str, root: str, categories: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    return {
        train: annotations({f"{root}/1/a.jpg": 1, f"{root}/0/b.jpg": 0}, categories),
        val: annotations({f"{root}/1/c.jpg": 1}, categories),
    }


FILES_2018 = files_of("train2018.json", "val2018.json", "train_val2018/Plantae", OBSCURED)


def read(folder: Path) -> BenchmarkSet:
    return inaturalist_2018(folder, check_counts=False, check_files=False)


@pytest.mark.parametrize(
    ("reader", "train", "val", "root", "obscured"),
    [
        (inaturalist_2018, "train2018.json", "val2018.json", "train_val2018/Plantae", True),
        (inaturalist_2019, "train2019.json", "val2019.json", "train_val2019/Plantae", True),
        (inaturalist_2021, "train.json", "val.json", "train", False),
        (inaturalist_2021_mini, "train_mini.json", "val.json", "train_mini", False),
    ],
)
def test_every_year_gives_photos_and_a_taxonomy(
    tmp_path: Path,
    reader: Callable[..., BenchmarkSet],
    train: str,
    val: str,
    root: str,
    obscured: bool,
) -> None:
    write(tmp_path, files_of(train, val, root, OBSCURED if obscured else NAMED))
    if obscured:
        write(tmp_path, {"categories.json": NAMED})
    for name in ("1/a.jpg", "0/b.jpg", "1/c.jpg"):
        (tmp_path / root / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / root / name).touch()
    found = reader(tmp_path, check_counts=False)
    assert found.images.frame.to_dict("list") == {
        "image": [f"{root}/1/a.jpg", f"{root}/0/b.jpg", f"{root}/1/c.jpg"],
        "taxon": ["1", "0", "1"],
        "split": ["train", "train", "test"],
    }
    assert found.images.notes == ()
    assert found.taxonomy is not None
    tree = Taxonomy.from_table(found.taxonomy)
    assert tree.ranks == (*RANKS, "species")
    matched = match_labels(found.images.taxon_counts(), tree)
    assert not matched.problems
    assert tree.labels["1"] == tree.node(ROSE)
    assert tree.labels["0"] == tree.node(OAK)


def test_unreadable_names_are_told(tmp_path: Path) -> None:
    found = read(write(tmp_path, FILES_2018))
    assert found.taxonomy is not None
    assert found.taxonomy["species"].tolist() == ["g", "i"]
    assert "put categories.json beside the JSON files" in found.images.notes[0]


def test_json_files_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write(tmp_path / "lists", {**FILES_2018, "categories.json": NAMED})
    found = inaturalist_2018(
        tmp_path / "images", lists=tmp_path / "lists", check_counts=False, check_files=False
    )
    assert found.images.root == tmp_path / "images"
    assert found.images.notes == ()


@pytest.mark.parametrize(
    ("reader", "files", "figures"),
    [
        (inaturalist_2018, FILES_2018, "classes: expected 8,142, found 2; .*437,513, .*24,426, "),
        (
            inaturalist_2019,
            files_of("train2019.json", "val2019.json", "p", OBSCURED),
            "classes: expected 1,010, found 2; .*265,213, .*3,030, ",
        ),
        (
            inaturalist_2021,
            files_of("train.json", "val.json", "p", NAMED),
            "classes: expected 10,000, found 2; .*2,686,843, .*100,000, ",
        ),
        (
            inaturalist_2021_mini,
            files_of("train_mini.json", "val.json", "p", NAMED),
            "classes: expected 10,000, found 2; .*500,000, .*100,000, .*50, found 1",
        ),
    ],
)
def test_other_figures_than_the_published_are_told(
    tmp_path: Path,
    reader: Callable[..., BenchmarkSet],
    files: dict[str, Any],
    figures: str,
) -> None:
    with pytest.raises(DataError, match=figures):
        reader(write(tmp_path, files), check_files=False)


def test_missing_images_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"3 of the 3 images of inat2018 \(100\.0%\)"):
        inaturalist_2018(write(tmp_path, FILES_2018), check_counts=False)


TRAIN = FILES_2018["train2018.json"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train2018.json": []}, r"train2018\.json has no list 'categories'"),
        ({"train2018.json": {**TRAIN, "annotations": []}}, "no list 'annotations'"),
        ({"train2018.json": {**TRAIN, "images": [{"id": 1}]}}, "lacks 'file_name'"),
        (
            {"train2018.json": {**TRAIN, "annotations": TRAIN["annotations"][:1]}},
            "1 images have no annotation and 0 annotations no image",
        ),
        (
            {"train2018.json": {**TRAIN, "images": TRAIN["images"][:1]}},
            "0 images have no annotation and 1 annotations no image",
        ),
        ({"train2018.json": {**TRAIN, "categories": NAMED[:1]}}, r"1 categories .*\(first: 0\)"),
        ({"train2018.json": {**TRAIN, "categories": [{"id": 1}]}}, "lacks the field 'name'"),
        ({"val2018.json": TRAIN}, "2 of 2 images are listed more than once"),
        ({"categories.json": NAMED[:1]}, r"categories\.json has other categories"),
        ({"categories.json": {"1": "Rosa"}}, "must hold a list of categories"),
        (
            {"categories.json": [category(0, ROSE), category(1, ROSE)]},
            "Categories 0 and 1 have the same names",
        ),
    ],
)
def test_a_faulty_file_is_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, {**FILES_2018, **changed}))


def test_what_is_not_there_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No train2018\.json in .*\(--lists\)"):
        read(tmp_path)
    (tmp_path / "train2018.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"train2018\.json cannot be read as JSON"):
        read(tmp_path)
