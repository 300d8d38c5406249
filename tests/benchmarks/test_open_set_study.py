"""The study of unknown taxa: what is held out, how scores are judged, and how a run goes on."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import open_set_study
from benchmarks.datasets import PreparedData
from benchmarks.open_set_data import OpenSetData, choose_held_out, flora
from benchmarks.open_set_scores import measure
from benchmarks.run_table import write_into
from taxonet.classifier import TaxonClassifier
from taxonet.data import open_images
from taxonet.data.flora import FloraConfig
from taxonet.registry import FITTED_NOVELTY_SCORES, NOVELTY_SCORES
from taxonet.seeds import generator
from tests.helpers import CLASS_NODES, photo, save_index, save_photo, tiny_parts

NAMES = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")
TAXA = pd.DataFrame(
    [
        ("a", "Iris pumila", "Iris", "Iridaceae", "Asparagales"),
        ("b", "Iris setosa", "Iris", "Iridaceae", "Asparagales"),
        ("c", None, "Nerine", "Amaryllidaceae", "Asparagales"),
        ("d", "Dahlia pinnata", "Dahlia", "Asteraceae", "Asterales"),
        ("e", "Dahlia pinnata", "Dahlia", "Asteraceae", "Asterales"),
        ("f", None, "Gazania", "Asteraceae", "Asterales"),
        ("g", None, "Campanula", "Campanulaceae", "Asterales"),
        ("h", None, "Rosa", "Rosaceae", "Rosales"),
        ("i", None, "Ulmus", "Ulmaceae", "Rosales"),
    ],
    columns=["label", "species", "genus", "family", "order"],
)


@pytest.mark.parametrize("seed", range(20))
def test_a_taxon_of_each_rank_is_held_out_and_has_relatives(seed: int) -> None:
    chosen = choose_held_out(TAXA, seed=seed)
    assert chosen["species"] in (["a"], ["b"])  # two cultivars are one species, alone in its genus
    assert chosen["genus"] in (["d", "e"], ["f"])  # of a family that keeps a genus
    assert chosen["family"] in (["h"], ["i"])  # of an order that keeps a family
    assert choose_held_out(TAXA.iloc[::-1], seed=seed) == chosen


def test_seeds_hold_out_other_taxa() -> None:
    assert len({str(choose_held_out(TAXA, seed=seed)) for seed in range(20)}) > 4


def test_the_flora_brings_its_own_unknown_taxa(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = FloraConfig(
        species=8,
        genera=4,
        families=2,
        train_images=4,
        imbalance_factor=2,
        val_images=1,
        calibration_images=1,
        test_images=1,
        region_images=0,
        unknown_species=4,
        unknown_images=2,
        image_size=16,
    )
    monkeypatch.setattr("benchmarks.datasets.FloraConfig", lambda seed: small)
    found = flora(tmp_path, tmp_path, 0)
    assert {kind: len(table) for kind, table in found.unknown.items()} == {"species": 4, "genus": 4}
    known = set(open_images(found.known.images).frame["taxon"])
    genera = {name.split()[0] for name in known}
    for kind, in_known_genus in (("species", True), ("genus", False)):
        taxa = set(found.unknown[kind].frame["taxon"])
        assert not taxa & known
        assert {name.split()[0] in genera for name in taxa} == {in_known_genus}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, OpenSetData]:
    """A classifier that knows six photos by heart, as calibration and test, and four strangers."""
    work = tmp_path_factory.mktemp("study")
    for seed in range(6, 12):
        save_photo(work / f"{seed}.png", seed)
    folder = work / "classifier"
    classifier = TaxonClassifier(replace(tiny_parts(), class_counts=np.full(6, 2)), device="cpu")
    classifier.save(folder)
    training = classifier.embed([photo(seed) for seed in (*range(6), *range(6))])
    noise = generator("index of a test").normal(0, 0.01, training.shape)
    save_index(folder, (training + noise).astype(np.float32), [*range(6), *range(6)])
    labels = {"calibration": NAMES, "test": (*NAMES[:5], "Rubus")}  # the last one it gets wrong
    rows = [
        (f"{split} {seed}.png", taxon, split)
        for split, taxa in labels.items()
        for seed, taxon in enumerate(taxa)
    ]
    for name, _, _ in rows:
        save_photo(work / name, int(name.split()[1][0]))
    pd.DataFrame(rows, columns=["image", "taxon", "split"]).to_csv(work / "images.csv", index=False)
    strangers = pd.DataFrame(
        [(f"{seed}.png", f"taxon {seed}") for seed in range(6, 12)], columns=["image", "taxon"]
    )
    strangers.to_csv(work / "unknown.csv", index=False)
    unknown = open_images(work / "unknown.csv")
    data = OpenSetData(
        PreparedData(images=work / "images.csv", taxonomy=None),
        {"species": unknown.rows([0, 1]), "genus": unknown.rows([2, 3, 4, 5])},
    )
    return folder, data


def test_every_score_is_judged_by_kind(study: tuple[Path, OpenSetData]) -> None:
    found = measure(*study)
    assert found["rank1"] == pytest.approx(5 / 6)
    assert found["classes"] == len(CLASS_NODES)
    assert (found["calibration_photos"], found["test_photos"]) == (6, 6)
    assert found["unknown_photos"] == {"species": 2, "genus": 4}
    assert list(found["scores"]) == [*NOVELTY_SCORES.names(), *FITTED_NOVELTY_SCORES.names()]
    for name, of_score in found["scores"].items():
        kinds = of_score["kinds"]
        assert list(kinds) == ["species", "genus", "all"]
        # Pairs of known and unknown photos add up over the kinds, as do the refused ones.
        for figure in ("AUROC", "TNR", "OSCR"):
            parts = 2 * kinds["species"][figure] + 4 * kinds["genus"][figure]
            assert parts / 6 == pytest.approx(kinds["all"][figure]), (name, figure)
        assert kinds["all"]["OSCR"] <= min(found["rank1"], kinds["all"]["AUROC"])
        assert kinds["all"]["TPR"] == 1  # test photos are those of calibration
    assert found["scores"]["nearest_prototype"]["kinds"]["all"]["AUROC"] > 0.9  # known by heart


def test_a_score_equals_the_calculation_by_hand(study: tuple[Path, OpenSetData]) -> None:
    folder, data = study
    classifier = TaxonClassifier.load(folder, device="cpu")

    def largest(names: list[str]) -> list[float]:
        root = data.known.images.parent
        batches = classifier.score((name, root / name) for name in names)
        return torch.cat([batch.logits for batch in batches]).amax(dim=1).tolist()

    known, unknown = largest([f"test {seed}.png" for seed in range(6)]), largest(["6.png", "7.png"])
    of_score = measure(folder, data)["scores"]["max_logit"]
    # 6 photos, of which 95 % are more than 5: the threshold is the largest novelty.
    assert of_score["threshold"] == pytest.approx(-min(known), abs=1e-4)
    refused = sum(value < min(known) for value in unknown)
    assert of_score["kinds"]["species"]["TNR"] == refused / 2
    pairs = sum(k > u for k in known for u in unknown)
    assert of_score["kinds"]["species"]["AUROC"] == pytest.approx(pairs / 12)
    right_pairs = sum(k > u for k in known[:5] for u in unknown)  # the last photo is named wrongly
    assert of_score["kinds"]["species"]["OSCR"] == pytest.approx(right_pairs / 12)
    assert right_pairs > 0


def record(row: str, seed: int, auroc: float) -> dict[str, Any]:
    figures = dict.fromkeys(("TPR", "TNR", "ACC", "AUPR", "FPR@95", "OSCR"), 0.25)
    kinds = {kind: {**figures, "AUROC": auroc} for kind in ("species", "all")}
    scores = {name: {"threshold": 0.0, "kinds": kinds} for name in ("energy", "max_logit")}
    return {"row": row, "seed": seed, "rank1": 0.5, "scores": scores}


def test_tables_hold_means_and_spreads_and_say_what_was_not_run(tmp_path: Path) -> None:
    lines = [json.dumps(record("CE", seed, auroc)) for seed, auroc in ((0, 0.5), (1, 0.7))]
    (tmp_path / "open-set-flora.jsonl").write_text("\n".join(lines) + "\n")
    rows = open_set_study.render("flora", tmp_path).splitlines()
    (ce, *_) = [row for row in rows if row.startswith("| CE | 2 |")]
    assert ce.split(" | ")[2:7] == [
        "50.0 ± 0.0",
        "25.0 ± 0.0",
        "25.0 ± 0.0",
        "25.0 ± 0.0",
        "60.0 ± 14.1",
    ]
    assert any(row.startswith("| TaxoNet | 0 | not run |") for row in rows)
    assert "| row | score | TPR | AUROC species | AUROC all | TNR species | TNR all |" in rows
    assert any(row.startswith("| CE | energy | 25.0 ± 0.0 | 60.0 ± 14.1 |") for row in rows)


def test_what_has_a_record_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, int]] = []

    def run(name: str, row: Any, seed: int, options: argparse.Namespace) -> dict[str, Any]:
        ran.append((row.name, seed))
        return record(row.name, seed, 0.5)

    monkeypatch.setattr(open_set_study, "_run", run)
    options = argparse.Namespace(results=tmp_path / "results", seeds=[0, 1], rows=["CE", "LDAM"])
    open_set_study.run_study("flora", options)
    assert ran == [("CE", 0), ("LDAM", 0), ("CE", 1), ("LDAM", 1)]
    open_set_study.run_study("flora", argparse.Namespace(**vars(options) | {"rows": None}))
    assert ran[4:] == [(row, seed) for seed in (0, 1) for row in ("CBL", "AM-Softmax", "TaxoNet")]


def test_a_page_gets_what_stands_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- table x -->\nold\n<!-- end x -->\nb\n")
    write_into(page, {"x": "new", "y": "nowhere"})
    assert page.read_text() == "a\n<!-- table x -->\nnew\n<!-- end x -->\nb\n"
