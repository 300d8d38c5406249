from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from taxonet.data import ImageTable
from taxonet.data.benchmarks import ExpectedCounts
from taxonet.data.benchmarks.checks import require_counts, require_files, require_unique
from taxonet.errors import DataError

ROWS = [("train", "a")] * 3 + [("train", "b"), ("val", "a"), ("test", "b"), ("test", "a")]
RIGHT = ExpectedCounts(classes=2, train=4, val=1, test=2, largest=3, smallest=1)


def table(rows: list[tuple[str, str]]) -> ImageTable:
    images = [f"{number}.jpg" for number in range(len(rows))]
    frame = pd.DataFrame(rows, columns=["split", "taxon"]).assign(image=images)
    return ImageTable(frame)


def test_the_published_figures_pass() -> None:
    require_counts(table(ROWS), RIGHT, name="tiny")
    open_figures = replace(RIGHT, val=None, largest=None, smallest=None)
    require_counts(table(ROWS), open_figures, name="tiny")


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("classes", "classes: expected 1,007, found 2"),
        ("train", "train images: expected 1,007, found 4"),
        ("val", "val images: expected 1,007, found 1"),
        ("test", "test images: expected 1,007, found 2"),
        ("largest", "images of the largest class: expected 1,007, found 3"),
        ("smallest", "images of the smallest class: expected 1,007, found 1"),
    ],
)
def test_each_figure_that_differs_is_told(figure: str, message: str) -> None:
    wrong = replace(RIGHT, **{figure: 1_007})
    with pytest.raises(DataError, match=f"the set tiny as published: {message}\\. Check"):
        require_counts(table(ROWS), wrong, name="tiny")


@pytest.mark.parametrize("figure", ["classes", "train", "val", "test", "largest", "smallest"])
def test_more_than_published_is_no_better_than_less(figure: str) -> None:
    with pytest.raises(DataError, match=r"expected 0, found \d\. Check"):
        require_counts(table(ROWS), replace(RIGHT, **{figure: 0}), name="tiny")


def test_all_differences_come_at_once() -> None:
    with pytest.raises(DataError, match="found 4; test images: expected 9, found 2"):
        require_counts(table(ROWS), replace(RIGHT, train=5, test=9), name="tiny")


def test_a_class_without_training_images_is_told() -> None:
    rows = [*ROWS[:-1], ("test", "stranger")]
    with pytest.raises(DataError, match=r"1 classes without a training image \(first: stranger"):
        require_counts(table(rows), RIGHT, name="tiny")


def test_duplicates_are_told_with_the_first_ten() -> None:
    names = [f"{number:02d}" for number in range(12)]
    require_unique(names, source="list.txt")
    with pytest.raises(DataError, match=r"list\.txt: 12 of 12 .*00, 01, .*, 09, \.\.\.\)"):
        require_unique(names * 2, source="list.txt")
    with pytest.raises(DataError, match=r"1 of 12 images are listed more than once \(03\)"):
        require_unique([*names, "03", "03"], source="list.txt")


def test_missing_files_are_told_with_their_share(tmp_path: Path) -> None:
    names = [f"{folder}/{number}.jpg" for folder in ("a", "b/c") for number in range(10)]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    require_files(tmp_path, names, name="tiny")
    (tmp_path / "a" / "3.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of the 20 images of tiny \(5\.0%\) .*: a/3\.jpg\."):
        require_files(tmp_path, names, name="tiny")
    for number in range(10):
        (tmp_path / "b" / "c" / f"{number}.jpg").unlink()
    (tmp_path / "b" / "c").rmdir()
    with pytest.raises(
        DataError, match=r"11 of the 20 .*55\.0%.* a/3\.jpg, b/c/0\.jpg, .* b/c/8\.jpg, \.\.\.\."
    ):
        require_files(tmp_path, names, name="tiny")
