"""What a CLIP model is made of, by name: its architecture and the preprocessing of its images.

Taxonet names CLIP models with the prefix ``clip:`` before any name that open_clip takes. What a
folder must know to build a tower again is its `Architecture`, in the form of
``open_clip_config.json``.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, Self

from taxonet.errors import ConfigError, did_you_mean
from taxonet.models.hub import PACKAGED, fetch_file

PREFIX: Final = "clip:"
LOCAL, HUB = "local-dir:", "hf-hub:"
CONFIG: Final = "open_clip_config.json"
Colours = tuple[float, float, float]


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
    def input_size(self) -> tuple[int, int]:
        """Height and width of the images that the image tower was made for, in pixels."""
        size = self.model["vision_cfg"].get("image_size", 224)
        height, width = size if isinstance(size, list | tuple) else (size, size)
        return int(height), int(width)

    @property
    def colours(self) -> tuple[Colours, Colours]:
        """Mean and standard deviation of each colour, 0 to 1; CLIP's own where none are given."""
        clip = open_clip_module()
        mean = self.preprocess.get("mean") or clip.OPENAI_DATASET_MEAN
        std = self.preprocess.get("std") or clip.OPENAI_DATASET_STD
        return tuple(mean), tuple(std)

    @property
    def interpolation(self) -> Literal["bilinear", "bicubic"]:
        """How the images were resized in training; CLIP's own way where none is given."""
        return "bilinear" if self.preprocess.get("interpolation") == "bilinear" else "bicubic"


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
    clip, bare = open_clip_module(), name.removeprefix(PREFIX)
    if bare.startswith(HUB):
        model = bare.removeprefix(HUB)
        wanted = f"The config of {model!r}"
        return _read(fetch_file(model, [CONFIG], wanted=wanted, instead=hub_advice(name)))
    if bare.startswith(LOCAL):
        return _read(Path(bare.removeprefix(LOCAL)) / CONFIG)
    if bare.endswith(".json"):
        return _read(Path(bare))
    model, _, tag = bare.partition(".")
    config = clip.get_model_config(model)
    if config is None:
        raise ConfigError(
            f"open_clip has no model {model!r}.{did_you_mean(model, clip.list_models())} "
            "open_clip.list_models() lists them."
        )
    weights = weights_of_tag(model, tag) if tag else {}
    if weights.get("quick_gelu"):
        config["quick_gelu"] = True
    known = {key: weights[key] for key in ("mean", "std", "interpolation") if weights.get(key)}
    return Architecture.from_dict({"model_cfg": config, "preprocess_cfg": known})


def open_clip_module() -> ModuleType:
    """Return open_clip, which is an optional part of the installation.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise ConfigError("CLIP models need open_clip: pip install 'taxonet[clip]'.") from error
    module: ModuleType = open_clip
    return module


def weights_of_tag(model: str, tag: str) -> dict[str, Any]:
    """Return what open_clip knows of a tag of weights: where they are, their preprocessing.

    Raises:
        ConfigError: The model has no weights of that tag.
    """
    known = open_clip_module().list_pretrained_tags_by_model(model)
    if tag not in known:
        raise ConfigError(
            f"open_clip has no weights {tag!r} for {model!r}. Known: {', '.join(known) or 'none'}."
        )
    found: dict[str, Any] = open_clip_module().get_pretrained_cfg(model, tag)
    return found


def hub_advice(name: str) -> str:
    """Return what to do where the files of a CLIP model cannot be fetched."""
    if name.removeprefix(PREFIX).startswith(LOCAL):
        return "Copy the folder again."
    return (
        "Without a network, fetch the model's files on another machine into a folder and set "
        f"model.backbone to {PREFIX}{LOCAL}FOLDER, or to {PACKAGED}, whose weights are installed."
    )


def _read(path: Path) -> Architecture:
    try:
        return Architecture.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {path}: a CLIP model is a .json file with its config, or a folder with "
            f"{CONFIG}."
        ) from None
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path} is no config of a CLIP model: {error}") from None
