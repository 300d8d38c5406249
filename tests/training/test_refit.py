"""Second stages after training, and on a classifier that exists."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from taxonet.classifier import TaxonClassifier, TrainingIndex, read_trail, with_novelty_score
from taxonet.errors import CheckpointError, ConfigError, DataError
from taxonet.metrics import pairwise_geometry
from taxonet.models import LinearHead
from taxonet.models.prototype import PrototypeHead
from taxonet.recipes.verbs import RefitConfig
from taxonet.training import refit, train
from tests.small_set import config, write_set


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config(photos, tmp_path_factory.mktemp("refit") / "run")).folder


def test_a_stage_in_the_recipe_gives_the_head_that_refit_gives(
    photos: Path, run: Path, tmp_path: Path
) -> None:
    changes = ("second_stage={stage: {name: prototype, tau: 0.5}}",)
    at_once = train(config(photos, tmp_path / "run", *changes)).classifier
    later = refit(
        RefitConfig(classifier=run / "classifier", set=("tau=0.5",), out=tmp_path / "later")
    ).classifier
    heads = [TaxonClassifier.load(one).network.head for one in (at_once, later)]
    assert isinstance(heads[0], PrototypeHead)
    for name, value in heads[0].state_dict().items():
        torch.testing.assert_close(value, heads[1].state_dict()[name], rtol=1e-4, atol=1e-5)


def test_the_trail_of_the_stage_is_kept(photos: Path, run: Path, tmp_path: Path) -> None:
    """It ends where the head that was kept is."""
    changes = ("second_stage={stage: {name: prototype, epochs: 3, batch_size: 4}}",)
    trained = train(config(photos, tmp_path / "run", *changes)).classifier
    refitted = refit(
        RefitConfig(
            classifier=run / "classifier",
            stage="prototype",
            set=("epochs=3", "batch_size=4"),
            out=tmp_path / "later",
        )
    ).classifier
    for classifier in (trained, refitted):
        trail = read_trail(classifier)
        weight = TaxonClassifier.load(classifier).network.head.weight.detach().numpy()
        ends = pairwise_geometry(weight, ["any"] * len(weight), order=["any"]).overall
        assert trail[0].batches == 0
        assert trail[-1].pairs["all-all"].distance == pytest.approx(ends.distance)
        assert trail[0].pairs["all-all"] != trail[-1].pairs["all-all"]
    nothing_fitted = RefitConfig(classifier=run / "classifier", stage="ncm", out=tmp_path / "ncm")
    assert read_trail(refit(nothing_fitted).classifier) == ()


def test_a_fitted_novelty_score_does_not_outlive_its_head(run: Path, tmp_path: Path) -> None:
    """It saw logits of the old head, and its threshold went with the old calibration."""
    shutil.copytree(run / "classifier", tmp_path / "old")
    index = TrainingIndex(tmp_path / "old", wanted_by="a test").read()
    scored = with_novelty_score(TaxonClassifier.load(tmp_path / "old"), "knn", index=index)
    scored.save(tmp_path / "scored")
    shutil.copytree(tmp_path / "old" / "index", tmp_path / "scored" / "index")
    given = RefitConfig(classifier=tmp_path / "scored", stage="ncm", out=tmp_path / "new")
    new = TaxonClassifier.load(refit(given).classifier)
    assert new.parts.novelty is None
    assert new.calibration.novelty_score == "max_logit"
    assert not (tmp_path / "new" / "novelty.safetensors").exists()


@pytest.mark.parametrize("stage", ["ncm", "crt", "tau_norm"])
def test_a_refitted_classifier_is_a_classifier(
    photos: Path, run: Path, tmp_path: Path, stage: str
) -> None:
    before = TaxonClassifier.load(run / "classifier")
    result = refit(
        RefitConfig(
            classifier=run / "classifier",
            stage=stage,
            images=run / "split.csv",
            out=tmp_path / "new",
        )
    )
    after = TaxonClassifier.load(result.classifier)
    images = sorted((photos / "images").glob("*test*"))
    assert result.notes == ()
    assert after.calibration.images == before.calibration.images > 0
    np.testing.assert_array_equal(after.embed(images), before.embed(images))
    assert len(after.predict(images)) == len(images)
    assert isinstance(after.network.head, PrototypeHead if stage == "ncm" else LinearHead)
    # And again: what it learned from went with it.
    again = RefitConfig(classifier=result.classifier, stage="ncm", out=tmp_path / "again")
    assert TaxonClassifier.load(refit(again).classifier).network.head.kind == "logits"


def test_without_photos_there_are_no_thresholds(run: Path, tmp_path: Path) -> None:
    result = refit(RefitConfig(classifier=run / "classifier", stage="ncm", out=tmp_path / "new"))
    assert "no calibration photos" in result.notes[0]
    assert TaxonClassifier.load(result.classifier).calibration.novelty_threshold is None


def test_augmented_views_are_embedded_anew_each_epoch(photos: Path, tmp_path: Path) -> None:
    stage = "stage: {name: crt, epochs: 2, batch_size: 8}"
    plain, moved = (
        train(config(photos, tmp_path / name, f"second_stage={{{stage}{augment}}}")).classifier
        for name, augment in (("plain", ""), ("moved", ", augment: crop_flip"))
    )
    weights = [TaxonClassifier.load(one).network.head.weight for one in (plain, moved)]
    assert not torch.allclose(weights[0], weights[1])


def test_experts_get_one_head_and_come_back_from_disk(photos: Path, tmp_path: Path) -> None:
    changes = (
        "model.backbone=resnet32",
        "model.experts=2",
        "epochs=1",
        "loss={name: ride, base: ce}",
        "second_stage={stage: ncm}",
    )
    made = train(config(photos, tmp_path / "run", *changes)).classifier
    classifier = TaxonClassifier.load(made)
    assert classifier.network.head.embedding_size == 2 * 64
    assert len(classifier.predict(sorted((photos / "images").glob("*test*")))) == 20


def test_what_cannot_be_refitted_is_refused(run: Path, tmp_path: Path) -> None:
    classifier = run / "classifier"
    with pytest.raises(CheckpointError, match="no complete classifier"):
        refit(RefitConfig(classifier=tmp_path, out=tmp_path / "new"))
    with pytest.raises(ConfigError, match="is there already and is no empty folder"):
        refit(RefitConfig(classifier=classifier, out=run))
    assert (run / "split.csv").is_file()
    with pytest.raises(ConfigError, match="No second stage is called 'prototypes'"):
        refit(RefitConfig(classifier=classifier, stage="prototypes", out=tmp_path / "new"))
    with pytest.raises(ConfigError, match="no option 'temperature'"):
        refit(RefitConfig(classifier=classifier, set=("temperature=1",), out=tmp_path / "new"))
    without = tmp_path / "without"
    shutil.copytree(classifier, without)
    shutil.rmtree(without / "index")
    with pytest.raises(CheckpointError, match="needs the embeddings"):
        refit(RefitConfig(classifier=without, out=tmp_path / "new"))
    others = write_set(tmp_path / "others", train={"Rosa canina": 3, "Acer rubrum": 3})
    with pytest.raises(DataError, match=r"Give the split\.csv"):
        refit(
            RefitConfig(classifier=classifier, images=others / "images.csv", out=tmp_path / "new")
        )
    assert not (tmp_path / "new").exists()


def test_a_stage_on_the_wrong_head_is_refused_before_training(photos: Path, tmp_path: Path) -> None:
    changes = ("second_stage={stage: tau_norm}", "loss=am_softmax", "model.head=cosine")
    with pytest.raises(ConfigError, match=r"Train stage 1 with model\.head=linear"):
        train(config(photos, tmp_path / "run", *changes))
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_the_settings_name_the_head(run: Path, tmp_path: Path) -> None:
    made = refit(RefitConfig(classifier=run / "classifier", out=tmp_path / "new")).classifier
    settings = json.loads((made / "classifier.json").read_text(encoding="utf-8"))
    assert settings["head"] == {
        "name": "prototype",
        "distance": "euclidean",
        "channel_temperature": True,
    }
    assert settings["recipe"]["second_stage"]["stage"] == {"name": "prototype"}
