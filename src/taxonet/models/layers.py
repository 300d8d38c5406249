"""Layers by name: the feature maps of a backbone, for whoever needs more than its embedding."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.models.cifar_resnet import CifarResNet


def feature_layer(backbone: nn.Module, name: str | None = None) -> tuple[nn.Module, int]:
    """Return the module that gives a feature map ``(B, C, H, W)``, and its channels C.

    The channels come from one forward pass in evaluation mode, without gradients, on black images
    of the size that the backbone is made for (64 pixels if it does not say). Neither the weights
    and statistics of the backbone nor its modes and gradients change.

    Args:
        backbone: Maps images ``(B, 3, H, W)`` to embeddings.
        name: The module by its name in ``named_modules()``. None takes the last feature map:
            ``stage3`` of a `CifarResNet`, and what timm says of its models.

    Raises:
        ConfigError: An unknown name, no name for a backbone whose last feature map is not known,
            or a module whose output is no ``(B, C, H, W)`` map.

    Examples:
        >>> backbone = CifarResNet()
        >>> layer, channels = feature_layer(backbone)
        >>> layer is backbone.stage3, channels
        (True, 64)
        >>> feature_layer(backbone, "stage2")[1]
        32
    """
    name = _last_map(backbone) if name is None else name
    modules = {known: module for known, module in backbone.named_modules() if known}
    if name not in modules:
        near = get_close_matches(name, modules, n=5)
        hint = f"Did you mean one of {', '.join(near)}?" if near else "See named_modules()."
        raise ConfigError(f"{type(backbone).__name__} has no layer {name!r}. {hint}")
    output = _probe(backbone, modules[name])
    if not isinstance(output, Tensor) or output.ndim != 4:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ConfigError(
            f"The layer {name!r} of {type(backbone).__name__} gives no feature map (B, C, H, W), "
            f"but {got}. Name a convolutional layer."
        )
    # Four dimensions do not say which of them holds the channels; timm does.
    if getattr(backbone, "output_fmt", "NCHW") == "NHWC":
        raise ConfigError(
            f"{type(backbone).__name__} keeps its feature maps as (B, H, W, C), not (B, C, H, W). "
            "Choose a convolutional backbone."
        )
    return modules[name], output.shape[1]


def _last_map(backbone: nn.Module) -> str:
    if isinstance(backbone, CifarResNet):
        return "stage3"
    known = getattr(backbone, "feature_info", None)
    if not known:
        raise ConfigError(
            f"{type(backbone).__name__} does not say which layer gives its last feature map. "
            "Give the name of one, as in named_modules()."
        )
    return str(known[-1]["module"])


def _probe(backbone: nn.Module, layer: nn.Module) -> Any:
    """Return the output of a layer for black images; None if the backbone does not run it."""
    outputs: list[Any] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    config = getattr(backbone, "pretrained_cfg", None) or {}
    weight = next(backbone.parameters())
    images = weight.new_zeros((1, *config.get("input_size", (3, 64, 64))))
    try:
        with torch.no_grad(), _evaluation_mode(backbone):
            backbone(images)
    finally:
        handle.remove()
    return outputs[-1] if outputs else None


@contextmanager
def _evaluation_mode(backbone: nn.Module) -> Iterator[None]:
    # A part can be in another mode than the whole: frozen normalisations are.
    training = {module: module.training for module in backbone.modules()}
    backbone.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
