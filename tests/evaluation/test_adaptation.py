"""Batch norm statistics of the photos judged, on real (small) photos."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from taxonet.classifier import TaxonClassifier
from taxonet.data.table import ImageTable
from taxonet.errors import ConfigError
from taxonet.evaluation import evaluate
from taxonet.evaluation.adaptation import adapt_to_photos
from taxonet.evaluation.drawing import drawn_rows
from taxonet.recipes.verbs import EvaluateConfig
from taxonet.report import summary_tables
from tests.evaluation.conftest import write_table
from tests.helpers import photo, save_photo, tiny_parts

NAMES = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")


@pytest.fixture
def region(tmp_path: Path) -> ImageTable:
    """The photos that the classifier knows, seen through a dim camera."""
    for seed in range(12):
        dim = (np.asarray(photo(seed)) * 0.3 + 20).astype(np.uint8)
        Image.fromarray(dim).save(tmp_path / f"{seed}.png")
    rows = [(f"{seed}.png", NAMES[seed % 6]) for seed in range(12)]
    return ImageTable(pd.DataFrame(rows, columns=["image", "taxon"]), root=tmp_path)


def logits(classifier: TaxonClassifier, table: ImageTable, batch_size: int = 64) -> torch.Tensor:
    photos = [(table.name(row), table.source(row)) for row in range(len(table))]
    return torch.cat([b.logits for b in classifier.score(photos, batch_size=batch_size)])


def test_rows_depend_on_the_set_and_not_on_batches_or_the_order(region: ImageTable) -> None:
    classifier = TaxonClassifier(tiny_parts(), device="cpu")
    before = logits(classifier, region)
    adapted = adapt_to_photos(classifier, region)
    found = logits(adapted, region)
    torch.testing.assert_close(logits(adapted, region, 1), found, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits(classifier, region), before, rtol=0, atol=0)
    assert not torch.allclose(found, before, atol=1e-2)
    order = [7, 3, 11, 0, 1, 2, 9, 4, 5, 6, 8, 10]
    again = adapt_to_photos(classifier, region.rows(order))
    torch.testing.assert_close(logits(again, region), found, atol=1e-4, rtol=1e-4)
    part = adapt_to_photos(classifier, region.rows(range(6)))
    assert not torch.allclose(logits(part, region), found, atol=1e-2)


def test_rows_are_drawn_at_random_and_the_same_in_any_order(region: ImageTable) -> None:
    names = region.frame["image"].to_numpy()
    drawn = names[drawn_rows(region, "a")].tolist()
    assert sorted(drawn) == sorted(names)
    assert drawn not in (sorted(names), names.tolist())
    turned = region.rows(np.arange(12)[::-1])
    assert turned.frame["image"].to_numpy()[drawn_rows(turned, "a")].tolist() == drawn
    assert names[drawn_rows(region, "b")].tolist() != drawn


def test_the_region_is_judged_with_its_own_statistics(tmp_path: Path, region: ImageTable) -> None:
    """The test photos are not: they have the figures that they have without."""
    TaxonClassifier(tiny_parts(), device="cpu").save(tmp_path / "run" / "classifier")
    for seed in range(6):
        save_photo(tmp_path / "test" / f"{seed}.png", seed)
    region.save(tmp_path / "r.csv")
    rows = [(f"{seed}.png", NAMES[seed]) for seed in range(6)]
    given = EvaluateConfig(
        classifier=tmp_path / "run" / "classifier",
        images=write_table(tmp_path / "test" / "t.csv", rows),
        region=tmp_path / "r.csv",
        device="cpu",
    )
    own, target = (
        evaluate(given.model_copy(update={"batch_norm": kind})) for kind in ("own", "target")
    )
    assert own.metrics["region"]["batch_norm"] == "own"
    assert target.metrics["region"]["batch_norm"] == "target"
    assert target.metrics["test"] == own.metrics["test"]
    assert own.region is not None
    assert target.region is not None
    classifier = adapt_to_photos(TaxonClassifier(tiny_parts(), device="cpu"), region)
    probs = classifier.probabilities(logits(classifier, region)).max(dim=1).values
    assert target.region.prob == pytest.approx(probs.tolist(), abs=1e-4)
    assert own.region.prob != pytest.approx(probs.tolist(), abs=1e-2)
    table = summary_tables({"one": own, "other": target})[2]
    assert {row[0] for row in table.rows} == {"one", "other, batch norm of these photos"}


def test_a_network_without_batch_norm_is_refused(region: ImageTable) -> None:
    classifier = TaxonClassifier(tiny_parts(), device="cpu")
    backbone = classifier.network.backbone
    for name, module in list(backbone.named_modules()):
        if isinstance(module, torch.nn.BatchNorm2d):
            parent, _, last = name.rpartition(".")
            setattr(backbone.get_submodule(parent), last, torch.nn.Identity())
    with pytest.raises(ConfigError, match="no batch norm layer"):
        adapt_to_photos(classifier, region)


def test_without_a_region_there_is_nothing_to_adapt_to() -> None:
    with pytest.raises(ValidationError, match="give --region"):
        EvaluateConfig.model_validate({"classifier": "c", "images": "i", "batch_norm": "target"})
