from pathlib import Path

import pandas as pd
import pytest

from taxonet.data.benchmarks import imagenet_lt, places_lt
from taxonet.data.benchmarks.lists import read_list
from taxonet.errors import DataError

LISTS = {
    "train": ["train/n01/a.JPEG 0", "train/n01/b.JPEG 0", "train/n02/c.JPEG 1"],
    "val": ["train/n01/d.JPEG 0"],
    "test": ["val/n01/e.JPEG 0", "val/n02/f.JPEG 1"],
}


def write_lists(folder: Path, stem: str, lists: dict[str, list[str]] = LISTS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in lists.items():
        (folder / f"{stem}_{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_images(folder: Path, lists: dict[str, list[str]] = LISTS) -> None:
    for lines in lists.values():
        for line in lines:
            path = folder / line.rpartition(" ")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


@pytest.mark.parametrize("place", [".", "ImageNet_LT"])
def test_three_lists_are_three_splits(tmp_path: Path, place: str) -> None:
    write_lists(tmp_path / place, "ImageNet_LT")
    write_images(tmp_path)
    found = imagenet_lt(tmp_path, check_counts=False)
    assert found.taxonomy is None
    assert found.images.frame.to_dict("list") == {
        "image": [line.split()[0] for lines in LISTS.values() for line in lines],
        "taxon": ["0", "0", "1", "0", "0", "1"],
        "split": ["train"] * 3 + ["val"] + ["test"] * 2,
    }
    assert found.images.source(4) == tmp_path / "val/n01/e.JPEG"


def test_lists_may_lie_elsewhere_and_without_val(tmp_path: Path) -> None:
    lists = {split: lines for split, lines in LISTS.items() if split != "val"}
    write_lists(tmp_path / "lists", "Places_LT", lists)
    write_images(tmp_path / "images", lists)
    found = places_lt(tmp_path / "images", lists=tmp_path / "lists", check_counts=False)
    assert found.images.split_counts() == {"train": 3, "test": 2}


def test_other_figures_than_the_published_are_told(tmp_path: Path) -> None:
    write_lists(tmp_path, "ImageNet_LT")
    write_images(tmp_path)
    with pytest.raises(
        DataError,
        match=r"imagenet-lt as published: classes: expected 1,000, found 2; train images: expected "
        r"115,846, found 3; val images: expected 20,000, found 1; test images: expected 50,000, "
        r"found 2; .*largest class: expected 1,280, found 2; .*smallest class: expected 5, found 1",
    ):
        imagenet_lt(tmp_path)


def test_missing_images_are_told_or_accepted(tmp_path: Path) -> None:
    write_lists(tmp_path, "ImageNet_LT")
    write_images(tmp_path)
    (tmp_path / "val/n02/f.JPEG").unlink()
    with pytest.raises(DataError, match=r"1 of the 6 images of imagenet-lt \(16\.7%\)"):
        imagenet_lt(tmp_path, check_counts=False)
    accepted = imagenet_lt(tmp_path, check_counts=False, check_files=False)
    assert len(accepted.images) == 6


@pytest.mark.parametrize(
    ("split", "line", "message"),
    [
        ("train", "train/n01/a.JPEG 0", r"ImageNet_LT_train\.txt: 1 of 3 images"),
        ("test", "train/n01/a.JPEG 0", r"The lists ImageNet_LT_\*\.txt together: 1 of 6"),
        ("test", "val/n01/g.JPEG", r"Line 3 of .*ImageNet_LT_test\.txt: expected a path"),
        ("test", "val/n01/g.JPEG one", "Line 3"),
        ("test", "7", "Line 3"),
    ],
)
def test_a_faulty_list_is_named(tmp_path: Path, split: str, line: str, message: str) -> None:
    write_lists(tmp_path, "ImageNet_LT", {**LISTS, split: [*LISTS[split], line]})
    with pytest.raises(DataError, match=message):
        imagenet_lt(tmp_path, check_counts=False, check_files=False)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No ImageNet_LT_train\.txt in .* \(--lists\)"):
        imagenet_lt(tmp_path)
    with pytest.raises(DataError, match="is no folder: expected one that holds the images"):
        imagenet_lt(tmp_path / "none")


def test_a_path_may_have_spaces_and_a_list_other_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"train/a b/c.jpg 12\r\n\r\ntrain/d.jpg 3")
    assert read_list(path) == [("train/a b/c.jpg", "12"), ("train/d.jpg", "3")]
    path.write_bytes(b"train/\xff.jpg 1\n")
    with pytest.raises(DataError, match=r"list\.txt cannot be read"):
        read_list(path)


@pytest.mark.real_data
def test_the_real_profile_of_places_lt_is_the_published_one(
    real_data: Path, tmp_path: Path
) -> None:
    counts = pd.read_csv(real_data / "counts" / "places_lt.csv")
    lists = {
        "train": [
            f"train/{label}/{number}.jpg {label}"
            for label, count in zip(counts["class"], counts["images"], strict=True)
            for number in range(count)
        ],
        "test": [
            f"val/{label}/{number}.jpg {label}" for label in range(365) for number in range(100)
        ],
    }
    write_lists(tmp_path, "Places_LT", lists)
    found = places_lt(tmp_path, check_files=False).images
    assert found.split_counts() == {"train": 62_500, "test": 36_500}
    lists["train"] = lists["train"][1:]
    write_lists(tmp_path, "Places_LT", lists)
    with pytest.raises(DataError, match="train images: expected 62,500, found 62,499"):
        places_lt(tmp_path, check_files=False)
