"""Second stages at work: after training, or on a classifier whose embeddings are on disk."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from taxonet.classifier import (
    Calibration,
    TaxonClassifier,
    TrailPoint,
    TrainingIndex,
    copy_index,
    write_calibration_scores,
    write_trail,
)
from taxonet.classifier.reading import TreeReading
from taxonet.data.sources import open_images
from taxonet.devices import pick_workers
from taxonet.errors import DataError
from taxonet.files import atomic_folder, require_free
from taxonet.models import Head, Network
from taxonet.progress import Progress
from taxonet.recipes import PartChoice, Recipe, SecondStageRecipe, read_overrides
from taxonet.recipes.verbs import RefitConfig
from taxonet.registry import SECOND_STAGES
from taxonet.training.calibrate import CalibrationPhotos, calibrated
from taxonet.training.data import TrainingData, open_training_data
from taxonet.training.second_stage import (
    CachedEmbeddings,
    EmbeddingSource,
    SecondStage,
    Trail,
)
from taxonet.training.tree_loss import check_tree_recipe


@dataclass(frozen=True)
class RefitResult:
    """What refitting made."""

    classifier: Path
    notes: tuple[str, ...]


def fit_second_stage(
    recipe: Recipe,
    data: TrainingData,
    network: Network,
    source: EmbeddingSource,
    *,
    show_progress: bool = False,
) -> list[TrailPoint]:
    """Put the head of the recipe's second stage in the place of the network's; return its trail.

    Args:
        recipe: Names the stage.
        data: Counts the training photos of each class.
        network: Trained; its head is the one of stage 1.
        source: The embeddings of the training photos.
        show_progress: Show progress.

    Raises:
        ConfigError: The stage does not work on the head that it finds.
        DataError: A class without a readable training photo.
        TrainingStopped: The stage's loss is not finite.
    """
    choice = recipe.second_stage
    assert choice is not None
    network.head, trail = _fitted(
        choice.stage,
        source,
        network,
        counts=data.classes.class_counts.tolist(),
        seed=recipe.seed,
        shown=show_progress,
    )
    return trail


def refit(config: RefitConfig, *, show_progress: bool = False) -> RefitResult:
    """Fit a second stage to the stored embeddings of a classifier, and write a new classifier.

    No training photo is read. With ``images`` the calibration photos among them set temperature
    and thresholds anew; without, the new classifier has none.

    Raises:
        CheckpointError: The folder is no complete classifier, or has no index.
        ConfigError: Options that cannot work, or a folder that is taken.
        DataError: Photos of other classes than the classifier's.
    """
    require_free(config.out)
    old = TaxonClassifier.load(config.classifier, device=config.device, features=config.features)
    stage = PartChoice.model_validate({"name": config.stage, **read_overrides(config.set)})
    recipe = old.parts.recipe.model_copy(update={"second_stage": SecondStageRecipe(stage=stage)})
    if isinstance(old.reading, TreeReading):
        check_tree_recipe(recipe)
    network = old.parts.network
    network.head, trail = _fitted(
        stage,
        _stored_embeddings(config.classifier),
        network,
        counts=old.class_counts.tolist(),
        seed=recipe.seed,
        shown=show_progress,
    )
    parts = replace(
        old.parts, recipe=recipe, calibration=Calibration(), learned=None, novelty=None, rule=None
    )
    new = old.with_parts(parts)
    scores = None
    notes = ["There are no calibration photos: no temperature or threshold was set."]
    if config.images is not None:
        photos = CalibrationPhotos.of_run(_photos(config.images, new), origin=str(config.images))
        new, scores, _ = calibrated(
            new, photos, workers=pick_workers(config.workers, len(photos.table))
        )
        notes = [] if new.calibration.images else notes
    with atomic_folder(config.out) as folder:
        new.save(folder)
        write_calibration_scores(folder, scores)
        write_trail(folder, trail)
        copy_index(config.classifier, folder)
    return RefitResult(config.out, tuple(notes))


def _fitted(
    choice: PartChoice,
    source: EmbeddingSource,
    network: Network,
    *,
    counts: list[int],
    seed: int,
    shown: bool,
) -> tuple[Head, list[TrailPoint]]:
    stage: SecondStage = SECOND_STAGES.build(choice.name, choice.options)
    trail = Trail(counts)
    with Progress(f"second stage {choice.name}", None, shown=shown) as progress:

        def follow(done: int, total: int, module: nn.Module) -> None:
            progress.advance(min(done, 1), note=f"{done}/{total} batches")
            trail(done, total, module)

        head = stage.fit(
            source,
            head=network.head,
            class_counts=counts,
            seed=seed,
            on_step=follow,
        )
    return head, trail.points


def _stored_embeddings(classifier: Path) -> CachedEmbeddings:
    embeddings, targets = TrainingIndex(classifier, wanted_by="a second stage").read()
    return CachedEmbeddings(torch.from_numpy(embeddings), torch.from_numpy(targets))


def _photos(path: Path, classifier: TaxonClassifier) -> TrainingData:
    recipe = classifier.parts.recipe
    data = open_training_data(
        open_images(path),
        classifier.taxonomy,
        seed=recipe.seed,
        val_share=0,
        calibration_share=0,
    )
    if not np.array_equal(data.classes.class_nodes, classifier.class_nodes):
        raise DataError(
            f"{path} has {len(data.classes)} classes with training photos, and they are not the "
            f"{len(classifier.class_nodes)} of the classifier. Give the split.csv of the run that "
            "trained it."
        )
    return data
