"""From a recipe to network and loss, refusing what cannot work together before anything starts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taxonet.classifier import adapter_of
from taxonet.classifier.model_input import check_image_size
from taxonet.classifier.reading import Reading, TreeReading, reading_of
from taxonet.errors import ConfigError, DataError
from taxonet.losses import ExpertLoss, Loss
from taxonet.models import Adapter, Network, build_network, build_network_on_features
from taxonet.recipes import Recipe
from taxonet.registry import EXPERT_LOSSES, LOSSES, SECOND_STAGES
from taxonet.training.data import TrainingData
from taxonet.training.features import check_features
from taxonet.training.second_stage import SecondStage
from taxonet.training.selection import check_selection
from taxonet.training.tree_loss import TrainingLoss, TreeLoss, check_tree, check_tree_recipe

_HEAD_OF = {"cosines": "cosine", "logits": "linear"}


def build(
    recipe: Recipe, data: TrainingData, *, feature_size: int | None = None
) -> tuple[Network, TrainingLoss]:
    """Make the network and the loss of a recipe.

    Args:
        recipe: What to build.
        data: Its classes.
        feature_size: Dimensions of features that are at hand: the network is then neck and head
            alone, and takes features in the place of photos. None: the recipe's backbone too.

    Raises:
        ConfigError: Unknown names or options, an adapter that does not fit the backbone, a loss on
            the wrong head, a loss of several experts on one, norm-guided selection beside a loss
            for which the norm has no meaning, a second stage that the head does not allow, or
            what needs photos where features are learned from.
        DataError: There is only one class.
    """
    check_features(recipe)
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
    if feature_size is None:
        network = _whole_network(recipe, reading)
    else:
        network = build_network_on_features(
            feature_size,
            head=recipe.model.head,
            classes=reading.columns,
            seed=recipe.seed,
            head_options=reading.head_options(recipe.model.head),
            neck=recipe.model.neck,
        )
    _check_head(recipe, network, loss)
    network.head.scale = loss.scale
    return network, loss


def _whole_network(recipe: Recipe, reading: Reading) -> Network:
    adapter, model = _adapter(recipe), recipe.model
    network = build_network(
        backbone=model.backbone,
        head=model.head,
        classes=reading.columns,
        seed=recipe.seed,
        experts=model.experts,
        head_options=reading.head_options(model.head),
        weights=model.weights,
        options=model.options,
        neck=model.neck,
        adapter=adapter,
    )
    if adapter is None:
        network.freeze_backbone(frozen=model.frozen or recipe.features is not None)
    if model.freeze_batch_norm:
        network.freeze_batch_norm()
    check_image_size(network, recipe.model)
    return network


def _check_head(recipe: Recipe, network: Network, loss: TrainingLoss) -> None:
    """Raise a ConfigError unless loss, selection and second stage can work on the head."""
    if network.head.kind != loss.takes:
        raise ConfigError(
            f"The loss {recipe.loss.name!r} takes {loss.takes}, and the head "
            f"{recipe.model.head!r} gives {network.head.kind}: set model.head to "
            f"{_HEAD_OF[loss.takes]!r}."
        )
    if recipe.selection is not None and recipe.selection.keep == "lowest_norm":
        check_selection(loss, experts=recipe.model.experts)
    if recipe.second_stage is not None:
        choice = recipe.second_stage.stage
        stage: SecondStage = SECOND_STAGES.build(choice.name, choice.options)
        stage.check_head(network.head)


def _adapter(recipe: Recipe) -> Adapter | None:
    adapter = adapter_of(recipe.model)
    if adapter is not None and adapter.adds_weights and recipe.loss.name == "image_text":
        raise ConfigError(
            f"The loss 'image_text' writes towers for open_clip, which does not know the weights "
            f"that {adapter} adds: set model.adapter to bias or layer_norm, or to null."
        )
    return adapter


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
