"""Which objective a recipe asks for."""

from typing import TypeGuard

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from taxonet.classifier.reading import TreeReading, reading_of
from taxonet.errors import ConfigError
from taxonet.losses.hierarchical import NameContrastLoss
from taxonet.models import Network, feature_layer
from taxonet.recipes import ContrastRecipe, Recipe, TransferRecipe, WordsRecipe
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.training.covariance import (
    ClassStatistics,
    EmbeddingCovariances,
    check_budget,
    check_embedding_budget,
    direction_count,
    read_similarity,
    split_classes,
    taxonomy_similarity,
)
from taxonet.training.data import TrainingData
from taxonet.training.objectives.base import Objective
from taxonet.training.objectives.classification import ClassificationObjective
from taxonet.training.objectives.contrast import ContrastObjective
from taxonet.training.objectives.embedding_transfer import EmbeddingTransferObjective
from taxonet.training.objectives.image_text import ImageTextObjective
from taxonet.training.objectives.mixing import MixingObjective
from taxonet.training.objectives.tail_transfer import TailTransferObjective
from taxonet.training.objectives.transfer import TransferObjective
from taxonet.training.second_stage import CachedEmbeddings
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
    stored: CachedEmbeddings | None = None,
) -> Objective:
    """Make the objective of a recipe.

    Args:
        recipe: How to train.
        network: What is trained.
        loss: What it is trained with.
        data: What to train on.
        accelerator: Device, precision and process group.
        stored: The features ``(N, f)`` of the training photos under the plain view, and their
            classes; None where photos are read. Covariance transfer learns from them.

    Raises:
        ConfigError: Unknown names or options, contrast, transfer or words on several experts,
            contrast with class centres or words with vectors that the head has not, words without
            a CLIP backbone, transfer without a head class or on features without a tail class, or
            class statistics beyond their budget.
        DataError: A file of common names that has other columns, or none of these taxa.
    """
    names = None
    if recipe.words is not None:
        names = _names(recipe, recipe.words, network, data, device=accelerator.device)
    objective = _objective(
        recipe, network, loss, data=data, names=names, accelerator=accelerator, stored=stored
    )
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
    stored: CachedEmbeddings | None,
) -> Objective:
    if recipe.mixing is not None:
        return MixingObjective(network, loss, mixing=recipe.mixing)
    if recipe.transfer is not None:
        return _transfer(recipe, recipe.transfer, network, loss, data, stored)
    if recipe.contrast is not None:
        _require_one_expert(recipe, "contrast")
        return ContrastObjective(
            network,
            loss,
            contrastive=_contrastive(recipe, recipe.contrast, data),
            contrast=recipe.contrast,
            seed=recipe.seed,
        )
    if recipe.words is not None and names is not None and _is_image_text(loss):
        names.tower.requires_grad_(not recipe.words.frozen)
        return ImageTextObjective(
            network,
            loss,
            names=names,
            chunk=recipe.words.chunk,
            accelerator=accelerator,
        )
    return ClassificationObjective(network, loss, selection=recipe.selection)


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
    stored: CachedEmbeddings | None,
) -> TailTransferObjective:
    _require_one_expert(recipe, "transfer")
    tail, head = split_classes(data.classes.class_counts, tail_shots=choice.tail_shots)
    similarity = _similarity(recipe, choice, data, tail, head)
    if recipe.features is not None:
        assert stored is not None  # whoever trains on stored features has them
        return EmbeddingTransferObjective(
            network,
            loss,
            recipe=choice,
            covariances=_covariances(choice, stored, classes=len(data.classes), tail=tail),
            tail_classes=tail,
            head_classes=head,
            similarity=similarity,
        )
    layer, channels = feature_layer(network.backbone, choice.layer)
    classes = len(data.classes)
    check_budget(
        classes,
        channels,
        budget_bytes=round(choice.budget_gb * 1e9),
        covariance=choice.covariance,
        rank=choice.rank,
    )
    return TransferObjective(
        network,
        loss,
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


def _covariances(
    choice: TransferRecipe,
    stored: CachedEmbeddings,
    *,
    classes: int,
    tail: NDArray[np.int64],
) -> EmbeddingCovariances:
    """Return the covariances of the classes of stored features, where some class is to borrow."""
    images = torch.bincount(stored.targets, minlength=classes)
    if len(tail) == 0:
        raise ConfigError(
            f"No class has fewer than {choice.tail_shots} training images, so there is no tail "
            f"class to borrow; the smallest has {int(images.min())}. Raise transfer.tail_shots, or "
            "set transfer to null."
        )
    size = stored.embeddings.shape[1]
    columns = direction_count(images, size, rank=choice.rank)
    check_embedding_budget(
        classes, size, columns=columns, budget_bytes=round(choice.budget_gb * 1e9)
    )
    return EmbeddingCovariances(stored.embeddings, stored.targets, classes, columns=columns)


def _similarity(
    recipe: Recipe,
    choice: TransferRecipe,
    data: TrainingData,
    tail: NDArray[np.int64],
    head: NDArray[np.int64],
) -> NDArray[np.float32] | None:
    """Return how similar tail and head classes are, where no weight of the head decides that."""
    if choice.similar is None:
        return None
    if choice.similarity == "prototypes":
        _require_a_vector_a_class(recipe)
        return None
    if choice.similarity == "taxonomy":
        return taxonomy_similarity(data.taxonomy, data.classes.class_nodes, tail, head)
    names = [data.taxonomy.path_text(int(node)) for node in data.classes.class_nodes]
    return read_similarity(choice.similarity, names, tail, head)


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
