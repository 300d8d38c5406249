"""Runs that start at weights from elsewhere, and what their classifiers keep of it."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from taxonet.classifier import TaxonClassifier
from taxonet.errors import ConfigError
from taxonet.models import WeightsOrigin, build_backbone, weights_origin
from taxonet.models.hub import PACKAGED
from taxonet.recipes.verbs import RefitConfig
from taxonet.training import refit, train
from tests.small_set import config
from tests.tiny_clip import hmcf


def frozen(photos: Path, out: Path, *changes: str) -> TaxonClassifier:
    given = ("epochs=1", "model.frozen=true", *changes)
    return TaxonClassifier.load(train(config(photos, out, *given)).classifier, device="cpu")


def test_the_packaged_backbone_needs_no_network_and_is_recorded(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taxonet.models.hub.get_hf_file_metadata", None)
    given = config(photos, tmp_path / "run", "epochs=1", "model.frozen=true")
    # What --set says comes after the backbone, and the small set's own is among it.
    without = tuple(change for change in given.set if "model.backbone" not in change)
    given = given.model_copy(update={"set": without, "backbone": PACKAGED})
    classifier = TaxonClassifier.load(train(given).classifier, device="cpu")
    expected, _ = build_backbone(PACKAGED, weights="pretrained")
    for key, value in classifier.network.backbone.state_dict().items():
        assert torch.equal(value, expected.state_dict()[key]), key
    origin = weights_origin(PACKAGED, "pretrained")
    assert classifier.parts.weights_origin == origin
    card = (tmp_path / "run" / "classifier" / "README.md").read_text()
    assert f"| licence of these weights | {origin.licence} |" in card


def test_random_weights_are_recorded_as_such(photos: Path, tmp_path: Path) -> None:
    classifier = frozen(photos, tmp_path / "run")
    assert classifier.parts.weights_origin == WeightsOrigin(
        "random (seed in the recipe)", "none needed"
    )


def test_a_run_goes_on_from_a_classifier_that_may_go_afterwards(
    photos: Path, tmp_path: Path
) -> None:
    first = train(config(photos, tmp_path / "first", "epochs=1")).classifier
    start = load_file(first / "model.safetensors")
    second = frozen(photos, tmp_path / "second", f"model.weights={first}", "seed=5")
    for key, value in second.network.backbone.state_dict().items():
        assert torch.equal(value, start[f"backbone.{key}"]), key
    origin = second.parts.weights_origin
    assert origin is not None
    assert origin.source.endswith("which started at: random (seed in the recipe)")
    paths = sorted((photos / "images").glob("*test_0.png"))
    before = second.predict(paths)
    (first / "model.safetensors").unlink()
    again = TaxonClassifier.load(tmp_path / "second" / "classifier", device="cpu")
    pd.testing.assert_frame_equal(again.predict(paths), before)


def test_a_new_head_leaves_the_record_as_it_is(photos: Path, tmp_path: Path) -> None:
    folder = train(config(photos, tmp_path / "run", "epochs=1")).classifier
    origin = WeightsOrigin("file mine.pth", "CC0-1.0", "c" * 64)
    parts = replace(TaxonClassifier.load(folder, device="cpu").parts, weights_origin=origin)
    TaxonClassifier(parts, device="cpu").save(tmp_path / "changed")
    (tmp_path / "changed" / "index").mkdir()
    index = Path("index") / "training.parquet"
    (tmp_path / "changed" / index).write_bytes((folder / index).read_bytes())
    new = refit(
        RefitConfig(
            classifier=tmp_path / "changed", stage="ncm", out=tmp_path / "refit", device="cpu"
        )
    )
    assert TaxonClassifier.load(new.classifier, device="cpu").parts.weights_origin == origin


def test_options_stay_with_the_classifier(photos: Path, tmp_path: Path) -> None:
    """A model for other image sizes than its name says is built again from the recipe alone."""
    changes = ("model.backbone=test_vit", "model.options.img_size=32")
    classifier = frozen(photos, tmp_path / "run", *changes)
    assert classifier.network.backbone.state_dict()["pos_embed"].shape == (1, 5, 64)
    assert len(classifier.predict(sorted((photos / "images").glob("*test_0.png")))) == 5


def test_an_image_of_another_size_says_which_one(photos: Path, tmp_path: Path) -> None:
    changes = ("model.backbone=vit_tiny_patch16_224", "model.options.img_size=96")
    with pytest.raises(ConfigError, match=r"cannot look at images of 32 .*was made for \(96\)"):
        train(config(photos, tmp_path / "run", *changes))


def test_a_text_tower_does_not_come_from_a_classifier(
    photos: Path, tmp_path: Path, tiny_clips: dict[str, Path]
) -> None:
    given = (*hmcf(tiny_clips["vit"]), "epochs=1")
    first = train(config(photos, tmp_path / "first", *given)).classifier
    with pytest.raises(ConfigError, match=r"holds no text tower. .*clip:local-dir:FOLDER"):
        train(config(photos, tmp_path / "second", *given, f"model.weights={first}"))
    # Without names as texts the image tower alone is enough.
    plain = (f"model.backbone=clip:{tiny_clips['vit']}", f"model.weights={first}")
    classifier = frozen(photos, tmp_path / "third", *plain)
    start = load_file(first / "model.safetensors")
    for key, value in classifier.network.backbone.state_dict().items():
        assert torch.equal(value, start[f"backbone.{key}"]), key
