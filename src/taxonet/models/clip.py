"""CLIP models, by open_clip: an image and a text tower that map to one space.

Taxonet names them with the prefix ``clip:`` before any name that open_clip takes. What a folder
must know to build a tower again is its `Architecture`, in the form of ``open_clip_config.json``.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from taxonet.errors import CheckpointError, ConfigError, did_you_mean
from taxonet.files import atomic_folder, write_json
from taxonet.models.short_texts import encode_texts

PREFIX = "clip:"
_LOCAL, _HUB = "local-dir:", "hf-hub:"
_CONFIG, _WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
_TOKENIZED_AT_ONCE = 1024
#: The smallest text tower there can be, where only the image tower is wanted.
_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}


@dataclass(frozen=True)
class Architecture:
    """What a CLIP model is made of, without its weights.

    Attributes:
        model: open_clip's ``model_cfg``: ``embed_dim``, ``vision_cfg``, ``text_cfg`` and others.
        preprocess: Its ``preprocess_cfg``: ``mean``, ``std`` and others, as far as they are known.
    """

    model: Mapping[str, Any]
    preprocess: Mapping[str, Any]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what ``to_dict`` made, or what is in an ``open_clip_config.json``.

        A model's config alone, as open_clip's own lists have it, will do.

        Raises:
            ConfigError: It describes no CLIP model that taxonet can build.
        """
        model = values.get("model_cfg", values)
        missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in dict(model)]
        if missing:
            raise ConfigError(
                f"A CLIP model's config needs embed_dim, vision_cfg and text_cfg; there is no "
                f"{' and no '.join(missing)}."
            )
        if "multimodal_cfg" in model:
            raise ConfigError("CoCa models, which also write captions, are not supported.")
        return cls(dict(model), dict(values.get("preprocess_cfg") or {}))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, in the form of ``open_clip_config.json``."""
        return deepcopy({"model_cfg": dict(self.model), "preprocess_cfg": dict(self.preprocess)})

    @property
    def embedding_size(self) -> int:
        """The dimension d of the common space."""
        return int(self.model["embed_dim"])

    @property
    def image_size(self) -> int:
        """Side of the images that the image tower was made for."""
        size = self.model["vision_cfg"].get("image_size", 224)
        return int(size[0] if isinstance(size, list | tuple) else size)

    @property
    def colours(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each colour, 0 to 1; CLIP's own where none are given."""
        clip = _open_clip()
        mean = self.preprocess.get("mean") or clip.OPENAI_DATASET_MEAN
        std = self.preprocess.get("std") or clip.OPENAI_DATASET_STD
        return tuple(mean), tuple(std)


