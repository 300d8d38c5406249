"""Adapters without new weights: a small part of the backbone's own is trained."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from taxonet.errors import ConfigError
from taxonet.models.adapters.base import Adapter, kind_of
from taxonet.registry import ADAPTERS


@ADAPTERS.register("bias")
@dataclass(frozen=True)
class BiasTuning(Adapter):
    """The biases of the backbone alone are trained, those of normalisations among them.

    Raises:
        ConfigError: In `fit_into`: there is none.

    Reference:
        Ben Zaken et al. 2022, BitFit: Simple Parameter-efficient Fine-tuning for
        Transformer-based Masked Language-models, arXiv 2106.10199.

    Examples:
        >>> tower = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
        >>> [tuple(one.shape) for one in BiasTuning().fit_into(tower)]
        [(4,), (4,)]
    """

    adds_weights: ClassVar[bool] = False

    def fit_into(self, backbone: nn.Module) -> list[nn.Parameter]:
        """Return all biases; attention calls its own ``in_proj_bias``."""
        biases = [one for name, one in backbone.named_parameters() if name.endswith("bias")]
        return _some(biases, "bias", backbone)


@ADAPTERS.register("layer_norm")
@dataclass(frozen=True)
class LayerNormTuning(Adapter):
    """The factors and biases of the backbone's layer normalisations alone are trained.

    Raises:
        ConfigError: In `fit_into`: there is none.

    Reference:
        Basu et al. 2024, Strong Baselines for Parameter Efficient Few-Shot Fine-tuning,
        arXiv 2304.01917.

    Examples:
        >>> tower = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
        >>> [tuple(one.shape) for one in LayerNormTuning().fit_into(tower)]
        [(4,), (4,)]
    """

    adds_weights: ClassVar[bool] = False

    def fit_into(self, backbone: nn.Module) -> list[nn.Parameter]:
        """Return the factors and biases of all layer normalisations."""
        norms = [one for one in backbone.modules() if isinstance(one, nn.LayerNorm)]
        return _some([one for norm in norms for one in norm.parameters()], "layer norm", backbone)


def _some(parameters: list[nn.Parameter], kind: str, backbone: nn.Module) -> list[nn.Parameter]:
    if not parameters:
        raise ConfigError(
            f"The backbone, a {kind_of(backbone)}, has no {kind} to train: set model.adapter to "
            "one that it has something for (most backbones have biases, vision transformers all "
            "that `taxonet list adapters` prints), or to null."
        )
    return parameters
