"""How deep a parameter of a backbone lies below the head, as fine-tuning counts layers."""

from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

from timm.models._manipulate import group_with_matcher
from torch import nn

from taxonet.errors import ConfigError
from taxonet.models.clip import ImageTower

_HEAD = "taxonet's head"
#: The layers of open_clip's own image towers, in the form of timm's ``group_matcher``.
_OPEN_CLIP = {
    "stem": r"(?:class_embedding|positional_embedding|ln_pre|(?:conv|bn)\d)",
    "blocks": [
        (r"transformer\.resblocks\.(\d+)\.", None),
        (r"layer(\d+)\.(\d+)\.", None),
        (r"ln_post\.", (99999,)),  # timm's word for: with the layer before
    ],
}

_Matcher = dict[str, Any] | Callable[[str], Any]


def layer_depths(backbone: nn.Module) -> dict[str, int]:
    """Return for each parameter of a backbone, by name, how many layers it lies below the head.

    The layers are those that timm states for its models (``group_matcher``): a block of a
    transformer, a residual block, and the stem. The last of them has depth 1, the stem the largest
    depth. What follows the last block and goes with the head in timm (a last normalisation, the
    projection of a CLIP model) has depth 0, as the head has.

    Args:
        backbone: A model of timm, an image tower of open_clip, or another module with the method
            ``group_matcher`` of timm.

    Raises:
        ConfigError: A backbone that does not state its layers.

    Examples:
        >>> import timm
        >>> depths = layer_depths(timm.create_model("test_vit", num_classes=0))  # 6 blocks
        >>> [depths[name] for name in ("blocks.5.mlp.fc1.weight", "blocks.0.mlp.fc1.weight")]
        [1, 6]
        >>> depths["patch_embed.proj.weight"], depths["norm.weight"]
        (7, 1)
    """
    prefix, inner = _inner(backbone)
    names = [name for name, _ in inner.named_parameters()]
    # The head takes part under a name that no model has, and so lies where timm puts its own.
    named = iter([(name, name) for name in (*names, _HEAD)])
    layers = group_with_matcher(named, _matcher(backbone, inner), reverse=True)
    depths = {prefix + name: layers[_HEAD] - layers[name] for name in names}
    return {name: depths.get(name, 0) for name, _ in backbone.named_parameters()}


def undecayed_parameters(backbone: nn.Module) -> set[str]:
    """Return the names of the parameters that a backbone itself exempts from weight decay.

    These are mostly embeddings of positions and class tokens (timm's ``no_weight_decay``).

    Examples:
        >>> import timm
        >>> sorted(undecayed_parameters(timm.create_model("test_vit", num_classes=0)))
        ['cls_token', 'pos_embed']
    """
    prefix, inner = _inner(backbone)
    stated: Any = getattr(inner, "no_weight_decay", None)
    patterns = () if stated is None else stated()
    return {
        prefix + name
        for name, _ in inner.named_parameters()
        if any(fnmatch(name, pattern) for pattern in patterns)
    }


def _inner(backbone: nn.Module) -> tuple[str, nn.Module]:
    """Return the module that knows its layers, and what its parameters' names begin with."""
    if not isinstance(backbone, ImageTower):
        return "", backbone
    trunk = getattr(backbone.visual, "trunk", None)
    return ("visual.", backbone.visual) if trunk is None else ("visual.trunk.", trunk)


def _matcher(backbone: nn.Module, inner: nn.Module) -> _Matcher:
    stated: Any = getattr(inner, "group_matcher", None)
    if stated is not None:
        found: _Matcher = stated(coarse=False)
        return found
    if isinstance(backbone, ImageTower):
        return _OPEN_CLIP
    raise ConfigError(
        f"The backbone, a {type(inner).__name__}, does not state its layers, and a layer_decay of "
        "the learning rate counts them: set optimiser.layer_decay to 1, or take another backbone."
    )
