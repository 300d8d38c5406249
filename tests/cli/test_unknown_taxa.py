"""Unknown taxa from beginning to end: held out, trained without, judged by every score."""

import json
from pathlib import Path

import pandas as pd

from taxonet.classifier import TaxonClassifier
from taxonet.data import open_images
from tests.cli.conftest import Command
from tests.small_set import write_set


def test_taxa_are_held_out_and_judged_by_every_score(taxonet: Command, tmp_path: Path) -> None:
    photos = write_set(tmp_path / "photos")
    taxonomy, split, run = photos / "taxonomy.csv", photos / "split.csv", tmp_path / "run"
    held_out = ("--hold-out-taxa", "species=Rosa gallica", "--hold-out-taxa", "genus=Rubus")
    words = ("data", "split", photos / "images.csv", "--taxonomy", taxonomy, "--out", split)
    assert taxonet(*words, *held_out).code == 0
    table = open_images(split)
    assert set(table.split("unknown").taxon_counts()) == {"Rosa gallica", "Rubus idaeus"}
    small = ("model.backbone=test_resnet", "model.image_size=32", "epochs=2", "batch_size=4")
    changes = [word for change in small for word in ("--set", change)]
    trained = taxonet(
        *("train", split, "--taxonomy", taxonomy, "--out", run, "--device", "cpu"),
        *("--recipe", "tiny,cross_entropy", *changes),
    )
    assert trained.code == 0
    assert "of the split unknown" not in trained.message  # that they were left out was asked for
    classifier = TaxonClassifier.load(run / "classifier")
    assert [classifier.taxonomy.names[node] for node in classifier.class_nodes] == [
        "Rosa canina",
        "Acer rubrum",
        "Acer saccharum",
    ]
    assert "Rubus idaeus" in classifier.taxonomy.names  # known to be a taxon, and no class
    judged = ("evaluate", run / "classifier", run / "split.csv", "--unknown", run / "split.csv")
    ran = taxonet(*judged, "--novelty-scores", "--device", "cpu")
    assert ran.code == 0
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    own, every = metrics["open_set"], metrics["novelty_scores"]
    strata = {"unknown species of a known genus": 22, "unknown genus of a known family": 20}
    assert {name: one["images"] for name, one in own["by_novelty"].items()} == strata
    assert own["unknown_images"] == len(table.split("unknown")) == 42
    assert every["calibration_images"] == classifier.calibration.images > 0
    assert set(every["scores"]) | set(every["left_out"]) >= {"knn", "vim", "mahalanobis"}
    same = every["scores"]["max_logit"]
    assert same["threshold"] == own["threshold"] == classifier.calibration.novelty_threshold
    assert same["by_novelty"] == own["by_novelty"]
    printed = ran.out.splitlines()
    for shown in ("unknown species of a known", "unknown genus of a known", *every["scores"]):
        assert any(f"│ {shown} " in line for line in printed), shown
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Novelty scores" in page
    assert "AUROC, unknown genus of a known family" in page


def test_a_manifest_without_unknown_photos_is_bad_input(
    taxonet: Command, saved: Path, photos: Path, tmp_path: Path
) -> None:
    rows = [(f"photos/{k}.png", "Betulaceae", "test") for k in (0, 1)]
    frame = pd.DataFrame(rows, columns=["image", "taxon", "split"])
    frame.to_csv(tmp_path / "split.csv", index=False)
    words = ("evaluate", saved, tmp_path / "split.csv", "--out", tmp_path / "out")
    ran = taxonet(*words, "--unknown", tmp_path / "split.csv")
    assert ran.code == 1
    assert "no photo is in the split 'unknown' (splits: test)" in ran.message
    ran = taxonet(*words, "--novelty-scores")
    assert ran.code == 2
    assert "give them with --unknown" in ran.message
    assert photos.is_dir()
