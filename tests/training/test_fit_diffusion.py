"""A learned rollup for a classifier that exists."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from taxonet.classifier import TaxonClassifier, TrailPoint, TrainingIndex, read_trail, write_trail
from taxonet.classifier.folder import identity
from taxonet.errors import CheckpointError, ConfigError
from taxonet.evaluation import evaluate
from taxonet.metrics import PairMeans
from taxonet.recipes.verbs import EvaluateConfig, FitDiffusionConfig, RefitConfig
from taxonet.registry import ROLLUPS
from taxonet.training import fit_diffusion, refit, train
from tests.small_set import config

LEARNED = ROLLUPS.build("learned_diffusion", {})


@pytest.fixture(scope="module", params=["flat", "tree"])
def before(
    photos: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    change = {"flat": (), "tree": ("loss={name: levelwise_cross_entropy}", "model.head=linear")}
    out = tmp_path_factory.mktemp("learned") / "run"
    return train(config(photos, out, *change[request.param])).classifier


def fitted(before: Path, out: Path, **options: object) -> TaxonClassifier:
    config = FitDiffusionConfig.model_validate({"classifier": before, "out": out, **options})
    return TaxonClassifier.load(fit_diffusion(config))


@pytest.mark.parametrize("form", ["ancestors", "lowrank", "dense"])
def test_the_map_is_kept_and_used(before: Path, tmp_path: Path, form: str) -> None:
    old, new = TaxonClassifier.load(before), fitted(before, tmp_path / "new", form=form)
    logits = torch.randn(5, old.reading.columns)
    probs = new.node_probs(logits, rollup=LEARNED)
    assert bool((probs != new.node_probs(logits)).any())
    torch.testing.assert_close(new.node_probs(logits), old.node_probs(logits))
    assert new.calibration == old.calibration
    with pytest.raises(ConfigError, match="no map was fitted to it: `taxonet fit-diffusion` does"):
        old.node_probs(logits, rollup=LEARNED)
    again = tmp_path / "again"
    new.save(again)
    reloaded = TaxonClassifier.load(again).node_probs(logits, rollup=LEARNED)
    torch.testing.assert_close(reloaded, probs, rtol=0, atol=0)


def test_without_steps_it_is_the_softmax_of_the_leaves(before: Path, tmp_path: Path) -> None:
    """A map that was hardly trained says what the head says, where leaves are all there is."""
    new = fitted(before, tmp_path / "new", epochs=1, learning_rate=1e-9)
    logits = torch.randn(5, new.reading.columns)
    leaves = new.reading.tree_nodes[torch.tensor(new.reading.tree.leaves)]
    own = new.node_probs(logits)[:, leaves]
    found = new.node_probs(logits, rollup=LEARNED)[:, leaves]
    torch.testing.assert_close(found, own / own.sum(1, keepdim=True), rtol=1e-4, atol=1e-5)


def test_it_fits_the_training_photos_better_than_the_head(before: Path, tmp_path: Path) -> None:
    new = fitted(before, tmp_path / "new", epochs=40)
    stored = TrainingIndex(tmp_path / "new", wanted_by="a test").read()
    with torch.no_grad():
        logits = new.network.head.scale * new.network.head(torch.from_numpy(stored.embeddings))
    nodes = torch.from_numpy(new.class_nodes[stored.targets]).unsqueeze(1)
    own, learned = (
        -float(new.node_probs(logits, rollup=rollup).gather(1, nodes).log().mean())
        for rollup in (None, LEARNED)
    )
    assert learned < own


def test_evaluation_judges_it_beside_the_others(photos: Path, before: Path, tmp_path: Path) -> None:
    fitted(before, tmp_path / "new")
    images = before.parent / "split.csv"
    judged = evaluate(EvaluateConfig(classifier=tmp_path / "new", images=images)).metrics
    rollups = judged["test"]["rollups"]
    assert {"own", "learned_diffusion", "greedy_descent"} <= set(rollups)
    assert 0 <= rollups["learned_diffusion"]["AP"] <= 1


@pytest.mark.parametrize("before", ["tree"], indirect=True)
def test_a_head_over_the_tree_takes_no_second_stage(before: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`second_stage` works with one vector a class"):
        refit(RefitConfig(classifier=before, stage="ncm", out=tmp_path / "ncm"))


def test_the_trail_of_a_second_stage_stays(before: Path, tmp_path: Path) -> None:
    shutil.copytree(before, tmp_path / "old")
    point = TrailPoint(0, {"all-all": PairMeans(pairs=1, distance=1.0, cosine=0.5)})
    write_trail(tmp_path / "old", [point])
    fitted(tmp_path / "old", tmp_path / "new")
    assert read_trail(tmp_path / "new") == (point,)


def test_a_rank_without_thin_matrices_is_refused(before: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rank is an option of form lowrank"):
        fitted(before, tmp_path / "new", rank=4)


@pytest.mark.parametrize("before", ["flat"], indirect=True)
def test_a_new_head_has_no_map(before: Path, tmp_path: Path) -> None:
    new = fitted(before, tmp_path / "new")
    assert new.parts.learned is not None
    refitted = refit(
        RefitConfig(classifier=tmp_path / "new", stage="ncm", out=tmp_path / "ncm")
    ).classifier
    assert TaxonClassifier.load(refitted).parts.learned is None


def test_the_folder_is_checked(before: Path, tmp_path: Path) -> None:
    fitted(before, tmp_path / "new")
    assert identity(tmp_path / "new") != identity(before)
    with pytest.raises(ConfigError, match="is there already and is no empty folder"):
        fitted(before, before.parent)
    assert (before.parent / "split.csv").is_file()
    weights = tmp_path / "new" / "diffusion.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"diffusion\.safetensors is not the file"):
        TaxonClassifier.load(tmp_path / "new")
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"diffusion\.safetensors is missing"):
        TaxonClassifier.load(tmp_path / "new")


def test_a_classifier_without_index_says_so(before: Path, tmp_path: Path) -> None:
    classifier = TaxonClassifier.load(before)
    classifier.save(tmp_path / "bare")
    with pytest.raises(CheckpointError, match="a learned rollup needs the embeddings"):
        fitted(tmp_path / "bare", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_map_of_another_form_does_not_fit(before: Path, tmp_path: Path) -> None:
    new = fitted(before, tmp_path / "new", form="dense")
    learned = new.parts.learned
    assert learned is not None
    learned.form = "ancestors"  # as if classifier.json said so
    TaxonClassifier(replace(new.parts, learned=learned)).save(tmp_path / "wrong")
    with pytest.raises(CheckpointError, match=r"diffusion\.safetensors does not fit"):
        TaxonClassifier.load(tmp_path / "wrong")
