"""Parameters in groups of one learning rate and one weight decay."""

from typing import Any

from torch import nn

from taxonet.models import Network
from taxonet.models.layer_depth import layer_depths, undecayed_parameters
from taxonet.recipes import OptimiserRecipe
from taxonet.training.objectives import Objective


def parameter_groups(objective: Objective, choice: OptimiserRecipe) -> list[dict[str, Any]]:
    r"""Return the groups of an optimiser over all parameters of an objective.

    A parameter of the backbone that lies l layers below the head has the learning rate times
    ``layer_decay ** l``, a parameter of the head the rate times ``head_factor``, and any other one
    the whole rate. SGD decays all weights. AdamW exempts vectors (biases and normalisations) and
    what the backbone itself exempts, as do the recipes by which vision transformers are trained.
    What the loss learns has the whole rate and no decay.

    Args:
        objective: Network and loss.
        choice: Its ``name``, ``weight_decay``, ``layer_decay`` and ``head_factor`` count.

    Returns:
        Groups with ``params``, ``weight_decay`` and the factor ``lr_scale``. With the factors at 1
        and SGD, one group of weights in the order of the objective, and one of what the loss learns
        where it learns anything.

    Raises:
        ConfigError: A ``layer_decay`` below 1 and a backbone that does not state its layers.

    Reference:
        Clark et al. 2020, ELECTRA: Pre-training Text Encoders as Discriminators Rather Than
        Generators, appendix A.7 (layerwise decay); Bao et al. 2022, BEiT: BERT Pre-Training of
        Image Transformers, appendix H.
    """
    owned = objective.loss_parameters()
    known = {id(parameter) for parameter in owned}
    factors = _factors(objective.network, choice)
    exempt = _exempt(objective, choice)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for weights in objective.parameters():
        if id(weights) not in known:
            decay = 0.0 if id(weights) in exempt else choice.weight_decay
            groups.setdefault((factors.get(id(weights), 1.0), decay), []).append(weights)
    found: list[dict[str, Any]] = [
        {"params": params, "weight_decay": decay, "lr_scale": factor}
        for (factor, decay), params in groups.items()
    ]
    if owned:
        # What a loss owns is a margin, not a weight: decay would pull it to a value of no meaning.
        found.append({"params": owned, "weight_decay": 0.0, "lr_scale": 1.0})
    return found


def _factors(network: Network, choice: OptimiserRecipe) -> dict[int, float]:
    """Return the factor on the learning rate of parameters of the network, by their ids."""
    factors = {id(weights): choice.head_factor for weights in network.head.parameters()}
    if choice.layer_decay < 1:
        depths = layer_depths(network.backbone)
        for name, weights in network.backbone.named_parameters():
            factors[id(weights)] = choice.layer_decay ** depths[name]
    return factors


def _exempt(objective: Objective, choice: OptimiserRecipe) -> set[int]:
    """Return the ids of the weights that are not decayed."""
    if choice.name == "sgd":
        return set()
    backbone = objective.network.backbone
    names = undecayed_parameters(backbone)
    stated = {id(weights) for name, weights in backbone.named_parameters() if name in names}
    return stated | {id(weights) for weights in objective.parameters() if weights.ndim <= 1}
