"""Promises from the command line: calibrated, kept by every row, and decided anew from scores."""

import csv
from pathlib import Path

from taxonet.classifier import TaxonClassifier
from tests.cli.conftest import Command
from tests.small_set import write_set


def test_calibrate_predict_and_decide(taxonet: Command, tmp_path: Path) -> None:
    photos = write_set(tmp_path / "photos")
    run, careful = tmp_path / "run", tmp_path / "careful"
    small = ("model.backbone=test_resnet", "model.image_size=32", "epochs=1", "batch_size=4")
    changes = [word for change in small for word in ("--set", change)]
    trained = taxonet(
        *("train", photos / "images.csv", "--taxonomy", photos / "taxonomy.csv", "--out", run),
        *("--recipe", "tiny,cross_entropy", "--device", "cpu", *changes),
    )
    assert trained.code == 0, trained.err
    calibrated = taxonet(
        *("calibrate", run / "classifier", photos / "images.csv", "--out", careful),
        *("--policy", "risk_controlled", "--set", "alpha=0.4", "--set", "delta=0.4"),
        *("--device", "cpu"),
    )
    promise = "at most 40 % of photos wrong, with confidence 60 %"
    assert (calibrated.code, calibrated.out) == (0, f"{careful}\n")
    assert f"20 calibration photos. Promise: {promise}." in calibrated.message
    assert TaxonClassifier.load(careful).naming.promise == promise
    scores, rows, decided = (tmp_path / name for name in ("s.parquet", "rows.csv", "decided.csv"))
    named = taxonet(
        *("predict", careful, photos / "images", "--out", rows, "--scores", scores),
        *("--device", "cpu"),
    )
    assert named.code == 0, named.err
    assert f"Promise: {promise}." in named.message
    again = taxonet("decide", scores, "--policy", careful / "decision.yaml", "--out", decided)
    assert (again.code, again.out) == (0, f"{decided}\n")
    assert f"Promise: {promise}." in again.message
    with (
        rows.open(encoding="utf-8", newline="") as first,
        decided.open(encoding="utf-8", newline="") as second,
    ):
        one, other = list(csv.DictReader(first)), list(csv.DictReader(second))
    assert [row["rule"] for row in one] == [row["rule"] for row in other]
    assert {row["promise"] for row in other} == {promise}
    missing = taxonet("decide", scores, "--out", tmp_path / "more.csv")
    assert missing.code == 2
    assert "decision.yaml cannot be read as a policy" in missing.message
