"""The weights of CLIP models: random, those of a model's own name, or stored ones."""

from copy import deepcopy
from pathlib import Path
from typing import Final

from torch import nn

from taxonet.errors import CheckpointError, ConfigError
from taxonet.models.clip_architecture import (
    CONFIG,
    HUB,
    LOCAL,
    PREFIX,
    Architecture,
    hub_advice,
    open_clip_module,
    weights_of_tag,
)
from taxonet.models.hub import fetch_file, first_line
from taxonet.models.stored_weights import stored_config, weights_file
from taxonet.models.weights import WeightsSource

#: The file of weights that open_clip and taxonet write.
WEIGHTS: Final = "open_clip_model.safetensors"
_OLDER = "open_clip_pytorch_model.bin"
#: What open_clip and the hub call a file of weights, the preferred name first.
CLIP_FILES = (WEIGHTS, "open_clip_pytorch_model.safetensors", _OLDER)


def random_model(architecture: Architecture) -> nn.Module:
    """Build a CLIP model with random weights, from torch's random state.

    Raises:
        ConfigError: The architecture is not one that open_clip can build.
    """
    clip, config = open_clip_module(), deepcopy(dict(architecture.model))
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


def model_with_weights(name: str, source: WeightsSource, architecture: Architecture) -> nn.Module:
    """Build a CLIP model with published or stored weights of both towers.

    Raises:
        ConfigError: A name without weights, or weights for pixels that are normalised otherwise.
        CheckpointError: Weights that could not be fetched, read, or fitted to the model.
    """
    if source.kind == "published":
        path = published_file(name)
    else:
        if source.kind != "file":
            _check_colours(source, name, architecture)
        path = weights_file(source, name, files=CLIP_FILES)
    model = random_model(architecture)
    try:
        open_clip_module().load_checkpoint(model, str(path), weights_only=True)
    except Exception as error:
        # A damaged file fails in whatever way its reader does.
        raise CheckpointError(
            f"The weights of {name!r} could not be loaded from {path}: {error}"
        ) from error
    return model


def published_file(name: str) -> Path:
    """Return the file with the weights of a CLIP model's own name, fetched where it has to be.

    Raises:
        ConfigError: A name without weights.
        CheckpointError: The file is not in the folder, or could not be fetched.
    """
    bare = name.removeprefix(PREFIX)
    if bare.startswith(LOCAL):
        return weights_file(
            WeightsSource("folder", bare.removeprefix(LOCAL)), name, files=CLIP_FILES
        )
    wanted = f"The weights of {name!r}"
    if bare.startswith(HUB):
        model = bare.removeprefix(HUB)
        return fetch_file(model, CLIP_FILES, wanted=wanted, instead=hub_advice(name))
    model, _, tag = bare.partition(".")
    if bare.endswith(".json") or not tag:
        raise ConfigError(
            f"{name!r} names a CLIP model without weights: add a tag, such as "
            f"{PREFIX}RN50.openai, or set model.weights to none or to a file of weights."
        )
    known = weights_of_tag(model, tag)
    if known.get("hf_hub"):
        repository, _, file = str(known["hf_hub"]).rpartition("/")
        files = CLIP_FILES if file in {"", _OLDER} else (*_safe_twin(file), file)
        return fetch_file(repository, files, wanted=wanted, instead=hub_advice(name))
    try:
        return Path(open_clip_module().download_pretrained(known))
    except Exception as error:
        # What a failed download raises depends on the transport below.
        raise CheckpointError(
            f"{wanted} could not be fetched ({first_line(error)}). {hub_advice(name)}"
        ) from error


def _safe_twin(file: str) -> tuple[str, ...]:
    """Return the name that the same weights have in the safe format, where it may be there."""
    path = Path(file)
    return (str(path.with_suffix(".safetensors")),) if path.suffix in {".bin", ".pth"} else ()


def _check_colours(source: WeightsSource, name: str, architecture: Architecture) -> None:
    theirs = Architecture.from_dict(stored_config(source, CONFIG)).colours
    if theirs != architecture.colours:
        raise ConfigError(
            f"model.weights were trained on pixels with mean and std {theirs}, and the backbone "
            f"{name!r} normalises with {architecture.colours}: set model.backbone to the model of "
            "the weights, such as clip:local-dir:FOLDER, and model.weights to pretrained."
        )
