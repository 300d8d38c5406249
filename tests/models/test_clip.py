"""CLIP towers against open_clip itself, and what is said where they cannot be had."""

import builtins
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from taxonet.errors import CheckpointError, ConfigError
from taxonet.models import Architecture, InputConfig, Towers, build_backbone, input_config
from taxonet.models.clip import ImageTower, build_image_tower, load_towers, save_towers
from taxonet.models.clip_architecture import architecture_of, is_clip
from taxonet.models.clip_weights import published_file
from tests.tiny_clip import SIDE_PX, TEXT, VISION, model_config

every_vision = pytest.mark.parametrize("vision", VISION)
TEXTS = ["a photo of a Quercus robur", "", "a photo of a Rosa canina, 'dog rose'"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def images() -> torch.Tensor:
    return torch.randn(3, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def towers_of(config: dict[str, Any], folder: Path) -> Towers:
    """Towers whose weights are random, batch statistics too."""
    path = folder / "model.json"
    path.write_text(json.dumps(config))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        towers = load_towers(f"clip:{path}", weights="none")
        for module in towers.image.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                module.running_mean.normal_()
        for tower in (towers.image, towers.text):
            tower.eval()
    return towers


@torch.no_grad()
def features(towers: Towers) -> tuple[torch.Tensor, torch.Tensor]:
    return towers.image(images()), towers.text(towers.text.tokenize(TEXTS))


def assert_same_towers(one: Towers, other: Towers) -> None:
    for first, second in ((one.image, other.image), (one.text, other.text)):
        found, expected = first.state_dict(), second.state_dict()
        assert found.keys() == expected.keys()
        for name, tensor in found.items():
            assert torch.equal(tensor, expected[name]), name


KINDS = [
    *(pytest.param(model_config(vision), id=vision) for vision in VISION),
    pytest.param(model_config(quick_gelu=True), id="quick gelu"),
    pytest.param(model_config(custom_text=True), id="custom text"),
    pytest.param(model_config(init_logit_bias=-10.0), id="a bias, as of SigLIP"),
    pytest.param(model_config(nonscalar_logit_scale=True), id="a scale of one dimension"),
]


@pytest.mark.parametrize("config", KINDS)
def test_a_folder_gives_the_towers_back(config: dict[str, Any], tmp_path: Path) -> None:
    """And open_clip makes the same of it without taxonet."""
    towers = towers_of(config, tmp_path)
    folder = tmp_path / "towers"
    save_towers(towers, folder, logit_scale=20.0)
    again = load_towers(f"clip:local-dir:{folder}", weights="pretrained")
    again.image.eval()
    again.text.eval()
    assert_same_towers(again, towers)
    assert again.text.logit_scale == pytest.approx(20.0)
    for found, expected in zip(features(again), features(towers), strict=True):
        assert torch.equal(found, expected)

    model = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True).eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    with torch.no_grad():
        theirs = model.encode_image(images()), model.encode_text(tokens)
    for found, expected in zip(theirs, features(towers), strict=True):
        torch.testing.assert_close(found, expected)
    assert model.logit_scale.exp().item() == pytest.approx(20.0)


def test_quick_gelu_decides_the_features(tmp_path: Path) -> None:
    """Else the round trip above would prove nothing about it."""
    plain = features(towers_of(model_config(), tmp_path))
    quick = features(towers_of(model_config(quick_gelu=True), tmp_path))
    for one, other in zip(plain, quick, strict=True):
        assert not torch.allclose(one, other, atol=1e-4)


def test_the_parts_of_a_model_are_divided(tmp_path: Path) -> None:
    towers = towers_of(model_config(custom_text=True, init_logit_bias=-10.0), tmp_path)
    assert all(name.startswith("visual.") for name in towers.image.state_dict())
    assert not any("visual" in name or "logit" in name for name in towers.text.state_dict())
    assert towers.text.logit_scale == pytest.approx(1 / 0.07)
    # Everything that is left learns, which data-parallel training insists on.
    towers.image(images()).square().sum().backward()
    towers.text(towers.text.tokenize(TEXTS)).square().sum().backward()
    for tower in (towers.image, towers.text):
        assert all(weights.grad is not None for weights in tower.parameters())


@every_vision
def test_an_image_tower_alone_is_that_of_the_model(vision: str, tmp_path: Path) -> None:
    config = model_config(vision, custom_text=True)
    towers = towers_of(config, tmp_path)
    alone = build_image_tower(towers.image.architecture).eval()
    assert {name: tensor.shape for name, tensor in alone.state_dict().items()} == {
        name: tensor.shape for name, tensor in towers.image.state_dict().items()
    }
    alone.load_state_dict(towers.image.state_dict())
    with torch.no_grad():
        assert torch.equal(alone(images()), towers.image(images()))
    assert alone.architecture == towers.image.architecture


@every_vision
def test_as_a_backbone(vision: str, tmp_path: Path, tiny_clips: dict[str, Path]) -> None:
    """Random by a config, with weights by a folder, and without either by what is known of it."""
    module, size = build_backbone(f"clip:{tiny_clips[vision]}")
    assert isinstance(module, ImageTower)
    assert size == 16
    towers = towers_of(model_config(vision), tmp_path)
    save_towers(towers, tmp_path / "towers", logit_scale=1.0)
    name = f"clip:local-dir:{tmp_path / 'towers'}"
    loaded, _ = build_backbone(name, weights="pretrained")
    for key, tensor in towers.image.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key
    known = towers.image.architecture
    again, size = build_backbone("clip:local-dir:nowhere", architecture=known)
    assert size == 16
    assert again.state_dict().keys() == loaded.state_dict().keys()


def test_an_older_folder_of_towers_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    towers = towers_of(model_config(), tmp_path)
    save_towers(towers, tmp_path / "towers", logit_scale=1.0)
    save_towers(towers, tmp_path / "towers", logit_scale=2.0)
    weights = load_file(tmp_path / "towers" / "open_clip_model.safetensors")
    assert weights["logit_scale"].exp().item() == pytest.approx(2.0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError):
        save_towers(towers, tmp_path / "mine", logit_scale=1.0)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_texts_that_are_too_long_are_cut(tmp_path: Path) -> None:
    text = towers_of(model_config(), tmp_path).text
    tokens = text.tokenize(["Quercus " * 50, "Quercus"])
    assert tokens.shape == (2, 16)
    assert tokens[0, -1] == 49407  # the end, without which CLIP finds no feature


def test_the_input_is_that_of_the_weights_or_of_clip(tmp_path: Path) -> None:
    name = _folder(tmp_path, {"model_cfg": model_config(), "preprocess_cfg": {}})
    assert input_config(name) == InputConfig(
        (SIDE_PX, SIDE_PX),
        open_clip.OPENAI_DATASET_MEAN,
        open_clip.OPENAI_DATASET_STD,
        "bicubic",
        1.0,
    )
    given = {"mean": [0.5, 0.25, 0.125], "std": [0.1, 0.2, 0.3], "interpolation": "bilinear"}
    name = _folder(tmp_path, {"model_cfg": model_config(), "preprocess_cfg": given})
    assert input_config(name) == InputConfig(
        (SIDE_PX, SIDE_PX), (0.5, 0.25, 0.125), (0.1, 0.2, 0.3), "bilinear", 1.0
    )


def test_a_name_of_open_clip_needs_no_network() -> None:
    plain, tagged = architecture_of("clip:RN50"), architecture_of("clip:RN50.openai")
    assert (plain.embedding_size, plain.input_size) == (1024, (224, 224))
    assert "quick_gelu" not in plain.model
    assert tagged.model["quick_gelu"] is True
    assert architecture_of("clip:ViT-B-16.laion2b_s34b_b88k").model.get("quick_gelu") is None
    siglip = architecture_of("clip:ViT-B-16-SigLIP.webli")
    assert siglip.colours == ((0.5,) * 3, (0.5,) * 3)


def test_an_architecture_goes_through_json_and_is_no_alias() -> None:
    values = {"model_cfg": model_config(), "preprocess_cfg": {"mean": [0.5] * 3}}
    known = Architecture.from_dict(json.loads(json.dumps(values)))
    assert known.to_dict() == values
    known.to_dict()["model_cfg"]["vision_cfg"]["layers"] = 9
    assert known.to_dict() == values
    oblong = model_config()
    oblong["vision_cfg"]["image_size"] = [48, 40]
    assert Architecture.from_dict(oblong).input_size == (48, 40)
    assert known.input_size == (SIDE_PX, SIDE_PX)


def test_which_names_are_of_clip() -> None:
    assert [is_clip(name) for name in ("clip:RN50", "RN50", "resnet50")] == [True, False, False]


def _folder(parent: Path, content: Any) -> str:
    (parent / "model").mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (parent / "model" / "open_clip_config.json").write_text(text)
    return f"clip:local-dir:{parent / 'model'}"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("clip:ViT-B-61", "no model 'ViT-B-61'. Did you mean .*ViT-B-16"),
        ("clip:RN50.opnai", "no weights 'opnai' for 'RN50'. Known: openai, yfcc15m, cc12m"),
        ("clip:local-dir:nowhere", r"no nowhere/open_clip_config.json: a CLIP model is"),
        ("clip:nowhere.json", r"There is no nowhere.json: a CLIP model is a .json file"),
    ],
)
def test_names_of_nothing(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        architecture_of(name)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is no config of a CLIP model: Expecting"),
        ("[1]", "is no config of a CLIP model"),
        ({"model_cfg": None}, "is no config of a CLIP model"),
        ({"embed_dim": 4}, "there is no vision_cfg and no text_cfg"),
        (model_config(multimodal_cfg={}), "CoCa models, which also write captions, are not"),
    ],
)
def test_files_that_hold_no_model(content: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"open_clip_config.json .*{says}"):
        architecture_of(_folder(tmp_path, content))


