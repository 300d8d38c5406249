"""The study of other regions: its figures are those of `evaluate`, and it renders them."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import region_study
from benchmarks.records import append_record, read_records
from taxonet.classifier import TaxonClassifier
from taxonet.evaluation import evaluate
from taxonet.recipes.verbs import EvaluateConfig
from tests.helpers import save_photo, tiny_parts

NAMES = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Namespace:
    """Photos that the classifier knows by heart, and others elsewhere, mostly of one taxon."""
    work = tmp_path_factory.mktemp("regions")
    TaxonClassifier(tiny_parts(), device="cpu").save(work / "classifier")
    rows = {"home": list(range(6)), "there": [3, 3, 3, 4, 5]}
    for name, seeds in rows.items():
        table = [(f"{name}{place}.png", NAMES[seed]) for place, seed in enumerate(seeds)]
        for (image, _), seed in zip(table, seeds, strict=True):
            save_photo(work / image, seed if name == "home" else seed + 20)
        frame = pd.DataFrame(table, columns=["image", "taxon"])
        frame.to_csv(work / f"{name}.csv", index=False)
    return Namespace(
        classifier=work / "classifier",
        images=work / "home.csv",
        region=work / "there.csv",
        taxon_map=None,
        name="tiny",
    )


def test_the_figures_are_those_of_evaluate(options: Namespace) -> None:
    found = region_study.measure(options)
    assert found["photos"] == {"test photos from home": 6, "region": 5}
    assert found["taxa"]["region"] == 3
    assert found["figures"]["test photos from home"]["rank1"] == 1
    for way, asked in (
        ("as it is", {}),
        ("batch norm of its photos", {"batch_norm": "target"}),
    ):
        config = EvaluateConfig.model_validate(
            {"classifier": options.classifier, "images": options.images, "region": options.region}
            | asked
        )
        level = evaluate(config).metrics["region"]["levels"]["class"]
        assert found["figures"][way]["rank1"] == level["rank1"]
        assert found["figures"][way]["macro_recall"] == level["macro_recall"]
    assert np.isfinite([found["figures"]["both"][key] for key in ("rank1", "macro_recall")]).all()


def test_records_render_as_a_table(options: Namespace, tmp_path: Path) -> None:
    assert region_study.render(tmp_path) == "not run"
    figures = {
        way: {"rank1": place / 10, "macro_recall": place / 20}
        for place, way in enumerate((region_study._HOME, *region_study._WAYS))
    }
    record = {"row": "tiny", "photos": {region_study._HOME: 6, "region": 5}, "figures": figures}
    path = tmp_path / "region-study.jsonl"
    append_record(path, record)
    assert read_records(path) == [record]
    lines = region_study.render(tmp_path).splitlines()
    assert lines[2] == "| tiny | test photos from home | 6 | 0.0 | 0.0 |"
    assert lines[4] == "| tiny | elsewhere, prior correction | 5 | 20.0 | 10.0 |"
    assert len(lines) == 7
