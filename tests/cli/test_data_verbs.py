import json
from pathlib import Path

import pandas as pd
import pytest

from taxonet.data import open_images
from taxonet.data.matching import read_taxon_map
from tests.cli.conftest import Command
from tests.helpers import save_photo


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Photos of three genera in two splits, with one fault of each kind."""
    root = tmp_path / "collection"
    for seed in range(4):
        save_photo(root / "train" / "Acer" / f"{seed}.png", seed)
    for seed in range(4, 7):
        save_photo(root / "train" / "Phildelphus" / f"{seed}.png", seed)
    save_photo(root / "test" / "Acer" / "again.png", 2)
    save_photo(root / "test" / "Rosa" / "8.png", 8)
    (root / "train" / "Acer" / "broken.png").write_bytes(b"")
    (root / "train" / "Acer" / "notes.md").write_text("left out", encoding="utf-8")
    return root


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    path = tmp_path / "taxonomy.csv"
    path.write_text(
        "family,genus\nSapindaceae,Acer\nHydrangeaceae,Philadelphus\nRosaceae,Rosa\nFagaceae,Fagus\n",
        encoding="utf-8",
    )
    return path


def test_inspect_shows_counts_and_every_kind_of_fault(
    taxonet: Command, collection: Path, taxonomy: Path
) -> None:
    ran = taxonet("data", "inspect", collection, "--taxonomy", taxonomy)
    assert ran.code == 1
    table = " ".join(ran.out.replace("│", " ").split())
    assert "10 photos of 3 labels." in table
    assert " train 8 " in table
    assert " test 2 " in table
    for line in (
        "1 labels that are no taxon:\n  'Phildelphus' matches nothing; near: 'Philadelphus'",
        "2 classes without photos:\n  Fagaceae/Fagus\n  Hydrangeaceae/Philadelphus",
        "1 labels without training photos:\n  Rosa",
        "1 broken files:\n  train/Acer/broken.png: empty file",
        "1 groups of duplicates across splits (a test that was trained on):\n"
        "  test/Acer/again.png = train/Acer/2.png",
        "Left out 1 files of the kind .md (first: train/Acer/notes.md).",
    ):
        assert line in ran.err
    assert ran.err.count("again.png") == 1


def test_inspect_finds_nothing_wrong_with_good_photos(taxonet: Command, tmp_path: Path) -> None:
    for seed in range(4):
        save_photo(tmp_path / "good" / "Acer" / f"{seed}.png", seed)
    # A file that is no photo is told, but it is no fault.
    (tmp_path / "good" / "Acer" / "notes.md").write_text("left out", encoding="utf-8")
    ran = taxonet("data", "inspect", tmp_path / "good")
    assert ran.code == 0, ran.err
    assert "4 photos of 1 labels." in " ".join(ran.out.split())
    assert "Left out 1 files" in ran.message


def test_inspect_writes_all_it_found(
    taxonet: Command, collection: Path, taxonomy: Path, tmp_path: Path
) -> None:
    out = tmp_path / "inspection"
    taxonet("data", "inspect", collection, "--taxonomy", taxonomy, "--out", out)
    found = json.loads((out / "inspection.json").read_text(encoding="utf-8"))
    assert found["label_counts"] == {"Acer": 6, "Phildelphus": 3, "Rosa": 1}
    assert found["broken"] == [{"image": "train/Acer/broken.png", "reason": "empty file"}]
    assert found["rank_counts"]["family"] == {"Rosaceae": 1, "Sapindaceae": 6}
    assert "<svg" in (out / "long_tail.svg").read_text(encoding="utf-8")


def test_inspect_checks_names_against_a_reference(
    taxonet: Command, collection: Path, taxonomy: Path, tmp_path: Path
) -> None:
    reference = tmp_path / "names.csv"
    reference.write_text("genus\nAcer\nPhiladelphus\nRosa\nFagos\n", encoding="utf-8")
    ran = taxonet("data", "inspect", collection, "--taxonomy", taxonomy, "--names", reference)
    assert "genus 'Fagus' is not in the reference; near: 'Fagos'" in ran.message


def test_split_writes_a_manifest_of_the_shares(taxonet: Command, tmp_path: Path) -> None:
    for seed in range(20):
        save_photo(tmp_path / "photos" / f"taxon {seed % 2}" / f"{seed}.png", seed)
    out = tmp_path / "sub" / "split.csv"
    words = ("data", "split", tmp_path / "photos", "--out", out)
    ran = taxonet(*words, "--train", "0.6", "--val", "0", "--calibration", "0.2", "--test", "0.2")
    assert (ran.code, ran.out) == (0, f"{out}\n")
    assert "20 photos: train 12, calibration 4, test 4." in ran.message
    table = open_images(out)
    assert table.split_counts() == {"train": 12, "calibration": 4, "test": 4}
    assert all(table.read_bytes(row) for row in range(20))
    before = out.read_bytes()
    ran = taxonet(*words, "--seed", "1")
    assert ran.code == 2
    assert "split.csv exists already" in ran.message
    assert out.read_bytes() == before


def test_split_holds_out_taxa(taxonet: Command, collection: Path, taxonomy: Path) -> None:
    (collection / "train" / "Acer" / "broken.png").unlink()
    (collection / "train" / "Phildelphus").rename(collection / "train" / "Philadelphus")
    out = collection / "split.csv"
    words = ("data", "split", collection, "--out", out, "--taxonomy", taxonomy)
    ran = taxonet(
        *words, "--hold-out-taxa", "family=Hydrangeaceae", "--hold-out-taxa", "genus=Rosa"
    )
    assert (ran.code, ran.out) == (0, f"{out}\n")
    assert "9 photos: train 4, val 1, unknown 4." in ran.message
    assert set(open_images(out).split("unknown").taxon_counts()) == {"Philadelphus", "Rosa"}
    out.unlink()
    ran = taxonet(*words, "--hold-out-taxa", "genus=Rossa")
    assert ran.code == 2
    assert "No genus is called 'Rossa'. Did you mean 'Rosa'?" in ran.message
    assert not out.exists()


def test_split_holds_out_labels_where_there_is_no_taxonomy(
    taxonet: Command, tmp_path: Path
) -> None:
    for seed in range(6):
        save_photo(tmp_path / "photos" / "ABC"[seed % 3] / f"{seed}.png", seed)
    out = tmp_path / "split.csv"
    ran = taxonet("data", "split", tmp_path / "photos", "--out", out, "--hold-out-taxa", "taxon=B")
    assert ran.code == 0
    assert open_images(out).split("unknown").taxon_counts() == {"B": 2}


def test_flora_draws_what_was_asked_for(taxonet: Command, tmp_path: Path) -> None:
    options = {
        "species": 3, "genera": 2, "families": 1, "image-size": 16, "train-images": 3,
        "imbalance-factor": 1, "val-images": 1, "calibration-images": 1, "test-images": 1,
        "region-images": 1, "unknown-species": 1, "unknown-images": 2, "seed": 4,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    out = tmp_path / "flora"
    ran = taxonet("data", "flora", *words, "--out", out)
    assert (ran.code, ran.out) == (0, f"{out}\n")
    assert "Next: taxonet train" in ran.message
    images = pd.read_csv(out / "images.csv")
    assert images["split"].value_counts().to_dict() == {
        "train": 9, "val": 3, "calibration": 3, "test": 3,
    }  # fmt: skip
    assert len(pd.read_csv(out / "taxonomy.csv")) == 3
    ran = taxonet("data", "flora", *words, "--species", "4", "--out", out)
    assert ran.code == 1
    assert "describes another flora" in ran.message


@pytest.mark.parametrize("verb", ["inspect", "split"])
def test_photos_that_are_not_there_are_bad_input(
    verb: str, taxonet: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = taxonet("data", verb, "nowhere")
    assert ran.code == 1
    assert "nowhere does not exist: expected a folder of photos or a table" in ran.message
    assert list(tmp_path.iterdir()) == []


def test_match_writes_a_map_that_evaluate_takes(
    taxonet: Command, taxonomy: Path, tmp_path: Path
) -> None:
    other, out = tmp_path / "other.csv", tmp_path / "matches.csv"
    other.write_text(
        "label,family,genus\nErable,Aceraceae,Acer\nseringat,Hydrangeaceae,Philadelpus\n"
        "eglantier,Rosaceae,Cynorrhodon\n",
        encoding="utf-8",
    )
    synonyms = tmp_path / "synonyms.csv"
    synonyms.write_text("name,accepted,source\nCynorrhodon,Rosa,a book\n", encoding="utf-8")
    ran = taxonet("data", "match", taxonomy, other, "--synonyms", synonyms, "--out", out)
    assert (ran.code, ran.out.strip()) == (0, str(out))
    assert "6 taxa of the other taxonomy: 2 matched, 1 moved, 1 renamed, 2 missing." in ran.err
    assert "'Hydrangeaceae/Philadelpus' is missing; near: 'Philadelphus'" in ran.err
    meaning = read_taxon_map(out)
    assert meaning["Erable"] == meaning["Acer"] == "Sapindaceae/Acer"
    assert meaning["eglantier"] == "Rosaceae/Rosa"
    assert meaning["seringat"] == meaning["Aceraceae"] == ""
    again = taxonet("data", "match", taxonomy, other, "--out", out)
    assert again.code == 2
    assert "exists already" in again.message


def test_match_writes_csv_only(taxonet: Command, taxonomy: Path, tmp_path: Path) -> None:
    ran = taxonet("data", "match", taxonomy, taxonomy, "--out", tmp_path / "matches.parquet")
    assert ran.code == 2
    assert "does not end in .csv" in ran.message
