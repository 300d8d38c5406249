"""Every novelty score side by side, with thresholds from calibration photos."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from taxonet.classifier import (
    Calibration,
    StoredEmbeddings,
    TaxonClassifier,
    TrainingIndex,
    fit_novelty_score,
    with_novelty_score,
)
from taxonet.errors import ConfigError
from taxonet.evaluation import evaluate
from taxonet.evaluation.novelty_scores import all_novelty_scores
from taxonet.recipes.verbs import EvaluateConfig
from taxonet.registry import FITTED_NOVELTY_SCORES, NOVELTY_SCORES
from taxonet.seeds import generator
from tests.evaluation.conftest import tree_parts, write_table
from tests.helpers import save_index, save_photo, tiny_parts
from tests.reference import metrics as reference

EVERY = [*NOVELTY_SCORES.names(), *FITTED_NOVELTY_SCORES.names()]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear classifier with an index of 24 photos, and 18 photos of all splits."""
    root = tmp_path_factory.mktemp("indexed")
    for seed in range(18):
        save_photo(root / f"{seed}.png", seed)
    classifier = TaxonClassifier(tiny_parts("linear"), device="cpu")
    calibration = Calibration(images=4, novelty_threshold=-1.0, known_accepted=0.75)
    classifier = classifier.with_calibration(calibration)
    classifier.save(root / "classifier")
    targets = np.arange(24) % 6
    names = [f"{k}.png" for k in range(6)]
    centres = np.concatenate(
        [b.embedding.numpy() for b in classifier.score([(n, root / n) for n in names])]
    )
    noise = generator("index of a test").normal(0, 0.05, (24, centres.shape[1]))
    save_index(root / "classifier", (centres[targets] + noise).astype(np.float32), targets.tolist())
    labels = ["Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum"]
    rows = [(f"{k}.png", labels[k % 6], "test") for k in range(6)]
    rows += [(f"{k}.png", labels[k % 6], "calibration") for k in range(6, 10)]
    rows += [(f"{k}.png", "Rubus idaeus", "unknown") for k in range(10, 14)]
    rows += [(f"{k}.png", "Rosaceae/Prunus/P. nova", "unknown") for k in range(14, 16)]
    rows += [("torn.png", "Rubus idaeus", "unknown"), ("17.png", "Ilex", "calibration")]
    write_table(root / "split.csv", rows, "split")
    return root


def compared(root: Path, **given: Any) -> dict[str, Any]:
    paths = {"images": root / "split.csv", "unknown": root / "split.csv"}
    config = {"classifier": root / "classifier", "device": "cpu", "novelty_scores": True}
    found: dict[str, Any] = evaluate(EvaluateConfig.model_validate(config | paths | given)).metrics[
        "novelty_scores"
    ]
    return found


@pytest.fixture(scope="module")
def side_by_side(indexed: Path) -> dict[str, Any]:
    return compared(indexed)


def novelty(root: Path, name: str, photos: range) -> list[float]:
    """The novelty of some photos, by the functions of the room below."""
    classifier = TaxonClassifier.load(root / "classifier", device="cpu")
    (batch,) = classifier.score([(f"{k}", root / f"{k}.png") for k in photos], batch_size=64)
    if name in NOVELTY_SCORES.names():
        score = NOVELTY_SCORES.get(name)
    else:
        index = TrainingIndex(root / "classifier", wanted_by="a test").read()
        score = fit_novelty_score(classifier, name, index=index)
    values: list[float] = score(batch.embedding, batch.logits, 1.0).tolist()
    return values


