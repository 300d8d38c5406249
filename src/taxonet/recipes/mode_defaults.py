"""Defaults that follow how a recipe trains: stored features, or all layers of given weights."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_EPOCHS = 20
_EPOCHS_ON_FEATURES = 40
_MOST_WARMUP_EPOCHS = 2.0
_SGD_RATE = 1e-2
_ADAMW_RATE = 1e-4
#: Where a head or an adapter trains alone, which starts at random numbers or at no change.
_ADAMW_RATE_OF_NEW_WEIGHTS = 1e-3
_ADAMW_WEIGHT_DECAY = 0.05


def with_mode_defaults(values: Any) -> Any:
    """Fill in the optimiser, the warm-up and the epochs that a recipe leaves out.

    A head on stored features takes the usual rates, and more epochs. Where all layers train from
    given weights, large rates would destroy these. Nothing changes where the backbone starts at
    random weights (``model.weights: none``), and no key that is given changes. Where momentum is
    given, the update rule is SGD, otherwise AdamW.
    The weight decay of SGD, and all other keys, keep their usual defaults.

    Args:
        values: A recipe as it is given, before any check; anything but a mapping comes back as it
            is.

    Returns:
        The mapping with the keys that were left out.

    Reference:
        AdamW at 1e-4, weight decay 0.05 and a short warm-up are the common ground of the recipes
        by which BEiT (Bao et al. 2022) and ConvNeXt (Liu et al. 2022) are fine-tuned.

    Examples:
        >>> filled = with_mode_defaults({"model": {"weights": "pretrained"}, "epochs": 10})
        >>> filled["optimiser"]
        {'name': 'adamw', 'learning_rate': 0.0001, 'weight_decay': 0.05}
        >>> filled["schedule"], filled["epochs"]
        ({'warmup_epochs': 1.0}, 10)
        >>> with_mode_defaults({"model": {"backbone": "resnet50"}})
        {'model': {'backbone': 'resnet50'}}
    """
    if not isinstance(values, Mapping):
        return values
    if values.get("features") is not None:
        return {"epochs": _EPOCHS_ON_FEATURES, **values}
    model = _given(values.get("model", {}))
    if model is None or model.get("weights", "none") == "none":
        return values
    filled = {"epochs": _EPOCHS, **values}
    optimiser = _given(values.get("optimiser", {}))
    if optimiser is not None:
        filled["optimiser"] = _optimiser(model, optimiser)
    schedule = _given(values.get("schedule", {}))
    if schedule is not None:
        filled["schedule"] = {"warmup_epochs": _warmup(filled["epochs"]), **schedule}
    return filled


def _optimiser(model: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    of_sgd = bool({"momentum", "nesterov"} & given.keys())
    name = given.get("name", "sgd" if of_sgd else "adamw")
    if name != "adamw":
        return {"name": name, "learning_rate": _SGD_RATE, **given}
    is_fixed = bool(model.get("frozen")) or model.get("adapter") is not None
    rate = _ADAMW_RATE_OF_NEW_WEIGHTS if is_fixed else _ADAMW_RATE
    return {"name": name, "learning_rate": rate, "weight_decay": _ADAMW_WEIGHT_DECAY, **given}


def _warmup(epochs: Any) -> float:
    return min(_MOST_WARMUP_EPOCHS, epochs / 10) if isinstance(epochs, int) else _MOST_WARMUP_EPOCHS


def _given(section: Any) -> Mapping[str, Any] | None:
    """Return the keys of a section that were given; None for what no section can be made of."""
    if isinstance(section, BaseModel):
        return section.model_dump(exclude_unset=True)
    return section if isinstance(section, Mapping) else None
