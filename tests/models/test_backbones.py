from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers.drop import DropPath

from taxonet.errors import CheckpointError, ConfigError
from taxonet.models import InputConfig, build_backbone, input_config
from taxonet.models.hub import PACKAGED

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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
        input_config(name)


@pytest.mark.parametrize("name", ["hf-hub:some/model", "local-dir:somewhere", "zzzzzzzz"])
def test_names_that_would_reach_out_are_unknown(name: str) -> None:
    with pytest.raises(ConfigError, match="No backbone is called"):
        build_backbone(name)


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no weights 'foo' for 'resnet18'. Known: .*a1_in1k"):
        build_backbone("resnet18.foo")


def test_nothing_is_fetched_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def unreachable(url: str, **named: object) -> None:
        asked.append(url)
        raise OSError("no route to host\nand more")

    monkeypatch.setattr("taxonet.models.hub.get_hf_file_metadata", unreachable)
    build_backbone("resnet18")
    assert not asked
    with pytest.raises(CheckpointError) as raised:
        build_backbone("resnet18", weights="pretrained")
    assert len(asked) == 1
    message = str(raised.value)
    assert "\n" not in message
    for part in (
        "no route to host",
        "model.safetensors of timm/resnet18",
        "model.weights",
        PACKAGED,
    ):
        assert part in message


def test_published_weights_come_from_the_file_that_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classifier of the file is left out, and timm finds the file without asking again."""
    given = timm.create_model("test_resnet")
    save_file(given.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(
        "taxonet.models.timm_models.fetch_file",
        lambda *args, **named: tmp_path / "model.safetensors",
    )
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", None)
    module, _ = build_backbone("test_resnet", weights="pretrained")
    for key, value in module.state_dict().items():
        assert torch.equal(value, given.state_dict()[key]), key
    assert len(module.state_dict()) == len(given.state_dict()) - 2
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="'test_resnet' could not be loaded"):
        build_backbone("test_resnet", weights="pretrained")


def test_pretrained_needs_weights_somewhere() -> None:
    with pytest.raises(ConfigError, match="no pretrained weights for 'resnet32'"):
        build_backbone("resnet32", weights="pretrained")
    bare = next(n for n in timm.list_models() if not timm.is_model_pretrained(n))
    with pytest.raises(ConfigError, match=f"no published weights for '{bare}'"):
        build_backbone(bare, weights="pretrained")


def test_options_reach_timm() -> None:
    vit, _ = build_backbone("test_vit", options={"img_size": 96, "drop_path_rate": 0.2})
    with torch.no_grad():
        assert vit.eval()(torch.zeros(1, 3, 96, 96)).shape == (1, 64)
    rates = [module.drop_prob for module in vit.modules() if isinstance(module, DropPath)]
    assert max(rates) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("resnet18", {"img_size": 96}, "'resnet18' with model.options .*'img_size'"),
        ("resnet18", {"num_classes": 3, "in_chans": 1}, "has in_chans, num_classes, and taxonet"),
        ("resnet32", {"drop": 0.1}, "'resnet32' has no option 'drop'. Options: none"),
        (PACKAGED, {"drop_path": 0.1}, "no option 'drop_path'. Did you mean 'drop_path_rate'"),
        ("clip:RN50", {"img_size": 96}, "CLIP backbones take no options, .* has img_size"),
    ],
)
@pytest.mark.parametrize("weights", ["none", "pretrained"])
def test_wrong_options_are_named_before_anything_is_fetched(
    name: str,
    options: dict[str, Any],
    says: str,
    weights: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taxonet.models.hub.get_hf_file_metadata", None)
    with pytest.raises(ConfigError, match=says):
        build_backbone(name, options=options, weights=weights)


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
    loaded, _ = build_backbone(name, weights=str(path))
    for key, value in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    deeper, _ = build_backbone("resnet18")
    path = tmp_path / "resnet18.safetensors"
    save_file(deeper.state_dict(), path)
    # Every weight that resnet10 needs is there, with the right shape, and some are left.
    with pytest.raises(CheckpointError, match=r"0 are missing .* unknown to it .*layer1\.1"):
        build_backbone("resnet10", weights=str(path))
    with pytest.raises(CheckpointError, match=r"are missing|cannot be loaded"):
        build_backbone("resnet32", weights=str(path))


def test_unreadable_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.safetensors', and no file or folder"):
        build_backbone("resnet32", weights=str(tmp_path / "absent.safetensors"))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=r"broken\.safetensors"):
        build_backbone("resnet32", weights=str(broken))


def test_the_input_is_that_of_the_weights() -> None:
    assert input_config("test_vit") == InputConfig(
        (160, 160), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", 0.95
    )
    assert input_config("resnet50.a1_in1k") == InputConfig(
        (224, 224), IMAGENET_MEAN, IMAGENET_STD, "bicubic", 0.95
    )
    # timm tests this one on 224 pixels, and trained it on 176.
    assert input_config("resnet10t.c3_in1k").size == (176, 176)
    assert input_config("resnet18.tv_in1k").interpolation == "bilinear"
    assert input_config("volo_d4_448.sail_in1k").crop_share == 1.0  # timm says 1.15
    assert input_config(PACKAGED) == InputConfig(
        (224, 224), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", 0.875
    )
    for own in ("resnet10", "resnet32", "resnet56", "resnet32x4d"):
        assert input_config(own) == InputConfig(
            (32, 32), IMAGENET_MEAN, IMAGENET_STD, "bilinear", 1.0
        )


@pytest.mark.parametrize(("size", "expected"), [(96, (96, 96)), ([96, 64], (96, 64))])
def test_an_image_size_among_the_options_decides(size: Any, expected: tuple[int, int]) -> None:
    assert input_config("test_vit", options={"img_size": size}).size == expected
    assert input_config("test_vit", options={"drop_path_rate": 0.1}).size == (160, 160)
