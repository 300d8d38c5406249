"""The adapter that a recipe asks for; training and loading put the same one into the backbone."""

from taxonet.models import Adapter
from taxonet.recipes import ModelRecipe
from taxonet.registry import ADAPTERS


def adapter_of(model: ModelRecipe) -> Adapter | None:
    """Return the adapter of a recipe's model, or None where it has none.

    Raises:
        ConfigError: An unknown name, or options that it does not take.

    Examples:
        >>> adapter_of(ModelRecipe.model_validate({"adapter": {"name": "lora", "rank": 8}}))
        LoRA(rank=8, alpha=4.0)
    """
    if model.adapter is None:
        return None
    adapter: Adapter = ADAPTERS.build(model.adapter.name, model.adapter.options)
    return adapter
