"""From a recipe to network and loss, refusing what cannot work together before anything starts."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from taxonet.classifier import adapter_of
from taxonet.classifier.reading import TreeReading, reading_of
from taxonet.errors import ConfigError, DataError
from taxonet.losses import ExpertLoss, Loss
from taxonet.models import Adapter, Network, build_network
from taxonet.recipes import Recipe
from taxonet.registry import EXPERT_LOSSES, LOSSES, SECOND_STAGES
from taxonet.training.data import TrainingData
from taxonet.training.second_stage import SecondStage
from taxonet.training.selection import check_selection
from taxonet.training.tree_loss import TrainingLoss, TreeLoss, check_tree, check_tree_recipe

_HEAD_OF = {"cosines": "cosine", "logits": "linear"}


def build(recipe: Recipe, data: TrainingData) -> tuple[Network, TrainingLoss]:
    """Make the network and the loss of a recipe.

    Raises:
        ConfigError: Unknown names or options, an adapter that does not fit the backbone, a loss on
            the wrong head, a loss of several experts on one, norm-guided selection beside a loss
            for which the norm has no meaning, or a second stage that the head does not allow.
        DataError: There is only one class.
    """
    counts = data.classes.class_counts
    if len(counts) < 2:
        name = data.taxonomy.path_text(int(data.classes.class_nodes[0]))
        raise DataError(
            f"Only one taxon ({name!r}) has training photos; telling taxa apart needs at least two."
        )
    reading = reading_of(recipe, data.taxonomy, data.classes.class_nodes, counts)
    if isinstance(reading, TreeReading):
        check_tree_recipe(recipe)
        check_tree(recipe, reading)
        loss: TrainingLoss = TreeLoss(reading)
    else:
        loss = _build_loss(recipe, counts)
    adapter = _adapter(recipe)
    network = build_network(
        backbone=recipe.model.backbone,
        head=recipe.model.head,
        classes=reading.columns,
        seed=recipe.seed,
        experts=recipe.model.experts,
        head_options=reading.head_options(recipe.model.head),
        pretrained=recipe.model.weights == "pretrained",
        adapter=adapter,
    )
    if adapter is None:
        network.freeze_backbone(frozen=recipe.model.frozen)
    _check_image_size(network, recipe)
    if network.head.kind != loss.takes:
        raise ConfigError(
            f"The loss {recipe.loss.name!r} takes {loss.takes}, and the head "
            f"{recipe.model.head!r} gives {network.head.kind}: set model.head to "
            f"{_HEAD_OF[loss.takes]!r}."
        )
    network.head.scale = loss.scale
    if recipe.selection is not None and recipe.selection.keep == "lowest_norm":
        check_selection(loss, experts=recipe.model.experts)
    if recipe.second_stage is not None:
        choice = recipe.second_stage.stage
        stage: SecondStage = SECOND_STAGES.build(choice.name, choice.options)
        stage.check_head(network.head)
    return network, loss


def _adapter(recipe: Recipe) -> Adapter | None:
    adapter = adapter_of(recipe.model)
    if adapter is not None and adapter.adds_weights and recipe.loss.name == "image_text":
        raise ConfigError(
            f"The loss 'image_text' writes towers for open_clip, which does not know the weights "
            f"that {adapter} adds: set model.adapter to bias or layer_norm, or to null."
        )
    return adapter


@torch.no_grad()
def _check_image_size(network: Network, recipe: Recipe) -> None:
    """Show the network one black image: some backbones take one size of images only."""
    height, width = recipe.model.input_size
    network.eval()
    try:
        network(torch.zeros(1, 3, height, width))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"The backbone {recipe.model.backbone!r} cannot look at images of {height} x "
            f"{width} pixels ({error}): set model.image_size to what it was made for, or choose "
            "another backbone."
        ) from None
    network.train()


def _build_loss(recipe: Recipe, counts: NDArray[np.int64] | Sequence[int]) -> TrainingLoss:
    name, experts = recipe.loss.name, recipe.model.experts
    if name in EXPERT_LOSSES.names():
        if experts == 1:
            raise ConfigError(
                f"The loss {name!r} compares several experts, and the model has one: set "
                "model.experts=3, or choose a loss that `taxonet list losses` prints."
            )
        expert_loss: ExpertLoss = EXPERT_LOSSES.build(name, recipe.loss.options, counts)
        if expert_loss.experts not in {None, experts}:
            raise ConfigError(
                f"The loss {name!r} with these options is for {expert_loss.experts} experts, and "
                f"the model has {experts}: set model.experts={expert_loss.experts}."
            )
        return expert_loss
    loss: Loss = LOSSES.build(name, recipe.loss.options, counts)
    return loss
