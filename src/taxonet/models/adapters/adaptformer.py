"""AdaptFormer: a narrow perceptron beside that of every transformer block."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.errors import ConfigError
from taxonet.models.adapters.base import Adapter, check_size, kind_of
from taxonet.models.adapters.blocks import transformer_blocks
from taxonet.registry import ADAPTERS


class ParallelMlp(nn.Module):
    """A block's perceptron and a narrow one beside it; see `AdaptFormer`.

    Args:
        mlp: The block's own.
        width: Features d of a token.
        bottleneck_size: Hidden units r of the narrow one.
        scale: Factor s on what it says.
    """

    def __init__(self, mlp: nn.Module, width: int, *, bottleneck_size: int, scale: float) -> None:
        super().__init__()
        self.mlp, self.scale = mlp, scale
        self.down = nn.Linear(width, bottleneck_size)
        self.up = nn.Linear(bottleneck_size, width)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what is added to the tokens ``(..., d)``, from their normalised form."""
        added: Tensor = self.mlp(tokens) + self.scale * self.up(F.relu(self.down(tokens)))
        return added


@ADAPTERS.register("adaptformer")
@dataclass(frozen=True)
class AdaptFormer(Adapter):
    """A narrow perceptron beside that of every transformer block, which alone is trained.

    ``x' = x + MLP(h) + s W_up relu(W_down h + b_down) + s b_up``, ``h = LN(x)`` the block's own
    normalisation before its perceptron. ``W_up`` and ``b_up`` start at 0. A block that scales what
    its perceptron says (LayerScale) scales both.

    Args:
        bottleneck_size: Hidden units r of the narrow perceptron, at least 1.
        scale: The factor s > 0 on what it says.

    Raises:
        ConfigError: An option outside its range.

    Reference:
        Chen et al. 2022, AdaptFormer: Adapting Vision Transformers for Scalable Visual
        Recognition, arXiv 2205.13535, eq. 2 and 3.

    Examples:
        >>> import timm
        >>> vit = timm.create_model("test_vit", num_classes=0)  # 6 blocks, 64 features
        >>> weights = AdaptFormer(bottleneck_size=4).fit_into(vit)
        >>> sum(one.numel() for one in weights)  # 6 * (64 * 4 + 4 + 4 * 64 + 64)
        3480
    """

    adds_weights: ClassVar[bool] = True

    bottleneck_size: int = 64
    scale: float = 0.1

    def __post_init__(self) -> None:
        check_size("bottleneck_size", self.bottleneck_size)
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ConfigError(f"scale must be a finite number above 0, but is {self.scale}.")

    def fit_into(self, backbone: nn.Module) -> list[nn.Parameter]:
        """Put a narrow perceptron beside that of each block, and return the weights of all."""
        weights: list[nn.Parameter] = []
        for block in transformer_blocks(backbone):
            mlp: nn.Module = block.mlp  # type: ignore[assignment] # a block has one
            parallel = ParallelMlp(
                mlp,
                _width(mlp, backbone),
                bottleneck_size=self.bottleneck_size,
                scale=self.scale,
            )
            block.mlp = parallel
            weights += [*parallel.down.parameters(), *parallel.up.parameters()]
        return weights


def _width(mlp: nn.Module, backbone: nn.Module) -> int:
    """Return the features of a token, as the first and the last map of a perceptron have them."""
    maps = [module for module in mlp.modules() if isinstance(module, nn.Linear)]
    if not maps or maps[0].in_features != maps[-1].out_features:
        raise ConfigError(
            f"The perceptrons in a {kind_of(backbone)} do not map tokens to tokens of the same "
            "size, so that none can stand beside them: set model.adapter to lora or bias."
        )
    return maps[0].in_features
