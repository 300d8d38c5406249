"""Backbones of timm by name, with their options and weights."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import timm
from torch import nn

from taxonet.errors import CheckpointError, ConfigError
from taxonet.models.hub import WEIGHT_FILES, fetch_file, first_line, without_network
from taxonet.models.stored_weights import stored_config
from taxonet.models.weights import WeightsSource

_CONFIG = "config.json"
#: What taxonet itself decides, or what would give something else than one vector per image.
_NOT_OPTIONS = frozenset(
    {
        "cache_dir",
        "checkpoint_path",
        "exportable",
        "features_only",
        "in_chans",
        "no_jit",
        "num_classes",
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "scriptable",
    }
)


def check_timm_name(name: str, *, known: tuple[str, ...] = ()) -> None:
    """Refuse a name that timm does not know, before timm looks for it on the network.

    Args:
        name: An architecture of timm, with or without a tag of weights.
        known: Other names that may have been meant.

    Raises:
        ConfigError: An unknown architecture or tag.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = get_close_matches(architecture, [*known, *timm.list_models()], n=5)
        hint = f"Did you mean one of {', '.join(near)}?" if near else "See timm.list_models()."
        raise ConfigError(f"No backbone is called {name!r}. {hint}")
    if tag and name not in timm.list_pretrained(architecture):
        tags = timm.list_pretrained(architecture)
        raise ConfigError(
            f"timm has no weights {tag!r} for {architecture!r}. Known: {', '.join(tags) or 'none'}."
        )


def build_timm(name: str, options: Mapping[str, Any], *, published: bool) -> nn.Module:
    """Build a model of timm without a classifier.

    Args:
        name: As `check_timm_name` takes it.
        options: Keyword arguments of ``timm.create_model`` for that architecture, such as
            ``drop_path_rate``, ``img_size`` and ``dynamic_img_size``.
        published: Load the published weights of the name, from timm's cache or the network;
            random weights otherwise.

    Raises:
        ConfigError: Options that the architecture does not take, or no published weights.
        CheckpointError: Published weights that could not be fetched.

    Examples:
        >>> build_timm("resnet18", {"drop_path_rate": 0.1}, published=False).num_features
        512
    """
    reserved = sorted(_NOT_OPTIONS & set(options))
    if reserved:
        raise ConfigError(
            f"model.options has {', '.join(reserved)}, and taxonet sets this itself: remove it."
        )
    if not published:
        return _random(name, options)
    if options:
        _random(name, options)  # wrong ones are told before anything is fetched
    source = _published(name)
    try:
        return timm.create_model(name, pretrained=True, num_classes=0, **source, **options)
    except Exception as error:
        # A failed download or a damaged file fails in whatever way its reader does.
        raise CheckpointError(
            f"The published weights of backbone {name!r} could not be loaded "
            f"({first_line(error)}). {without_network('them')}"
        ) from error


def check_timm_config(source_config: Mapping[str, Any], module: nn.Module, name: str) -> None:
    """Refuse weights whose own description is of another architecture or another normalisation.

    Args:
        source_config: The content of ``config.json``, as timm saves it.
        module: The backbone, built by timm.
        name: Its name, for errors.

    Raises:
        ConfigError: The description does not fit the backbone.
    """
    own: Mapping[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    theirs = source_config.get("pretrained_cfg", source_config)
    known = source_config.get("architecture")
    if known is not None and own and known != own["architecture"]:
        raise ConfigError(
            f"model.weights are of the architecture {known!r}, and the backbone {name!r} is a "
            f"{own['architecture']}: set model.backbone to {known!r}."
        )
    for key in ("mean", "std"):
        if own and key in theirs and list(theirs[key]) != list(own[key]):
            raise ConfigError(
                f"model.weights were trained on pixels with the {key} {list(theirs[key])}, and the "
                f"backbone {name!r} normalises with {list(own[key])}. Choose another tag of "
                f"{own['architecture']} as model.backbone (timm.list_pretrained())."
            )


def read_timm_config(source: WeightsSource) -> dict[str, Any]:
    """Return the ``config.json`` of a folder or repository with weights of timm."""
    return stored_config(source, _CONFIG)


def _random(name: str, options: Mapping[str, Any]) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=False, num_classes=0, **options)
    except Exception as error:
        if not options:
            raise
        # A wrong option fails in whatever way the architecture does.
        raise ConfigError(
            f"timm cannot build {name!r} with model.options {dict(options)}: {first_line(error)}"
        ) from error


def _published(name: str) -> dict[str, Any]:
    """Return the arguments of ``create_model`` for weights whose file is at hand."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise ConfigError(f"timm has no published weights for {name!r}.")
    if not config.hf_hub_id:
        return {}  # at an address of its own, which timm asks once
    files = [config.hf_hub_filename] if config.hf_hub_filename else list(WEIGHT_FILES)
    file = fetch_file(
        config.hf_hub_id,
        files,
        wanted=f"The published weights of backbone {name!r}",
        instead=without_network(f"{files[0]} of {config.hf_hub_id}"),
    )
    return {"pretrained_cfg_overlay": {"file": str(file)}}
