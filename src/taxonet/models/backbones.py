"""Backbones by name: of timm, of CLIP, and a few of our own; images to embeddings."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import timm
import torch
from timm.models import load_state_dict
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from taxonet.errors import CheckpointError, ConfigError
from taxonet.models.cifar_resnet import resnet32, resnet32x4d, resnet56
from taxonet.models.clip import (
    Architecture,
    architecture_of,
    build_image_tower,
    is_clip,
    load_towers,
)
from taxonet.registry import Registry

#: The backbones that are not timm's, by name.
BACKBONES: Registry[nn.Module] = Registry("backbone")
BACKBONES.register("resnet32")(resnet32)
BACKBONES.register("resnet56")(resnet56)
BACKBONES.register("resnet32x4d")(resnet32x4d)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@BACKBONES.register("resnet10")
def resnet10() -> ResNet:
    """Return a plain ResNet of one basic block a stage, with embeddings of size 512.

    It is meant for small images and for machines without an accelerator.
    """
    # timm's annotation asks for a block where the class of a block is meant.
    return ResNet(BasicBlock, (1, 1, 1, 1), num_classes=0)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Preprocessing:
    """How a backbone wants its pixels: ``(value / 255 - mean) / std`` in each of R, G, B."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def build_backbone(
    name: str,
    *,
    pretrained: bool = False,
    weights_file: str | Path | None = None,
    architecture: Architecture | None = None,
) -> tuple[nn.Module, int]:
    """Build a backbone and return it with the size d of its embeddings.

    The module maps normalised images ``(B, 3, H, W)`` to embeddings ``(B, d)``. Weights are random
    unless asked for; only ``pretrained=True`` may use the network, through timm or open_clip, and a
    ``clip:hf-hub:`` name, whose config is fetched.

    Args:
        name: ``resnet32``, ``resnet56``, ``resnet32x4d``, ``resnet10``, or a model of timm, with or
            without a weights tag (``resnet50``, ``resnet50.a1_in1k``), or the image tower of a CLIP
            model, as `taxonet.models.clip.architecture_of` takes it (``clip:ViT-B-16``).
        pretrained: Fetch the published weights of the name, or take them from the local cache.
        weights_file: Load weights from this file instead (``.safetensors``, or a PyTorch state
            dict); it must cover the backbone exactly, save for a classifier, which is left out.
        architecture: What the CLIP model of that name is made of, where that is known: then the
            name is not looked up.

    Raises:
        ConfigError: An unknown name, a name without pretrained weights, or both kinds of weights.
        CheckpointError: Weights that could not be fetched, read, or fitted to the backbone.

    Examples:
        >>> backbone, embedding_size = build_backbone("resnet10")
        >>> embedding_size, tuple(backbone(torch.zeros(2, 3, 64, 64)).shape)
        (512, (2, 512))
    """
    if pretrained and weights_file is not None:
        raise ConfigError(f"Backbone {name!r}: choose pretrained or weights_file, not both.")
    if name in BACKBONES.names():
        if pretrained:
            raise ConfigError(
                f"There are no pretrained weights for {name!r}. Give a weights_file, or choose a "
                "model of timm."
            )
        module = BACKBONES.build(name, {})
    elif is_clip(name):
        module = _image_tower(name, architecture, pretrained=pretrained)
    else:
        module = _timm_model(name, pretrained=pretrained)
    if weights_file is not None:
        _load_weights(module, Path(weights_file), name)
    return module, _embedding_size(module)


def preprocessing(name: str) -> Preprocessing:
    """Return the mean and standard deviation that a backbone expects, ImageNet's if it names none.

    Raises:
        ConfigError: An unknown name.

    Examples:
        >>> preprocessing("resnet32").mean
        (0.485, 0.456, 0.406)
    """
    if name in BACKBONES.names():
        return Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
    if is_clip(name):
        return Preprocessing(*architecture_of(name).colours)
    _check_timm_name(name)
    config = timm.get_pretrained_cfg(name)
    if config is None or len(config.mean) != 3:
        return Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
    return Preprocessing(tuple(config.mean), tuple(config.std))


def _image_tower(name: str, architecture: Architecture | None, *, pretrained: bool) -> nn.Module:
    if pretrained:
        return load_towers(name, pretrained=True).image
    return build_image_tower(architecture_of(name) if architecture is None else architecture)


def _timm_model(name: str, *, pretrained: bool) -> nn.Module:
    _check_timm_name(name)
    if pretrained and not timm.is_model_pretrained(name):
        raise ConfigError(f"timm has no pretrained weights for {name!r}.")
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:
        # What a failed download raises depends on the transport below timm.
        if not pretrained:
            raise
        raise CheckpointError(
            f"The pretrained weights of {name!r} could not be fetched ({error}). With a network "
            "connection, try again; without, put them into timm's cache, or train from scratch "
            "(model.weights=none)."
        ) from error


def _check_timm_name(name: str) -> None:
    """Refuse what timm does not know, before it looks for it on the network (``hf-hub:...``)."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = [*BACKBONES.names(), *timm.list_models()]
        near = get_close_matches(architecture, known, n=5)
        hint = f"Did you mean one of {', '.join(near)}?" if near else "See timm.list_models()."
        raise ConfigError(f"No backbone is called {name!r}. {hint}")
    if tag and name not in timm.list_pretrained(architecture):
        known = timm.list_pretrained(architecture)
        raise ConfigError(
            f"timm has no weights {tag!r} for {architecture!r}. "
            f"Known: {', '.join(known) or 'none'}."
        )


def _embedding_size(module: nn.Module) -> int:
    """Return the size of the embeddings; where timm's models have a hidden layer, that one's."""
    for attribute in ("embedding_size", "head_hidden_size", "num_features"):
        size = getattr(module, attribute, None)
        if isinstance(size, int):
            return size
    raise ConfigError(f"{type(module).__name__} does not say how large its embeddings are.")


def _load_weights(module: nn.Module, path: Path, name: str) -> None:
    try:
        state = load_state_dict(str(path), weights_only=True)
        fit = module.load_state_dict(_without_classifier(module, state), strict=False)
    except Exception as error:
        # A damaged file fails in whatever way its reader does.
        raise CheckpointError(
            f"The weights of backbone {name!r} cannot be loaded from {path}: {error}"
        ) from error
    if fit.missing_keys or fit.unexpected_keys:
        raise CheckpointError(
            f"{path} does not hold the weights of backbone {name!r}: "
            f"{len(fit.missing_keys)} are missing (first: {fit.missing_keys[:3]}), "
            f"{len(fit.unexpected_keys)} are unknown to it (first: {fit.unexpected_keys[:3]})."
        )


def _without_classifier(
    module: nn.Module, state: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    config = getattr(module, "pretrained_cfg", None) or {}
    classifier = config.get("classifier") or "fc"
    prefixes = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    starts = tuple(f"{prefix}." for prefix in prefixes)
    return {key: value for key, value in state.items() if not key.startswith(starts)}