class ImageTower(nn.Module):
    """The image tower of a CLIP model, as a backbone.

    Shape:
        Normalised images ``(B, 3, S, S)``, S as the model was made for; embeddings ``(B, d)`` come
        back, not of unit length.

    Args:
        visual: open_clip's module.
        architecture: Of the whole model.
    """

    def __init__(self, visual: nn.Module, architecture: Architecture) -> None:
        super().__init__()
        self.visual, self.architecture = visual, architecture
        self.embedding_size = architecture.embedding_size

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings ``(B, d)``."""
        found: Tensor = self.visual(images)
        return found


class TextTower(nn.Module):
    """The text tower of a CLIP model.

    Shape:
        Tokens int64 ``(B, T)``; embeddings ``(B, d)`` come back, not of unit length.

    Args:
        model: open_clip's model, whose image tower is taken out.
        tokenizer: From texts to tokens.
        architecture: Of the whole model.

    Attributes:
        logit_scale: The factor on cosines that the model was trained with.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, architecture: Architecture) -> None:
        super().__init__()
        self.logit_scale = float(model.logit_scale.detach().exp().reshape(-1)[0])  # type: ignore[operator] # a parameter
        model.visual = nn.Identity()
        # Whoever trains has a scale of its own; no loss reaches this one.
        for name in ("logit_scale", "logit_bias"):
            model._parameters.pop(name, None)
        self.model, self.tokenizer, self.architecture = model, tokenizer, architecture
        self.embedding_size = architecture.embedding_size

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return the tokens of texts, int64 ``(B, T)``; what is too long is cut."""
        found: Tensor = self.tokenizer(list(texts))
        return found

    def fits(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether a place is left behind it, so that nothing was cut."""
        unused = self.tokenize([""])[0, -1]
        found: list[bool] = []
        for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
            last = self.tokenize(texts[start : start + _TOKENIZED_AT_ONCE])[:, -1]
            found += (last == unused).tolist()
        return found

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the embeddings ``(B, d)``."""
        return encode_texts(self.model, tokens)


@dataclass(frozen=True)
class Towers:
    """Both towers of a CLIP model."""

    image: ImageTower
    text: TextTower


def is_clip(name: str) -> bool:
    """Return whether a backbone's name is that of a CLIP model.

    Examples:
        >>> is_clip("clip:ViT-B-16"), is_clip("resnet50")
        (True, False)
    """
    return name.startswith(PREFIX)


def architecture_of(name: str) -> Architecture:
    """Return what a CLIP model is made of.

    Args:
        name: ``clip:`` and a model of open_clip, with or without a tag of weights
            (``clip:ViT-B-16``, ``clip:RN50.openai``), ``local-dir:FOLDER``, ``hf-hub:OWNER/NAME``,
            or a ``.json`` file with a model's config.

    Raises:
        ConfigError: An unknown name, a folder or file that is not there, or no CLIP model.
        CheckpointError: A hub that cannot be reached.
    """
    clip, bare = _open_clip(), name.removeprefix(PREFIX)
    if bare.startswith(_HUB):
        return Architecture.from_dict(_from_hub(bare.removeprefix(_HUB)))
    if bare.startswith(_LOCAL):
        return _read(Path(bare.removeprefix(_LOCAL)) / _CONFIG)
    if bare.endswith(".json"):
        return _read(Path(bare))
    model, _, tag = bare.partition(".")
    config = clip.get_model_config(model)
    if config is None:
        raise ConfigError(
            f"open_clip has no model {model!r}.{did_you_mean(model, clip.list_models())} "
            "open_clip.list_models() lists them."
        )
    weights = _of_tag(model, tag) if tag else {}
    if weights.get("quick_gelu"):
        config["quick_gelu"] = True
    known = {key: weights[key] for key in ("mean", "std", "interpolation") if weights.get(key)}
    return Architecture.from_dict({"model_cfg": config, "preprocess_cfg": known})


def load_towers(name: str, *, pretrained: bool) -> Towers:
    """Return both towers of a CLIP model, with its weights or random ones.

    Args:
        name: As for `architecture_of`.
        pretrained: Load the weights: from the folder, or through open_clip, which may fetch them.

    Raises:
        ConfigError: An unknown name, or a name without weights where they are asked for.
        CheckpointError: Weights or a tokenizer that could not be fetched or read.
    """
    architecture = architecture_of(name)
    model = _with_weights(name, architecture) if pretrained else _random(architecture)
    image = ImageTower(model.visual, architecture)  # type: ignore[arg-type] # a module
    return Towers(image, TextTower(model, _tokenizer(name, architecture), architecture))


def build_image_tower(architecture: Architecture) -> ImageTower:
    """Return an image tower with random weights, without a text tower beside it."""
    model = dict(architecture.model) | {"text_cfg": _NO_TEXT}
    model.pop("custom_text", None)
    return ImageTower(_random(Architecture(model, {})).visual, architecture)  # type: ignore[arg-type] # a module


def save_towers(towers: Towers, folder: Path, *, logit_scale: float) -> None:
    """Write both towers as a folder that open_clip reads as ``local-dir:FOLDER``.

    Args:
        towers: Image and text tower; a tokenizer that is not open_clip's own is written too.
        folder: Where to; an older one is replaced.
        logit_scale: The factor on cosines that they were trained with.

    Raises:
        ConfigError: The folder holds something else.
    """
    replaced = (folder / _CONFIG).is_file()
    state = {f"visual.{key}": value for key, value in towers.image.visual.state_dict().items()}
    state |= towers.text.model.state_dict()
    state["logit_scale"] = torch.tensor(logit_scale).log()
    with atomic_folder(folder, replace=replaced) as temporary:
        tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        save_file(tensors, temporary / _WEIGHTS)
        write_json(temporary / _CONFIG, towers.image.architecture.to_dict())
        # What a Hugging Face tokenizer is called on the hub says nothing to a folder.
        if isinstance(towers.text.tokenizer, _open_clip().tokenizer.HFTokenizer):
            towers.text.tokenizer.tokenizer.save_pretrained(temporary)


def _open_clip() -> ModuleType:
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise ConfigError("CLIP models need open_clip: pip install 'taxonet[clip]'.") from error
    module: ModuleType = open_clip
    return module


def _read(path: Path) -> Architecture:
    try:
        return Architecture.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {path}: a CLIP model is a .json file with its config, or a folder with "
            f"{_CONFIG}."
        ) from None
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path} is no config of a CLIP model: {error}") from None


def _from_hub(model: str) -> Any:
    from huggingface_hub import hf_hub_download

    try:
        return json.loads(Path(hf_hub_download(model, _CONFIG)).read_text(encoding="utf-8"))
    except Exception as error:
        # What a failed download raises depends on the transport below.
        raise CheckpointError(
            f"The config of {model!r} could not be fetched from the hub ({error}). {_advice(model)}"
        ) from error


def _of_tag(model: str, tag: str) -> dict[str, Any]:
    known = _open_clip().list_pretrained_tags_by_model(model)
    if tag not in known:
        raise ConfigError(
            f"open_clip has no weights {tag!r} for {model!r}. Known: {', '.join(known) or 'none'}."
        )
    found: dict[str, Any] = _open_clip().get_pretrained_cfg(model, tag)
    return found


def _random(architecture: Architecture) -> nn.Module:
    clip, config = _open_clip(), deepcopy(dict(architecture.model))
    custom = config.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in config["text_cfg"]:
        config["text_cfg"]["hf_model_pretrained"] = False
    try:
        model: nn.Module = (clip.CustomTextCLIP if custom else clip.CLIP)(**config)
    except (TypeError, RuntimeError, AssertionError) as error:
        raise ConfigError(f"open_clip cannot build a model of this config: {error}") from None
    return model


def _with_weights(name: str, architecture: Architecture) -> nn.Module:
    bare = name.removeprefix(PREFIX)
    model, _, tag = bare.partition(".")
    if bare.endswith(".json") or (not bare.startswith((_LOCAL, _HUB)) and not tag):
        raise ConfigError(
            f"{name!r} names a CLIP model without weights: add a tag, such as "
            f"{PREFIX}RN50.openai, or set model.weights to none."
        )
    named = bare if bare.startswith((_LOCAL, _HUB)) else model
    try:
        found: nn.Module = _open_clip().create_model(
            named,
            pretrained=tag if named == model else None,
            force_quick_gelu=bool(architecture.model.get("quick_gelu")),
            require_pretrained=True,
            pretrained_text=False,
        )
    except Exception as error:
        # A failed download or a damaged file fails in whatever way its reader does.
        raise CheckpointError(
            f"The weights of {name!r} could not be loaded ({error}). {_advice(name)}"
        ) from error
    return found


def _advice(name: str) -> str:
    if name.removeprefix(PREFIX).startswith(_LOCAL):
        return "Copy the folder again."
    return (
        "With a network connection, try again; without, put the model's files into a folder and "
        f"write {PREFIX}{_LOCAL}FOLDER."
    )


def _tokenizer(name: str, architecture: Architecture) -> Any:
    clip, bare = _open_clip(), name.removeprefix(PREFIX)
    if bare.endswith(".json"):
        text = architecture.model["text_cfg"]
        if text.get("hf_tokenizer_name"):
            raise ConfigError(
                f"{bare} has a tokenizer that is not open_clip's own. Put it into a folder with "
                f"the tokenizer's files, as {_CONFIG}, and write {PREFIX}{_LOCAL}FOLDER."
            )
        return clip.SimpleTokenizer(context_length=text.get("context_length", 77))
    try:
        named = bare if bare.startswith((_LOCAL, _HUB)) else bare.partition(".")[0]
        return clip.get_tokenizer(named)
    except Exception as error:
        # It may be one of the hub, which fails in whatever way its transport does.
        raise CheckpointError(f"The tokenizer of {name!r} could not be loaded: {error}") from error
