import csv
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Command


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_predict_writes_all_rows_and_ends_with_1_where_a_photo_is_broken(
    taxonet: Command, saved: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.csv"
    ran = taxonet("predict", saved, photos, "--out", out, "--device", "cpu")
    assert ran.code == 1
    assert ran.out == f"{out}\n"  # for a pipe; all else is on standard error
    assert "6 photos: 0 called unknown, 1 unreadable" in ran.message
    rows = rows_of(out)
    assert [Path(row["image"]).name for row in rows] == [f"{seed}.png" for seed in range(6)]
    assert rows[3]["rule"] == "unreadable"
    assert rows[3]["error"] == "not an image file of a known kind"
    assert rows[4]["scientificName"] == "Rosa gallica"


def test_what_was_not_given_counts_as_not_given(
    taxonet: Command, saved: Path, tmp_path: Path
) -> None:
    """The rank, which only one form has, is given by nobody here."""
    ran = taxonet("fit-diffusion", saved, "--out", tmp_path / "new", "--device", "cpu")
    assert "index" in ran.message  # it got as far as the photos, which this classifier has not
    assert "rank" not in ran.message
    ran = taxonet("fit-diffusion", saved, "--rank", "8")
    assert ran.code == 2
    assert "rank is an option of form lowrank" in ran.message


def test_predict_ends_with_0_where_all_is_well(
    taxonet: Command, saved: Path, photos: Path, tmp_path: Path
) -> None:
    species = tmp_path / "species.txt"
    species.write_text("Rosa\nQuercus\n", encoding="utf-8")
    out = tmp_path / "rows.jsonl"
    ran = taxonet(
        "predict", saved, photos / "4.png", photos / "0.png", "--out", out, "--top-k", "2",
        "--within", "family=Rosaceae", "--species-list", species, "--no-renormalise",
        "--batch-size", "1", "--device", "cpu", "--workers", "0",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "The species list allows 2 of 6 taxa; 1 of its 2 names" in ran.message
    first, second = (json.loads(line) for line in out.read_text(encoding="utf-8").splitlines())
    assert (first["species"], first["rule"]) == ("Rosa gallica", "leaf")
    assert first["species_2"] == "Rosa canina"
    assert second["rule"] == "unknown"


def test_predict_by_another_rollup(
    taxonet: Command, saved: Path, photos: Path, tmp_path: Path
) -> None:
    words = ("predict", saved, photos / "4.png", "--device", "cpu")
    for name in ("own", "diffusion", "level_top_down"):
        ran = taxonet(*words, "--out", tmp_path / f"{name}.csv", "--rollup", name)
        assert ran.code == 0, ran.err
    own, diffused, weighed = (
        rows_of(tmp_path / f"{name}.csv")[0] for name in ("own", "diffusion", "level_top_down")
    )
    assert own["species"] == diffused["species"] == weighed["species"] == "Rosa gallica"
    assert float(diffused["species_probability"]) < float(own["species_probability"])
    assert float(weighed["species_probability"]) > float(own["species_probability"])


def test_predict_takes_options_of_the_rollup_and_writes_the_table_of_nodes(
    taxonet: Command, saved: Path, photos: Path, tmp_path: Path
) -> None:
    words = ("predict", saved, photos / "4.png", "--device", "cpu", "--rollup", "diffusion")
    tables = []
    for alpha in (0, 0.9):
        out, nodes = tmp_path / f"{alpha}.csv", tmp_path / f"{alpha} nodes.csv"
        ran = taxonet(
            *words, "--set", f"alpha={alpha}", "--set", "levels=last_two", "--out", out,
            "--node-probs", nodes, "--node-probs-from", "0.1",
        )  # fmt: skip
        assert (ran.code, ran.out) == (0, f"{out}\n"), ran.err
        tables.append({row["path"]: float(row["probability"]) for row in rows_of(nodes)})
        assert min(tables[-1].values()) >= 0.1
    still, moved = tables
    path = "Rosaceae/Rosa/Rosa gallica"
    assert moved[path] < still[path] - 0.1


def test_predict_resumes(taxonet: Command, saved: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    words = ("predict", saved, photos, "--out", out, "--device", "cpu", "--batch-size", "2")
    taxonet(*words)
    whole = out.read_bytes()
    ran = taxonet(*words)
    assert ran.code == 2
    assert "rows.csv exists already. Remove it or choose another --out." in ran.message
    assert taxonet(*words, "--resume").code == 2  # there is nothing to resume
    out.unlink()
    (photos / "6.png").mkdir()
    (photos / "6.png" / "list").mkdir()
    ran = taxonet(*words, photos / "no*.png")  # finds the mistake after all photos
    assert ran.code == 1
    assert "No file matches the pattern" in ran.message
    (photos / "last.png").write_bytes(b"")
    ran = taxonet(*words, "--resume")
    assert ran.code == 1
    assert "Went on after 6 photos." in ran.message
    assert out.read_bytes().startswith(whole)
    assert len(rows_of(out)) == 7


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--within", "famly=Rosaceae"), 2, "no rank 'famly'. Did you mean 'family'?"),
        (("--within", "genus=Rossa"), 2, "No genus is called 'Rossa'. Did you mean 'Rosa'?"),
        (("--species-list", "nowhere.txt"), 1, "nowhere.txt"),
        (
            ("--rollup", "diffusoin"),
            2,
            "No rollup is called 'diffusoin'. Did you mean 'diffusion'?",
        ),
        (("--rollup", "top_down"), 2, "it has no scores of inner nodes"),
        (("--rollup", "diffusion", "--within", "genus=Rosa"), 2, "leave one of them out"),
        (("--set", "alpha=0.1"), 2, "The rollup 'own' has no option 'alpha'. Options: none."),
        (
            ("--rollup", "diffusion", "--set", "alhpa=0.1"),
            2,
            "The rollup 'diffusion' has no option 'alhpa'. Did you mean 'alpha'?",
        ),
        (("--node-probs", "n.txt"), 2, "--node-probs must end in .csv, .jsonl, .parquet, got"),
        (
            ("--node-probs", "predictions.csv"),
            2,
            "different files, got predictions.csv, predictions.csv",
        ),
        (("--node-probs-from", "0.5"), 2, "give --node-probs"),
        (("--confidence", "0.9"), 2, "confidence is about a risk: give --risk."),
        (("--risk", "0.05"), 1, "has seen none. Run `taxonet calibrate` with labelled photos"),
        (("--scores", "scores.csv"), 2, "--scores must end in .parquet, got scores.csv."),
        (("--out", "rows.xlsx"), 2, "--out must end in .csv, .jsonl, .parquet, got rows.xlsx."),
    ],
)
def test_predict_refuses_what_cannot_be(
    words: tuple[str, ...],
    code: int,
    says: str,
    taxonet: Command,
    saved: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = taxonet("predict", saved, photos, "--device", "cpu", *words)
    assert ran.code == code, ran.err
    assert says in ran.message
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_folder_that_is_no_classifier_is_bad_input(
    taxonet: Command, photos: Path, tmp_path: Path
) -> None:
    for verb in ("predict", "embed"):
        ran = taxonet(verb, photos, photos, "--out", tmp_path / "rows.parquet")
        assert ran.code == 1
        assert "is no complete classifier: model.safetensors is missing" in ran.message


def test_embed_writes_a_vector_a_photo(
    taxonet: Command, saved: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "e.parquet"
    ran = taxonet("embed", saved, photos, "--out", out, "--device", "cpu")
    assert (ran.code, ran.out) == (1, f"{out}\n")
    assert "6 photos, 1 unreadable" in ran.message
    vectors = pq.read_table(out)["embedding"].to_pylist()
    assert [None if vector is None else len(vector) for vector in vectors] == [
        64, 64, 64, None, 64, 64,
    ]  # fmt: skip
    (photos / "3.png").unlink()
    out.unlink()
    assert taxonet("embed", saved, photos, "--out", out, "--device", "cpu").code == 0


def test_embed_adds_to_a_store_and_says_which_photos_are_broken(
    taxonet: Command, saved: Path, photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "features"
    words = ("embed", saved, photos, "--out", store, "--device", "cpu")
    ran = taxonet(*words)
    assert (ran.code, ran.out) == (1, f"{store}\n")
    assert f"{photos / '3.png'}: not an image file of a known kind" in ran.message
    assert "6 photos: 5 were embedded now, 1 are unreadable." in ran.message
    assert "6 photos: 0 were embedded now" in taxonet(*words).message
    (photos / "3.png").unlink()
    assert taxonet(*words).code == 0
    ran = taxonet(*words, "--fit", "pad")
    assert ran.code == 2
    assert "fit: " in ran.message


@pytest.mark.skipif(os.name != "posix", reason="other file names")
def test_names_that_are_no_text_are_shown_escaped(
    taxonet: Command, saved: Path, photos: Path, tmp_path: Path
) -> None:
    odd = os.fsdecode(os.fsencode(photos) + b"/caf\xe9.png")
    try:
        (photos / "4.png").rename(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    ran = taxonet("predict", saved, odd, "--out", tmp_path / "rows.csv", "--device", "cpu")
    assert ran.code == 0, ran.err
    (row,) = rows_of(tmp_path / "rows.csv")
    assert row["image"] == f"{photos}/caf\\udce9.png"
    assert row["scientificName"] == "Rosa gallica"


def test_analyse_prints_tables_and_writes_the_report(
    taxonet: Command, saved: Path, photos: Path, tmp_path: Path
) -> None:
    names = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")
    table = photos / "labels.csv"
    rows = [f"{seed}.png,{name}" for seed, name in enumerate(names)]
    table.write_text("\n".join(["image,taxon", *rows]), encoding="utf-8")
    out = tmp_path / "inside"
    ran = taxonet("analyse", saved, "--images", table, "--out", out, "--tsne", "--device", "cpu")
    assert ran.code == 0, ran.err
    assert "Norms of the vectors of classes" in ran.out
    assert "1 photos could not be read" in ran.message
    figures = json.loads((tmp_path / "inside" / "geometry.json").read_text(encoding="utf-8"))
    assert figures["photos"]["test"]["images"] == 5
    page = (tmp_path / "inside" / "geometry.html").read_text(encoding="utf-8")
    assert "How near is a photo to its class?" in page
    assert "Is the space arranged along the tree?" in page
    points = rows_of(tmp_path / "inside" / "tsne.csv")
    assert [row["image"] for row in points] == ["0.png", "1.png", "2.png", "4.png", "5.png"]
    assert [row["genus"] for row in points] == ["", "Rubus", "Acer", "Rosa", "Acer"]
    assert all(np.isfinite([float(row["x"]), float(row["y"])]).all() for row in points)
    assert figures["tsne"]["photos_shown"] == 5
    assert f"Points: {tmp_path / 'inside' / 'tsne.csv'}" in ran.message
