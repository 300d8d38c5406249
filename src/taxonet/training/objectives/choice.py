"""Which objective a recipe asks for."""

from typing import TypeGuard

import torch
from accelerate import Accelerator

from taxonet.classifier.reading import TreeReading, reading_of
from taxonet.errors import ConfigError
from taxonet.losses.hierarchical import NameContrastLoss
from taxonet.models import Network, feature_layer, input_config
from taxonet.recipes import ContrastRecipe, Recipe, TransferRecipe, WordsRecipe
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.training.covariance import (
    ClassStatistics,
    check_budget,
    read_similarity,
    split_classes,
    taxonomy_similarity,
)
from taxonet.training.data import TrainingData
from taxonet.training.objectives.base import Objective
from taxonet.training.objectives.classification import ClassificationObjective
from taxonet.training.objectives.contrast import ContrastObjective
from taxonet.training.objectives.image_text import ImageTextObjective
from taxonet.training.objectives.mixing import MixingObjective
from taxonet.training.objectives.transfer import TransferObjective
from taxonet.training.taxon_names import (
    TaxonNames,
    check_head_for_names,
    start_head_at,
    text_tower,
)
from taxonet.training.tree_contrast import TrainingContrast, build_contrast
from taxonet.training.tree_loss import TrainingLoss, TreeLoss


def build_objective(
    recipe: Recipe,
    network: Network,
    loss: TrainingLoss,
    *,
    data: TrainingData,
    accelerator: Accelerator,
) -> Objective:
    """Make the objective of a recipe.

    Raises:
        ConfigError: Unknown names or options, contrast, transfer or words on several experts,
            contrast with class centres or words with vectors that the head has not, words without
            a CLIP backbone, or class statistics beyond their budget.
        DataError: A file of common names that has other columns, or none of these taxa.
    """
    names = None
    if recipe.words is not None:
        names = _names(recipe, recipe.words, network, data, device=accelerator.device)
    objective = _objective(recipe, network, loss, data=data, names=names, accelerator=accelerator)
    if names is not None:
        objective.notes += names.notes
    return objective


def _objective(
    recipe: Recipe,
    network: Network,
    loss: TrainingLoss,
    *,
    data: TrainingData,
    names: TaxonNames | None,
    accelerator: Accelerator,
) -> Objective:
    colours = input_config(recipe.model.backbone)
    mean, std = colours.mean, colours.std
    if recipe.mixing is not None:
        return MixingObjective(network, loss, mean=mean, std=std, mixing=recipe.mixing)
    if recipe.transfer is not None:
        return _transfer(recipe, recipe.transfer, network, loss, data)
    if recipe.contrast is not None:
        _require_one_expert(recipe, "contrast")
        return ContrastObjective(
            network,
            loss,
            mean=mean,
            std=std,
            contrastive=_contrastive(recipe, recipe.contrast, data),
            contrast=recipe.contrast,
            seed=recipe.seed,
        )
    if recipe.words is not None and names is not None and _is_image_text(loss):
        names.tower.requires_grad_(not recipe.words.frozen)
        return ImageTextObjective(
            network,
            loss,
            mean=mean,
            std=std,
            names=names,
            chunk=recipe.words.chunk,
            accelerator=accelerator,
        )
    return ClassificationObjective(network, loss, mean=mean, std=std, selection=recipe.selection)


def _is_image_text(loss: TrainingLoss) -> TypeGuard[TreeLoss]:
    return isinstance(loss, TreeLoss) and isinstance(loss.loss, NameContrastLoss)


def _names(
    recipe: Recipe,
    words: WordsRecipe,
    network: Network,
    data: TrainingData,
    *,
    device: torch.device,
) -> TaxonNames:
    """Return the names of the taxa, at which the head now starts."""
    _require_one_expert(recipe, "words")
    classes = data.classes
    reading = reading_of(recipe, data.taxonomy, classes.class_nodes, classes.class_counts)
    check_head_for_names(network, reading)
    learns = isinstance(reading, TreeReading) and isinstance(reading.loss, NameContrastLoss)
    if words.chunk is not None and not learns:
        raise ConfigError(
            "`words.chunk` is for towers that learn from names, and only the loss 'image_text' "
            f"lets them, not {recipe.loss.name!r}: leave words.chunk out."
        )
    names = TaxonNames.of(text_tower(recipe).to(device), reading.tree, words)
    start_head_at(names, network, reading.class_places)
    return names


def _contrastive(recipe: Recipe, contrast: ContrastRecipe, data: TrainingData) -> TrainingContrast:
    counts = data.classes.class_counts
    reading = reading_of(recipe, data.taxonomy, data.classes.class_nodes, counts)
    contrastive = build_contrast(contrast.loss, reading, counts)
    if contrastive.needs_centers and isinstance(reading, TreeReading):
        raise ConfigError(
            f"The contrastive loss {contrast.loss.name!r} works with one vector a class, and the "
            f"loss {recipe.loss.name!r} has a head for the leaves or nodes of the tree: set "
            "contrast.loss to hierarchical_supcon or supcon, or contrast to null."
        )
    return contrastive


def _transfer(
    recipe: Recipe,
    choice: TransferRecipe,
    network: Network,
    loss: TrainingLoss,
    data: TrainingData,
) -> TransferObjective:
    _require_one_expert(recipe, "transfer")
    colours = input_config(recipe.model.backbone)
    layer, channels = feature_layer(network.backbone, choice.layer)
    classes = len(data.classes)
    check_budget(
        classes,
        channels,
        budget_bytes=round(choice.budget_gb * 1e9),
        covariance=choice.covariance,
        rank=choice.rank,
    )
    tail, head = split_classes(data.classes.class_counts, tail_shots=choice.tail_shots)
    similarity = None
    if choice.similar is not None and choice.similarity == "prototypes":
        _require_a_vector_a_class(recipe)
    if choice.similar is not None and choice.similarity == "taxonomy":
        similarity = taxonomy_similarity(data.taxonomy, data.classes.class_nodes, tail, head)
    elif choice.similar is not None and choice.similarity != "prototypes":
        names = [data.taxonomy.path_text(int(node)) for node in data.classes.class_nodes]
        similarity = read_similarity(choice.similarity, names, tail, head)
    return TransferObjective(
        network,
        loss,
        mean=colours.mean,
        std=colours.std,
        recipe=choice,
        layer=layer,
        statistics=ClassStatistics(
            classes,
            channels,
            covariance=choice.covariance,
            rank=choice.rank,
            momentum=choice.momentum,
        ),
        tail_classes=tail,
        head_classes=head,
        similarity=similarity,
    )


def _require_a_vector_a_class(recipe: Recipe) -> None:
    if recipe.loss.name in HIERARCHICAL_LOSSES.names():
        raise ConfigError(
            "`transfer.similarity: prototypes` compares one vector a class, and the loss "
            f"{recipe.loss.name!r} has a head for the leaves or nodes of the tree: set "
            "transfer.similarity to taxonomy."
        )


def _require_one_expert(recipe: Recipe, key: str) -> None:
    if recipe.model.experts > 1:
        raise ConfigError(
            f"`{key}` works on the features of one network, and the model has "
            f"{recipe.model.experts} experts: set model.experts=1, or {key} to null."
        )