@pytest.mark.parametrize("name", EVERY)
def test_each_score_has_a_threshold_of_calibration_photos_only(
    name: str, indexed: Path, side_by_side: dict[str, Any]
) -> None:
    found = side_by_side
    assert list(found["scores"]) == EVERY
    assert found["left_out"] == {}
    assert (found["known_accepted"], found["calibration_images"]) == (0.75, 4)
    figures = found["scores"][name]
    test, calibration, strange = (
        novelty(indexed, name, photos) for photos in (range(6), range(6, 10), range(10, 16))
    )
    threshold = reference.threshold_at_tpr(calibration, 0.75)
    assert figures["threshold"] == pytest.approx(threshold, rel=1e-5)
    assert figures["TPR"] == np.mean(np.array(test) <= threshold)
    assert figures["TNR"] == np.mean(np.array(strange) > threshold)
    assert figures["ACC"] == (figures["TPR"] + figures["TNR"]) / 2
    assert figures["AUROC"] == pytest.approx(reference.auroc(test, strange))
    assert figures["OSCR"] == pytest.approx(reference.auroc(test, strange))  # all six are right
    assert list(figures["by_novelty"]) == [
        "unknown species of a known genus",
        "unknown genus of a known family",
    ]
    for part, photos in zip(
        figures["by_novelty"].values(), (strange[:4], strange[4:]), strict=True
    ):
        assert part["images"] == len(photos)
        assert part["AUROC"] == pytest.approx(reference.auroc(test, photos))
        assert part["TNR"] == np.mean(np.array(photos) > threshold)


def test_the_own_score_has_the_same_figures_in_both_places(indexed: Path) -> None:
    config = EvaluateConfig(
        classifier=indexed / "classifier",
        images=indexed / "split.csv",
        unknown=indexed / "split.csv",
        novelty_scores=True,
        device="cpu",
    )
    metrics = evaluate(config).metrics
    own, same = metrics["open_set"], metrics["novelty_scores"]["scores"]["max_logit"]
    for key in ("AUROC", "AUPR", "FPR@95", "OSCR"):
        assert own[key] == same[key]
    plain = evaluate(config.model_copy(update={"novelty_scores": False})).metrics
    assert "novelty_scores" not in plain
    assert plain["open_set"] == own


@pytest.mark.parametrize("case", ["no splits", "no calibration", "judged on calibration"])
def test_without_other_calibration_photos_there_is_no_threshold(
    case: str, indexed: Path, tmp_path: Path
) -> None:
    if case == "judged on calibration":
        found = compared(indexed, split="calibration")
    else:
        rows = [(str(indexed / f"{k}.png"), "Acer", "test") for k in range(3)]
        columns = [row if case == "no calibration" else row[:2] for row in rows]
        extra = ["split"] if case == "no calibration" else []
        found = compared(indexed, images=write_table(tmp_path / "t.csv", columns, *extra))
    assert found["calibration_images"] == 0
    for figures in found["scores"].values():
        assert figures["threshold"] is None
        assert "TNR" not in figures
        assert set(figures) >= {"AUROC", "AUPR", "FPR@95", "OSCR", "by_novelty"}


def test_scores_that_cannot_be_are_left_out_with_the_reason(folder: Path, tmp_path: Path) -> None:
    without = all_novelty_scores(TaxonClassifier.load(folder, device="cpu"), folder)
    assert list(without.scores) == NOVELTY_SCORES.names()
    assert set(without.left_out) == set(FITTED_NOVELTY_SCORES.names())
    assert "no index of training photos" in without.left_out["knn"]
    shutil.copytree(folder, tmp_path / "classifier")
    rows = generator("few").normal(0, 1, (6, 64)).astype(np.float32)
    save_index(tmp_path / "classifier", rows, list(range(6)))
    nodes = TaxonClassifier(tree_parts("conditional_softmax"), device="cpu")
    few = all_novelty_scores(nodes, tmp_path / "classifier")
    assert set(few.left_out) == {"knn", "vim"}
    assert "got 6" in few.left_out["knn"]
    assert "Use another score for this head" in few.left_out["vim"]


def test_the_own_fitted_score_keeps_its_options(indexed: Path) -> None:
    old = TaxonClassifier.load(indexed / "classifier", device="cpu")
    index = TrainingIndex(indexed / "classifier", wanted_by="a test").read()
    new = with_novelty_score(old, "knn", {"k": 1}, index=StoredEmbeddings(*index))
    compared = all_novelty_scores(new, indexed / "classifier")
    (batch,) = new.score([("9", indexed / "9.png")])
    torch.testing.assert_close(compared.scores["knn"](batch), new.novelty(batch))


def test_there_must_be_unknown_photos_to_compare_on(indexed: Path) -> None:
    with pytest.raises(ConfigError, match=r"compares scores on .* give them with --unknown"):
        compared(indexed, unknown=None)
