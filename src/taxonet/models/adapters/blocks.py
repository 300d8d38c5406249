"""The blocks of a transformer, wherever they stand in a backbone."""

from torch import nn

from taxonet.errors import ConfigError
from taxonet.models.adapters.base import kind_of


def transformer_blocks(backbone: nn.Module) -> list[nn.Module]:
    """Return the modules that have an ``attn`` and an ``mlp``, in the order of the backbone.

    So do the blocks of open_clip's and of timm's vision transformers.

    Raises:
        ConfigError: There is none.

    Examples:
        >>> import timm
        >>> len(transformer_blocks(timm.create_model("test_vit", num_classes=0)))
        6
    """
    blocks = [module for module in backbone.modules() if _is_block(module)]
    if not blocks:
        raise ConfigError(
            f"The backbone, a {kind_of(backbone)}, has no transformer blocks to adapt. Take a "
            "vision transformer, such as clip:ViT-B-16 or vit_base_patch16_224, or set "
            "model.adapter to bias, which any backbone can train."
        )
    return blocks


def _is_block(module: nn.Module) -> bool:
    parts = (getattr(module, name, None) for name in ("attn", "mlp"))
    return all(isinstance(part, nn.Module) for part in parts)
