"""Backbones by name: of timm, of CLIP, and a few of our own; images to embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import timm
from timm.models import PretrainedCfg
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from taxonet.errors import ConfigError
from taxonet.models.cifar_resnet import resnet32, resnet32x4d, resnet56
from taxonet.models.clip import build_image_tower, load_image_tower
from taxonet.models.clip_architecture import Architecture, architecture_of, is_clip
from taxonet.models.hub import PACKAGED
from taxonet.models.packaged import efficientnet_lite0, load_packaged
from taxonet.models.stored_weights import read_classifier_backbone, read_weights, weights_file
from taxonet.models.timm_models import (
    build_timm,
    check_timm_config,
    check_timm_name,
    read_timm_config,
)
from taxonet.models.weights import WeightsSource, load_into, parse_weights
from taxonet.registry import Registry

#: The backbones that are not timm's, by name.
BACKBONES: Registry[nn.Module] = Registry("backbone")
BACKBONES.register(PACKAGED)(efficientnet_lite0)
BACKBONES.register("resnet32")(resnet32)
BACKBONES.register("resnet56")(resnet56)
BACKBONES.register("resnet32x4d")(resnet32x4d)

Interpolation = Literal["bilinear", "bicubic"]
Colours = tuple[float, float, float]

_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)
_HALF: Final = (0.5, 0.5, 0.5)


@BACKBONES.register("resnet10")
def resnet10() -> ResNet:
    """Return a plain ResNet of one basic block a stage, with embeddings of size 512.

    It is meant for small images and for machines without an accelerator.
    """
    # timm's annotation asks for a block where the class of a block is meant.
    return ResNet(BasicBlock, (1, 1, 1, 1), num_classes=0)  # type: ignore[arg-type]


@dataclass(frozen=True)
class InputConfig:
    """The images that a backbone was made for.

    Attributes:
        size: Height and width in pixels.
        mean: Per colour R, G, B; pixels are normalised as ``(value / 255 - mean) / std``.
        std: Per colour R, G, B.
        interpolation: How a photo is resized.
        crop_share: Side of the middle that is used, as a share of the resized photo's shorter
            side, in (0, 1].
    """

    size: tuple[int, int]
    mean: Colours
    std: Colours
    interpolation: Interpolation
    crop_share: float


def build_backbone(
    name: str,
    *,
    weights: str = "none",
    options: Mapping[str, Any] | None = None,
    architecture: Architecture | None = None,
) -> tuple[nn.Module, int]:
    """Build a backbone and return it with the size d of its embeddings.

    The module maps normalised images ``(B, 3, H, W)`` to embeddings ``(B, d)``. Only ``pretrained``
    and ``hf-hub:`` weights may use the network, and a ``clip:hf-hub:`` name, whose config is
    fetched.

    Args:
        name: A name in `BACKBONES`, or a model of timm, with or without a weights tag
            (``resnet50``, ``resnet50.a1_in1k``), or the image tower of a CLIP model, as
            `taxonet.models.clip_architecture.architecture_of` takes it (``clip:ViT-B-16``).
        weights: Where its weights come from, as `taxonet.models.weights.parse_weights` takes it.
            Stored ones must cover the backbone exactly, save for a classifier, which is left out.
        options: Keyword arguments of timm's ``create_model``; CLIP and taxonet's own backbones
            take none but those that ``taxonet list backbones`` prints.
        architecture: What the CLIP model of that name is made of, where that is known: then the
            name is not looked up.

    Raises:
        ConfigError: An unknown name, option or kind of weights, a name without pretrained weights,
            or weights of another architecture.
        CheckpointError: Weights that could not be fetched, read, or fitted to the backbone.

    Examples:
        >>> import torch
        >>> backbone, embedding_size = build_backbone("resnet10")
        >>> embedding_size, tuple(backbone(torch.zeros(2, 3, 64, 64)).shape)
        (512, (2, 512))
    """
    source, chosen = parse_weights(weights), dict(options or {})
    if is_clip(name):
        if chosen:
            raise ConfigError(
                f"CLIP backbones take no options, and model.options of {name!r} has "
                f"{', '.join(chosen)}: leave model.options empty."
            )
        module = _image_tower(name, source, architecture)
    elif name in BACKBONES.names():
        module = BACKBONES.build(name, chosen)
        if source.kind == "published":
            _load_published(module, name)
    else:
        check_timm_name(name, known=tuple(BACKBONES.names()))
        module = build_timm(name, chosen, published=source.kind == "published")
    if source.kind == "classifier":
        state = read_classifier_backbone(source.path, name)
        load_into(module, state, name=name, origin=f"The classifier {source.where}")
    elif source.kind in {"file", "folder", "hub"} and not is_clip(name):
        _load_stored(module, name, source)
    return module, _embedding_size(module)


def input_config(name: str, *, options: Mapping[str, Any] | None = None) -> InputConfig:
    """Return the images that a backbone expects.

    For models of timm this is what their weights were trained with (``input_size``, ``crop_pct``),
    not the larger images that some were also tested on (``test_input_size``): recipes use one size
    for training and prediction. ImageNet's mean and standard deviation stand in where timm knows
    none.

    Args:
        name: As for `build_backbone`.
        options: As for `build_backbone`; ``img_size`` decides the size.

    Raises:
        ConfigError: An unknown name.

    Examples:
        >>> input_config("efficientnet_lite0.packaged").size
        (224, 224)
        >>> input_config("resnet50.a1_in1k").crop_share
        0.95
    """
    if name == PACKAGED:
        return InputConfig((224, 224), _HALF, _HALF, "bicubic", 0.875)
    if name in BACKBONES.names():
        return InputConfig((32, 32), _IMAGENET_MEAN, _IMAGENET_STD, "bilinear", 1.0)
    if is_clip(name):
        known = architecture_of(name)
        mean, std = known.colours
        return InputConfig(known.input_size, mean, std, known.interpolation, 1.0)
    check_timm_name(name, known=tuple(BACKBONES.names()))
    config = timm.get_pretrained_cfg(name) or PretrainedCfg()
    size = (options or {}).get("img_size") or config.input_size[1:]
    height, width = (size, size) if isinstance(size, int) else size
    return InputConfig(
        size=(int(height), int(width)),
        mean=_colours(config.mean),
        std=_colours(config.std),
        interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
        # Above 1 timm pads a photo that it made smaller; there is no more of it to show than all.
        crop_share=min(1.0, config.crop_pct),
    )


def _colours(values: Sequence[float]) -> Colours:
    red, green, blue = map(float, values)
    return red, green, blue


def _load_published(module: nn.Module, name: str) -> None:
    if name != PACKAGED:
        raise ConfigError(
            f"There are no pretrained weights for {name!r}. Set model.weights to a file of "
            f"weights, or model.backbone to {PACKAGED} or a model of timm."
        )
    load_packaged(module)


def _load_stored(module: nn.Module, name: str, source: WeightsSource) -> None:
    if source.kind != "file" and getattr(module, "pretrained_cfg", None):
        check_timm_config(read_timm_config(source), module, name)
    path = weights_file(source, name)
    load_into(module, read_weights(path, name), name=name, origin=str(path))


def _image_tower(name: str, source: WeightsSource, architecture: Architecture | None) -> nn.Module:
    if source.kind in {"none", "classifier"}:
        return build_image_tower(architecture_of(name) if architecture is None else architecture)
    return load_image_tower(name, source)


def _embedding_size(module: nn.Module) -> int:
    """Return the size of the embeddings; where timm's models have a hidden layer, that one's."""
    for attribute in ("embedding_size", "head_hidden_size", "num_features"):
        size = getattr(module, attribute, None)
        if isinstance(size, int):
            return size
    raise ConfigError(f"{type(module).__name__} does not say how large its embeddings are.")
