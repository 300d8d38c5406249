"""LoRA: what attention asks for and hands on, changed by matrices of low rank."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from taxonet.errors import ConfigError
from taxonet.models.adapters.base import Adapter, check_size, kind_of
from taxonet.models.adapters.blocks import transformer_blocks
from taxonet.registry import ADAPTERS


class LowRankChange(nn.Module):
    """A change of the weights of queries and values ``(3d, d)``; see `LoRA`.

    Args:
        width: The number d of rows that queries, keys and values each have.
        inputs: Features of a token, d for most.
        rank: Of each change.
        factor: On both of them.
    """

    def __init__(self, width: int, inputs: int, *, rank: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.down = nn.Parameter(torch.randn(2, rank, inputs) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(2, width, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weights ``(3d, d)``: rows of queries, of keys, of values."""
        queries, values = self.factor * (self.up @ self.down)  # (2, d, d)
        return weight + torch.cat([queries, torch.zeros_like(queries), values])


@ADAPTERS.register("lora")
@dataclass(frozen=True)
class LoRA(Adapter):
    """Low-rank changes of the queries and values of all attention, which alone are trained.

    ``W' = W + (alpha / r) B A`` for the weights W ``(d, d)`` of queries and of values, each with
    its own A ``(r, d)``, which starts at normal random numbers, and B ``(d, r)``, which starts at
    0. The changes stay beside the weights and are saved with them.

    peft would wrap the whole attention and rename its weights; a parametrisation of one tensor
    does the same for open_clip's attention and for timm's, whose three maps stand in one.

    Args:
        rank: The rank r, at least 1.
        alpha: Above 0; the changes are multiplied by ``alpha / rank``.

    Raises:
        ConfigError: An option outside its range.

    Reference:
        Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv 2106.09685,
        eq. 3.

    Examples:
        >>> import timm
        >>> vit = timm.create_model("test_vit", num_classes=0)  # 6 blocks, 64 features
        >>> sum(one.numel() for one in LoRA(rank=2).fit_into(vit))  # 6 * 2 * (2 * 64 + 64 * 2)
        3072
    """

    adds_weights: ClassVar[bool] = True

    rank: int = 4
    alpha: float = 4.0

    def __post_init__(self) -> None:
        check_size("rank", self.rank)
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigError(f"alpha must be a finite number above 0, but is {self.alpha}.")

    def fit_into(self, backbone: nn.Module) -> list[nn.Parameter]:
        """Put a change beside the weights of each attention, and return the weights of all."""
        weights: list[nn.Parameter] = []
        for block in transformer_blocks(backbone):
            module, name = _attention_weight(block, backbone)
            rows, inputs = getattr(module, name).shape
            change = LowRankChange(rows // 3, inputs, rank=self.rank, factor=self.alpha / self.rank)
            parametrize.register_parametrization(module, name, change)
            weights += [change.down, change.up]
        return weights


def _attention_weight(block: nn.Module, backbone: nn.Module) -> tuple[nn.Module, str]:
    """Return where the weights of queries, keys and values stand as one tensor ``(3d, d)``."""
    attention: nn.Module = block.attn  # type: ignore[assignment] # a block has one
    for module, name in (
        (attention, "in_proj_weight"),
        (getattr(attention, "qkv", None), "weight"),
    ):
        weight = getattr(module, name, None)
        if isinstance(module, nn.Module) and isinstance(weight, Tensor) and weight.ndim == 2:
            return module, name
    raise ConfigError(
        f"The attention in a {kind_of(backbone)} does not keep the weights of queries, keys and "
        "values in one tensor, which lora changes: set model.adapter to adaptformer or bias."
    )
