import json
from pathlib import Path

import pandas as pd
import pytest

from taxonet.classifier import TaxonClassifier
from tests.cli.conftest import Command
from tests.helpers import save_photo, tiny_parts

NAMES = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A classifier in a run's folder, and twelve photos with labels and places beside it."""
    TaxonClassifier(tiny_parts(), device="cpu").save(tmp_path / "run" / "classifier")
    rows = []
    for seed in range(12):
        save_photo(tmp_path / f"{seed}.png", seed)
        rows.append((f"{seed}.png", NAMES[seed % 6], ("North", "South")[seed % 2]))
    frame = pd.DataFrame(rows, columns=["image", "taxon", "region"])
    frame.to_csv(tmp_path / "photos.csv", index=False)
    return tmp_path / "run"


def test_another_region_in_every_way(taxonet: Command, run: Path) -> None:
    photos = run.parent / "photos.csv"
    ran = taxonet(
        "evaluate", run / "classifier", photos, "--region", photos, "--prior-shift",
        "--batch-norm", "target", "--by", "region", "--device", "cpu",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "region: judged with the batch norm statistics of its own photos." in ran.message
    assert "estimated from 12 photos without their labels" in ran.message
    assert "as the source (counts) has them" in ran.message
    assert "On the test photos, by region." in ran.out
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    assert metrics["region"]["prior_shift"]["images"] == 12
    assert metrics["region"]["batch_norm"] == "target"
    assert set(metrics["test"]["by"]["region"]) == {"North", "South"}
    page = (run / "report.html").read_text("utf-8")
    assert "On the photos of another region, by region." in page
    assert "run, batch norm of these photos" in page


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--prior-shift",), "give --region"),
        (("--batch-norm", "target"), "give --region"),
        (("--batch-norm", "other"), "'own', 'target'"),
        (("--by", "regoin"), "Did you mean 'region'?"),
    ],
)
def test_a_call_that_is_wrong(
    taxonet: Command, run: Path, words: tuple[str, ...], complaint: str
) -> None:
    ran = taxonet(
        "evaluate", run / "classifier", run.parent / "photos.csv", *words, "--device", "cpu"
    )
    assert ran.code == 2
    assert complaint in ran.message
