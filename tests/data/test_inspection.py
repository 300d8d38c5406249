import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from taxonet.data import ImageTable, inspect_images, open_images
from taxonet.progress import Progress
from taxonet.taxonomy import Taxonomy


def photo(path: Path, seed: int) -> None:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((90, 80)).save(path)


@pytest.fixture
def table(tmp_path: Path) -> ImageTable:
    """Oaks and a maple: a copy across splits, a smaller copy, two broken files, odd labels."""
    for seed, name in enumerate(["a.png", "b.png", "c.png", "d.png", "e.png"]):
        photo(tmp_path / name, seed)
    shutil.copy(tmp_path / "a.png", tmp_path / "a-copy.png")
    Image.open(tmp_path / "b.png").resize((45, 40)).save(tmp_path / "b-small.jpg", quality=95)
    (tmp_path / "text.jpg").write_text("no photo")
    rows = [
        ("a.png", "Quercus robur", "train"),
        ("a-copy.png", "Quercus robur", "test"),
        ("b.png", "Quercus alba", "train"),
        ("b-small.jpg", "Quercus robur", "train"),
        ("c.png", "Quercus", "train"),
        ("d.png", "Acer rubrun", "test"),
        ("e.png", None, None),
        ("text.jpg", "Quercus robur", "train"),
        ("gone.jpg", "Quercus robur", "val"),
    ]
    frame = pd.DataFrame(rows, columns=["image", "taxon", "split"])
    return ImageTable(frame, root=tmp_path, notes=("Left out 1 file.",))


@pytest.fixture
def taxonomy() -> Taxonomy:
    species = ["Quercus robur", "Quercus alba", "Acer rubrum", "Acer saccharum"]
    genera = ["Quercus", "Quercus", "Acer", "Acer"]
    return Taxonomy.from_table(pd.DataFrame({"species": species, "genus": genera}))


def test_counts_and_broken_files(table: ImageTable) -> None:
    found = inspect_images(table)
    assert (found.images, found.unlabelled) == (9, 1)
    assert found.split_counts == {"train": 5, "val": 1, "test": 2}
    assert found.label_counts["Quercus robur"] == 5
    assert found.shot_groups == {"many": 0, "medium": 0, "few": 3}
    assert found.labels_without_training == ("Acer rubrun",)
    assert [(broken.image, broken.reason) for broken in found.broken] == [
        ("text.jpg", "not an image file of a known kind"),
        ("gone.jpg", "no such file"),
    ]
    assert found.notes == ("Left out 1 file.",)
    assert (found.rank_counts, found.label_problems, found.classes_without_images) == ({}, (), ())


def test_duplicates_within_and_across_splits(table: ImageTable) -> None:
    found = inspect_images(table)
    (exact,) = found.exact_duplicates
    assert exact.images == ("a.png", "a-copy.png")
    assert (exact.splits, exact.taxa, exact.leaks) == (
        ("test", "train"), ("Quercus robur",), True,
    )  # fmt: skip
    (near,) = found.near_duplicates
    assert near.images == ("b.png", "b-small.jpg")
    assert (near.splits, near.taxa, near.leaks) == (
        ("train",), ("Quercus alba", "Quercus robur"), False,
    )  # fmt: skip
    assert found.leaks == (exact,)


def test_labels_against_the_taxonomy(table: ImageTable, taxonomy: Taxonomy) -> None:
    found = inspect_images(table, taxonomy)
    assert found.rank_counts == {
        "genus": {"Quercus": 7},
        "species": {"Quercus/Quercus alba": 1, "Quercus/Quercus robur": 5},
    }
    (problem,) = found.label_problems
    assert (problem.label, problem.images) == ("Acer rubrun", 1)
    assert problem.suggestions[0] == "Acer rubrum"
    assert found.classes_without_images == ("Acer/Acer rubrum", "Acer/Acer saccharum")


def test_an_image_below_a_label_counts_for_it(table: ImageTable) -> None:
    frame = pd.DataFrame(
        {"genus": ["Quercus", "Quercus", "Acer"], "species": ["Quercus robur", "", ""]}
        | {"label": ["Quercus robur", "any oak", "any maple"]}
    )
    taxonomy = Taxonomy.from_table(frame)
    robur = table.rows((table.frame["taxon"] == "Quercus robur").to_numpy())
    assert inspect_images(robur, taxonomy).classes_without_images == ("any maple",)


def test_everything_goes_into_json(table: ImageTable, taxonomy: Taxonomy) -> None:
    value = json.loads(json.dumps(inspect_images(table, taxonomy).to_dict()))
    assert value["exact_duplicates"][0]["images"] == ["a.png", "a-copy.png"]
    assert value["rank_counts"]["genus"] == {"Quercus": 7}


def test_progress_counts_images_and_an_empty_table_is_fine(table: ImageTable) -> None:
    with Progress("reading", len(table), shown=False) as progress:
        inspect_images(table, progress=progress)
        assert progress.done == 9
    assert inspect_images(table.rows([])).images == 0


@pytest.mark.real_data
def test_the_real_flowers_are_all_readable(real_data: Path) -> None:
    found = inspect_images(open_images(real_data / "flowers102/splits.csv").split("val"))
    assert found.images == 510
    assert found.broken == ()


@pytest.mark.real_data
def test_leaves_of_one_shape_are_no_duplicates(real_data: Path) -> None:
    found = inspect_images(open_images(real_data / "leaves/images"))
    assert (found.images, len(found.label_counts)) == (792, 99)
    assert found.exact_duplicates == found.near_duplicates == ()
