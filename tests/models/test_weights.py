"""Where the weights of a backbone come from: the values of `model.weights`."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from taxonet.classifier import TaxonClassifier
from taxonet.errors import CheckpointError, ConfigError
from taxonet.models import build_backbone
from taxonet.models.weights import WeightsSource, load_into, parse_weights
from tests.helpers import tiny_parts


def test_every_kind_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "w.pth").touch()
    (tmp_path / "run" / "classifier").mkdir(parents=True)
    (tmp_path / "run" / "classifier" / "classifier.json").touch()
    folder = str(tmp_path / "run" / "classifier")
    assert parse_weights("none") == WeightsSource("none")
    assert parse_weights("pretrained") == WeightsSource("published")
    assert parse_weights("hf-hub:a-b/c.d_1@v2") == WeightsSource("hub", "a-b/c.d_1@v2")
    assert parse_weights(f"local-dir:{tmp_path}") == WeightsSource("folder", str(tmp_path))
    assert parse_weights(folder) == WeightsSource("classifier", folder)
    file = str(tmp_path / "w.pth")
    assert parse_weights(file) == WeightsSource("file", file)
    assert parse_weights(file).path == tmp_path / "w.pth"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no file or folder has that name. Values: none, pretrained"),
        ("pretrain", "Did you mean 'pretrained'"),
        ("nowhere.safetensors", "no file or folder has that name. Values"),
        ("hf-hub:resnet50", "a model of the hub reads hf-hub:OWNER/NAME"),
        ("hf-hub:", "a model of the hub reads hf-hub:OWNER/NAME"),
        ("local-dir:nowhere", "'nowhere' is no folder"),
        ("local-dir:", "'' is no folder"),
        ("{tmp}/notes.txt", "a file of weights ends in .safetensors, .pth, .pt, .bin"),
        ("{tmp}/run", "no taxonet classifier. Did you mean '.*run/classifier'"),
        ("{tmp}", "no taxonet classifier. For a folder .* write local-dir:"),
    ],
)
def test_what_is_none_of_them_says_what_to_write(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "run" / "classifier").mkdir(parents=True)
    (tmp_path / "run" / "classifier" / "classifier.json").touch()
    with pytest.raises(ConfigError, match=says):
        parse_weights(text.replace("{tmp}", str(tmp_path)))


def saved_folder(tmp_path: Path, name: str = "test_resnet", **config: Any) -> Path:
    """A folder as timm saves a model of 10 classes for the hub."""
    model = timm.create_model(name, num_classes=10)
    folder = tmp_path / "saved"
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    pretrained = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    content = {"architecture": name, "pretrained_cfg": pretrained} | config
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def timm_colours() -> dict[str, Any]:
    own = timm.get_pretrained_cfg("test_resnet")
    assert own is not None
    return {"mean": list(own.mean), "std": list(own.std)}


def test_a_folder_of_timm_fills_the_backbone(tmp_path: Path) -> None:
    folder = saved_folder(tmp_path, pretrained_cfg=timm_colours())
    module, _ = build_backbone("test_resnet", weights=f"local-dir:{folder}")
    given = load_file(folder / "model.safetensors")
    for key, value in module.state_dict().items():
        assert torch.equal(value, given[key]), key


def test_a_repository_of_the_hub_fills_the_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved_folder(tmp_path, pretrained_cfg=timm_colours())
    asked: list[tuple[str, str]] = []

    def fetch(repository: str, names: list[str], **named: object) -> Path:
        asked.append((repository, names[0]))
        return folder / names[0]

    monkeypatch.setattr("taxonet.models.stored_weights.fetch_file", fetch)
    module, _ = build_backbone("test_resnet", weights="hf-hub:a/b")
    given = load_file(folder / "model.safetensors")
    assert torch.equal(module.state_dict()["conv1.0.weight"], given["conv1.0.weight"])
    assert asked == [("a/b", "config.json"), ("a/b", "model.safetensors")]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"architecture": "test_vit"}, "architecture 'test_vit', .* set model.backbone to"),
        ({"pretrained_cfg": {"mean": [0.1, 0.2, 0.3]}}, r"the mean \[0.1, 0.2, 0.3\], and"),
        ({"pretrained_cfg": {"std": [1, 1, 1]}}, r"the std \[1, 1, 1\], and the backbone"),
    ],
)
def test_a_folder_for_other_images_is_refused(
    config: dict[str, Any], says: str, tmp_path: Path
) -> None:
    folder = saved_folder(tmp_path, **({"pretrained_cfg": timm_colours()} | config))
    with pytest.raises(ConfigError, match=says):
        build_backbone("test_resnet", weights=f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.json", None, "has no config.json, which says what its weights belong to"),
        ("config.json", "{", "config.json is damaged"),
        ("config.json", "[]", "config.json is no JSON object"),
        ("model.safetensors", None, "no model.safetensors and no pytorch_model.bin in it"),
        ("model.safetensors", "torn", "cannot be read from .*model.safetensors"),
    ],
)
def test_an_incomplete_folder_is_refused(
    file: str, content: str | None, says: str, tmp_path: Path
) -> None:
    folder = saved_folder(tmp_path, pretrained_cfg=timm_colours())
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(CheckpointError, match=says):
        build_backbone("test_resnet", weights=f"local-dir:{folder}")


def test_position_embeddings_are_resized_to_the_images(tmp_path: Path) -> None:
    """As timm does it for its published weights."""
    large, _ = build_backbone("test_vit")
    save_file(large.state_dict(), tmp_path / "vit.safetensors")
    small, _ = build_backbone(
        "test_vit", weights=str(tmp_path / "vit.safetensors"), options={"img_size": 96}
    )
    theirs = timm.create_model(
        "test_vit",
        pretrained=True,
        num_classes=0,
        img_size=96,
        pretrained_cfg_overlay={"file": str(tmp_path / "vit.safetensors"), "num_classes": 0},
    )
    assert small.state_dict()["pos_embed"].shape == (1, 37, 64)
    for key, value in theirs.state_dict().items():
        assert torch.equal(small.state_dict()[key], value), key


def test_old_files_lack_a_counter_of_batches_and_nothing_else(tmp_path: Path) -> None:
    module, _ = build_backbone("resnet10")
    old = {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert len(old) < len(module.state_dict())
    other, _ = build_backbone("resnet10")
    load_into(other, old, name="resnet10", origin="an old file")
    for key, value in old.items():
        assert torch.equal(other.state_dict()[key], value)
    del old["bn1.running_mean"]
    with pytest.raises(CheckpointError, match=r"an old file .*1 are missing .*bn1.running_mean"):
        load_into(other, old, name="resnet10", origin="an old file")


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (str(ran),)

    torch.save({"state_dict": {"conv1.weight": Evil()}}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"cannot be read from .*evil.pth"):
        build_backbone("resnet10", weights=str(tmp_path / "evil.pth"))
    assert not ran.exists()


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    folder = tmp_path / "classifier"
    TaxonClassifier(tiny_parts(), device="cpu").save(folder)
    return folder


def test_a_classifier_gives_its_backbone_and_not_its_head(classifier: Path) -> None:
    module, _ = build_backbone("resnet32", weights=str(classifier))
    given = load_file(classifier / "model.safetensors")
    assert any(key.startswith("head.") for key in given)
    for key, value in module.state_dict().items():
        assert torch.equal(value, given[f"backbone.{key}"]), key


def test_a_classifier_of_another_backbone_is_refused(classifier: Path) -> None:
    with pytest.raises(ConfigError, match=r"has the backbone 'resnet32'.*set model.backbone to"):
        build_backbone("resnet56", weights=str(classifier))


def test_a_damaged_classifier_is_refused(classifier: Path) -> None:
    settings = (classifier / "classifier.json").read_text()
    (classifier / "classifier.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is not what taxonet writes"):
        build_backbone("resnet32", weights=str(classifier))
    (classifier / "classifier.json").write_text(settings)
    weights = load_file(classifier / "model.safetensors")
    save_file(weights | {"backbone.more": torch.zeros(1)}, classifier / "model.safetensors")
    with pytest.raises(CheckpointError, match="its SHA-256 differs"):
        build_backbone("resnet32", weights=str(classifier))
    (classifier / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors cannot be read"):
        build_backbone("resnet32", weights=str(classifier))