@pytest.mark.parametrize("changes", [{"embed_dimension": 4}, {"vision_cfg": {"depth": 3}}])
def test_a_config_that_open_clip_cannot_build(changes: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text(json.dumps(model_config(**changes)))
    with pytest.raises(ConfigError, match="open_clip cannot build a model of this config: "):
        load_towers(f"clip:{tmp_path / 'odd.json'}", weights="none")


@pytest.mark.parametrize("name", ["clip:RN50", "clip:{json}"])
def test_weights_need_a_name_that_has_some(name: str, tiny_clips: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="without weights: add a tag"):
        load_towers(name.format(json=tiny_clips["vit"]), weights="pretrained")


def test_a_folder_without_weights_or_with_damaged_ones(tmp_path: Path) -> None:
    name = _folder(tmp_path, {"model_cfg": model_config()})
    with pytest.raises(CheckpointError, match=r"there is no open_clip_model\.safetensors"):
        load_towers(name, weights="pretrained")
    (tmp_path / "model" / "open_clip_model.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=f"The weights of '{name}' could not be loaded"):
        load_towers(name, weights="pretrained")


def test_weights_of_a_tag_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt for each, and what works without a network."""
    asked: list[object] = []

    def unreachable(*given: object, **named: object) -> None:
        asked.append(given)
        raise OSError("no route")

    says = "no route.*Without a network, .*clip:local-dir:FOLDER.*efficientnet_lite0.packaged"
    monkeypatch.setattr("taxonet.models.hub.get_hf_file_metadata", unreachable)
    with pytest.raises(CheckpointError, match=f"'clip:RN50.openai' .*{says}"):
        load_towers("clip:RN50.openai", weights="pretrained")
    with pytest.raises(CheckpointError, match=f"config of 'a/b' .*{says}"):
        architecture_of("clip:hf-hub:a/b")
    monkeypatch.setattr("open_clip.download_pretrained", unreachable)
    with pytest.raises(CheckpointError, match=f"'clip:RN50.yfcc15m' .*{says}"):
        load_towers("clip:RN50.yfcc15m", weights="pretrained")
    assert len(asked) == 3


def test_the_weights_of_a_tag_come_from_the_file_that_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The safe format is asked for first."""
    asked: list[tuple[str, tuple[str, ...]]] = []

    def found(repository: str, names: tuple[str, ...], **named: object) -> Path:
        asked.append((repository, tuple(names)))
        return tmp_path / "towers" / "open_clip_model.safetensors"

    monkeypatch.setattr("taxonet.models.clip_weights.fetch_file", found)
    assert published_file("clip:ViT-B-16.openai").name == "open_clip_model.safetensors"
    assert published_file("clip:ViT-B-16.laion2b_s34b_b88k").parent.name == "towers"
    assert published_file("clip:hf-hub:imageomics/bioclip-2").parent.name == "towers"
    usual = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
    assert [repository for repository, _ in asked] == [
        "timm/vit_base_patch16_clip_224.openai",
        "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
        "imageomics/bioclip-2",
    ]
    assert all(names[:2] == usual for _, names in asked)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_other_weights_fill_both_towers(
    kind: str, tmp_path: Path, tiny_clips: dict[str, Path]
) -> None:
    towers = towers_of(model_config(), tmp_path)
    folder = tmp_path / "towers"
    save_towers(towers, folder, logit_scale=20.0)
    file = folder / "open_clip_model.safetensors"
    weights = str(file) if kind == "file" else f"local-dir:{folder}"
    name = f"clip:{tiny_clips['vit']}"
    assert_same_towers(load_towers(name, weights=weights), towers)
    alone, _ = build_backbone(name, weights=weights)
    for key, tensor in towers.image.state_dict().items():
        assert torch.equal(alone.state_dict()[key], tensor), key
    with pytest.raises(CheckpointError, match=r"could not be loaded from .*towers"):
        load_towers(f"clip:{tiny_clips['modified_resnet']}", weights=weights)


def test_weights_for_other_colours_are_refused(tmp_path: Path, tiny_clips: dict[str, Path]) -> None:
    save_towers(towers_of(model_config(), tmp_path), tmp_path / "towers", logit_scale=20.0)
    config = tmp_path / "towers" / "open_clip_config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps(content | {"preprocess_cfg": {"mean": [0.1, 0.2, 0.3]}}))
    with pytest.raises(ConfigError, match=r"mean and std \(\(0.1, 0.2, 0.3\).*local-dir:FOLDER"):
        load_towers(f"clip:{tiny_clips['vit']}", weights=f"local-dir:{tmp_path / 'towers'}")


def foreign_tokenizer(folder: Path) -> dict[str, Any]:
    """Write the files of a tokenizer of four words, and return a config that names it."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    words = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "Rosa", "Acer"])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast
    fast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    config = model_config()
    config["text_cfg"] |= {"hf_tokenizer_name": "some/one", "vocab_size": 4, "context_length": 3}
    return config


def test_a_tokenizer_of_another_make_goes_with_the_towers(tmp_path: Path) -> None:
    name = _folder(tmp_path, {"model_cfg": foreign_tokenizer(tmp_path / "model")})
    towers = load_towers(name, weights="none")
    assert towers.text.tokenize(["Acer Rosa", "Abies"]).tolist() == [[3, 2, 0], [1, 0, 0]]
    save_towers(towers, tmp_path / "towers", logit_scale=1.0)
    again = load_towers(f"clip:local-dir:{tmp_path / 'towers'}", weights="pretrained")
    assert again.text.tokenize(["Acer Rosa", "Abies"]).tolist() == [[3, 2, 0], [1, 0, 0]]
    (tmp_path / "towers" / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"The tokenizer of .* could not be loaded: "):
        load_towers(f"clip:local-dir:{tmp_path / 'towers'}", weights="pretrained")


def test_a_config_alone_has_the_tokenizer_of_open_clip(tmp_path: Path) -> None:
    config = model_config()
    config["text_cfg"]["hf_tokenizer_name"] = "some/one"
    (tmp_path / "model.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="has a tokenizer that is not open_clip's own"):
        load_towers(f"clip:{tmp_path / 'model.json'}", weights="none")


@pytest.mark.parametrize(
    "act",
    [
        lambda name: architecture_of("clip:RN50"),
        lambda name: load_towers(name, weights="none"),
        lambda name: build_backbone(name),
        lambda name: input_config(name),
    ],
)
def test_without_the_extra(
    act: Callable[[str], object], tiny_clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *given: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "open_clip":
            raise ModuleNotFoundError("No module named 'open_clip'")
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"need open_clip: pip install 'taxonet\[clip\]'"):
        act(f"clip:{tiny_clips['vit']}")


def test_text_configs_of_the_tests_are_not_changed(tmp_path: Path) -> None:
    """open_clip takes keys out of the configs that it is given."""
    before = json.dumps([VISION, TEXT])
    config = model_config("timm", custom_text=True)
    known = Architecture.from_dict(config)
    towers_of(config, tmp_path)
    build_image_tower(known)
    assert known.to_dict()["model_cfg"] == model_config("timm", custom_text=True)
    assert json.dumps([VISION, TEXT]) == before
