from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from taxonet.classifier import Calibration, ClassifierParts, ScoredBatch, TaxonClassifier
from taxonet.classifier.reading import reading_of
from taxonet.models import build_network
from taxonet.recipes import PartChoice
from tests.helpers import tiny_parts

#: Training photos of Betulaceae, Rubus, Acer, Rosa canina, Rosa gallica, Acer rubrum.
COUNTS = (150, 5, 30, 120, 20, 2)
TEMPERATURE = 2.0

Logits = Mapping[str, Sequence[float]]
Script = Callable[[Logits], None]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of the ragged tree; above a novelty of -2 a photo is unknown. To read only."""
    folder = tmp_path_factory.mktemp("run") / "classifier"
    parts = replace(
        tiny_parts(),
        class_counts=np.array(COUNTS),
        calibration=Calibration(
            images=10, temperature=TEMPERATURE, novelty_threshold=-2.0, threshold_prob=0.6
        ),
    )
    TaxonClassifier(parts, device="cpu").save(folder)
    return folder


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[Logits], None]:
    """Let every classifier give these logits, by the name of the photo; others are broken."""

    def use(logits: Logits) -> None:
        def score(
            self: TaxonClassifier, images: Any, *, batch_size: int | None = None, workers: int = 0
        ) -> Iterator[ScoredBatch]:
            names = [name for name, _ in images]
            size = 64 if batch_size is None else batch_size
            for start in range(0, len(names), size):
                part = names[start : start + size]
                rows = [logits[name] for name in part if name in logits]
                broken = {i: "torn" for i, name in enumerate(part) if name not in logits}
                scores = torch.tensor(rows, dtype=torch.float32).reshape(len(rows), 6)
                yield ScoredBatch(part, broken, scores[:, :2], scores)

        monkeypatch.setattr(TaxonClassifier, "score", score)

    return use


def tree_parts(loss: str) -> ClassifierParts:
    """Return a classifier of the ragged tree whose head scores its leaves or nodes."""
    parts = tiny_parts("linear")
    recipe = parts.recipe.model_copy(update={"loss": PartChoice(name=loss)})
    reading = reading_of(recipe, parts.taxonomy, parts.class_nodes, np.array(COUNTS))
    network = build_network(
        backbone="resnet32",
        head="linear",
        classes=reading.columns,
        seed=0,
        colours=parts.preprocessing,
    )
    return replace(parts, network=network, recipe=recipe, class_counts=np.array(COUNTS))


def write_table(path: Path, rows: Sequence[tuple[str, ...]], *more: str) -> Path:
    """Write a manifest with the columns image, taxon and more."""
    pd.DataFrame(rows, columns=["image", "taxon", *more]).to_csv(path, index=False)
    return path
