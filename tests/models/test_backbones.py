from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from taxonet.errors import CheckpointError, ConfigError
from taxonet.models import build_backbone, preprocessing


@pytest.mark.parametrize(
    ("name", "pixels", "expected"),
    [
        ("resnet32", 32, 64),
        ("resnet56", 32, 64),
        ("resnet32x4d", 32, 256),
        ("resnet10", 64, 512),
        ("test_resnet", 64, 96),
        ("test_vit", 160, 64),
        ("mobilenetv3_small_050", 64, 1024),  # its embedding is a hidden layer of its head
    ],
)
def test_embeddings_have_the_size_that_is_told(name: str, pixels: int, expected: int) -> None:
    module, embedding_size = build_backbone(name)
    with torch.no_grad():
        embedding = module.eval()(torch.zeros(2, 3, pixels, pixels))
    assert embedding.shape == (2, embedding_size)
    assert embedding_size == expected


@pytest.mark.parametrize(
    ("name", "expected", "parameters"),
    [
        # torchvision prints 25,557,032 and so on with a classifier of 1000 classes.
        ("resnet50", 2048, 25_557_032),
        ("resnext50_32x4d", 2048, 25_028_904),
        ("resnet101", 2048, 44_549_160),
        ("resnet152", 2048, 60_192_808),
    ],
)
def test_the_backbones_of_the_protocols_are_models_of_timm(
    name: str, expected: int, parameters: int
) -> None:
    with torch.device("meta"):  # they are large, and nothing is computed here
        module, embedding_size = build_backbone(name)
    assert embedding_size == expected
    classifier = 1000 * expected + 1000
    assert sum(p.numel() for p in module.parameters()) + classifier == parameters


def test_resnet10_is_a_resnet18_of_half_the_blocks() -> None:
    ours, _ = build_backbone("resnet10")
    theirs, _ = build_backbone("resnet18")
    kept = {key: value.shape for key, value in ours.state_dict().items()}
    first_blocks = {
        key: value.shape
        for key, value in theirs.state_dict().items()
        if not key.startswith(("layer1.1", "layer2.1", "layer3.1", "layer4.1"))
    }
    assert kept == first_blocks


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet3", "resnet32"), ("resnet500", "resnet50"), ("resnt50.a1_in1k", "resnet50")],
)
def test_an_unknown_name_gets_near_ones(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}.*Did you mean one of .*\b{near}\b"):
        build_backbone(name)
    with pytest.raises(ConfigError, match="No backbone is called"):
        preprocessing(name)


@pytest.mark.parametrize("name", ["hf-hub:some/model", "local-dir:somewhere", "zzzzzzzz"])
def test_names_that_would_reach_out_are_unknown(name: str) -> None:
    with pytest.raises(ConfigError, match="No backbone is called"):
        build_backbone(name)


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no weights 'foo' for 'resnet18'. Known: .*a1_in1k"):
        build_backbone("resnet18.foo")


def test_nothing_is_fetched_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def create_model(name: str, *, pretrained: bool, num_classes: int) -> nn.Module:
        asked.append((name, pretrained, num_classes))
        if pretrained:
            raise OSError("no route to host")
        return nn.Sequential()

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(ConfigError, match="does not say how large"):
        build_backbone("resnet18")
    with pytest.raises(CheckpointError, match=r"'resnet18'.*no route to host.*model.weights=none"):
        build_backbone("resnet18", pretrained=True)
    assert asked == [("resnet18", False, 0), ("resnet18", True, 0)]


def test_pretrained_needs_weights_somewhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no pretrained weights for 'resnet32'"):
        build_backbone("resnet32", pretrained=True)
    with pytest.raises(ConfigError, match="not both"):
        build_backbone("resnet18", pretrained=True, weights_file=tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["resnet32", "resnet10", "test_resnet", "test_vit"])
@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_weights_come_from_a_file_without_its_classifier(
    name: str, ending: str, tmp_path: Path
) -> None:
    module, _ = build_backbone(name)
    path = tmp_path / f"weights{ending}"
    classifier = "head" if name == "test_vit" else "fc"
    state = {**module.state_dict(), f"{classifier}.weight": torch.zeros(3, 3)}
    if ending == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state}, path)
    loaded, _ = build_backbone(name, weights_file=path)
    for key, value in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    deeper, _ = build_backbone("resnet18")
    path = tmp_path / "resnet18.safetensors"
    save_file(deeper.state_dict(), path)
    # Every weight that resnet10 needs is there, with the right shape, and some are left.
    with pytest.raises(CheckpointError, match=r"0 are missing .* unknown to it .*layer1\.1"):
        build_backbone("resnet10", weights_file=path)
    with pytest.raises(CheckpointError, match=r"are missing|cannot be loaded"):
        build_backbone("resnet32", weights_file=path)


def test_unreadable_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.safetensors"):
        build_backbone("resnet32", weights_file=tmp_path / "absent.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=r"broken\.safetensors"):
        build_backbone("resnet32", weights_file=broken)


def test_preprocessing_follows_the_backbone() -> None:
    assert preprocessing("test_vit").mean == (0.5, 0.5, 0.5)
    assert preprocessing("resnet50.a1_in1k").std == (0.229, 0.224, 0.225)
    assert preprocessing("resnet10").mean == (0.485, 0.456, 0.406)
    assert preprocessing("resnet10t.c3_in1k").mean == (0.485, 0.456, 0.406)
