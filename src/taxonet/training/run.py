"""The verb `train`: from photos and a recipe to a classifier folder."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from taxonet.classifier import (
    Calibration,
    ClassifierParts,
    Preprocessing,
    TaxonClassifier,
    TrailPoint,
    write_calibration_scores,
    write_trail,
)
from taxonet.data.table import ImageTable
from taxonet.devices import pick_device
from taxonet.errors import ConfigError, DataError
from taxonet.files import atomic_folder, require_free, write_json, write_text
from taxonet.models import Network
from taxonet.models import preprocessing as colours_of
from taxonet.recipes import Recipe, dump_recipe
from taxonet.recipes.verbs import TrainConfig
from taxonet.training.assembly import make_trainer
from taxonet.training.building import build
from taxonet.training.calibrate import CalibrationPhotos, calibrated
from taxonet.training.checkpoints import Position, list_checkpoints
from taxonet.training.data import TrainingData, open_training_data
from taxonet.training.index import write_index
from taxonet.training.refit import fit_second_stage
from taxonet.training.sources import open_sources
from taxonet.training.views import resize_spec
from taxonet.version import __version__


@dataclass(frozen=True)
class TrainResult:
    """What a training run made."""

    folder: Path
    classifier: Path
    kept_epoch: int
    """The epoch whose weights were kept, from 1."""
    val_macro_recall: float | None
    """Its macro recall on the validation split."""
    broken: dict[str, str]
    notes: tuple[str, ...]
    """What a user should know: files and taxa left out, no tail classes, no calibration photos."""
    is_main: bool = True
    """False in the processes of a data-parallel run that write nothing and need say nothing."""


def train(config: TrainConfig, *, show_progress: bool = False) -> TrainResult:
    """Train a classifier and write the run's folder.

    The folder holds ``recipe.yaml`` (resolved), ``split.csv`` (``.parquet``
    where the photos came as bytes), ``log.jsonl``, ``checkpoints/``,
    ``broken.json`` if photos were unreadable, and, once it is complete, ``classifier/``. Under
    ``torchrun`` every process calls this, and the first one writes.

    Raises:
        ConfigError: The recipe cannot work, or the folder is taken.
        TaxonomyError: Labels that no name of the taxonomy matches.
        CheckpointError: A resume with another recipe or other photos.
        TrainingStopped: The loss is not finite, or too many photos are unreadable.
        Interrupted: Ctrl-C; the run can be resumed.
    """
    _check_folder(config)
    sources = open_sources(config)
    _check_shares(config, sources.images)
    recipe = sources.recipe
    accelerator = _accelerator(config.device, precision=recipe.precision)
    data = open_training_data(
        sources.images,
        sources.taxonomy,
        seed=recipe.seed,
        val_share=config.val_share,
        calibration_share=config.calibration_share,
    )
    network, loss = build(recipe, data)
    trainer = make_trainer(
        config,
        recipe=recipe,
        data=data,
        network=network,
        loss=loss,
        accelerator=accelerator,
        show_progress=show_progress,
    )
    # Or a slow process would find the folder taken, by the first one of its own run.
    accelerator.wait_for_everyone()
    if accelerator.is_main_process and not config.resume:
        _begin_folder(config.out, recipe, data)
    if show_progress and accelerator.is_main_process:
        sys.stderr.writelines(f"{note}\n" for note in trainer.notes)
    position = trainer.fit()
    stage = _Stage(recipe)
    if accelerator.is_main_process and recipe.second_stage is not None:
        stage = _second_stage(config, recipe, data, network, show_progress=show_progress)
    classifier = _classifier(stage.recipe, data, network, device=config.device)
    if accelerator.is_main_process:
        if position.broken:
            write_json(config.out / "broken.json", position.broken)
        classifier = _write_classifier(
            config, classifier, data, trail=stage.trail, show_progress=show_progress
        )
        trainer.export()
    return TrainResult(
        folder=config.out,
        classifier=config.out / "classifier",
        kept_epoch=_kept_epoch(recipe, position) + 1,
        val_macro_recall=position.kept_recall,
        broken=position.broken,
        notes=(*stage.notes, *_notes(recipe, data, classifier)),
        is_main=accelerator.is_main_process,
    )


def _table_suffix(data: TrainingData) -> str:
    """Bytes inside a table need a format that can hold them."""
    return "csv" if data.table.blobs is None else "parquet"


_MARK = "run.json"
"""What says that a folder is that of a run; written first."""


def _begin_folder(out: Path, recipe: Recipe, data: TrainingData) -> None:
    write_json(out / _MARK, {"taxonet": __version__})
    write_text(out / "recipe.yaml", dump_recipe(recipe))
    data.table.save(out / f"split.{_table_suffix(data)}")


_WITHOUT_STAGE = (
    "The second stage was left out, and the classifier has its first head: {error} Mend it and run "
    "`taxonet refit {classifier}`, or choose another stage."
)


@dataclass(frozen=True)
class _Stage:
    """What came of a second stage, or of none."""

    recipe: Recipe
    """Of the classifier as it is now."""
    trail: Sequence[TrailPoint] = ()
    notes: tuple[str, ...] = ()


def _second_stage(
    config: TrainConfig,
    recipe: Recipe,
    data: TrainingData,
    network: Network,
    *,
    show_progress: bool,
) -> _Stage:
    try:
        trail = fit_second_stage(
            recipe, data, network, workers=config.workers, show_progress=show_progress
        )
    except DataError as error:
        # The backbone is trained, and must not be lost for the head that comes after it.
        note = _WITHOUT_STAGE.format(error=error, classifier=config.out / "classifier")
        return _Stage(recipe.model_copy(update={"second_stage": None}), notes=(note,))
    return _Stage(recipe, trail)


def _write_classifier(
    config: TrainConfig,
    classifier: TaxonClassifier,
    data: TrainingData,
    *,
    trail: Sequence[TrailPoint],
    show_progress: bool,
) -> TaxonClassifier:
    """Calibrate a classifier, write its folder, and return it as it stands there."""
    photos = CalibrationPhotos.of_run(data, origin=f"split.{_table_suffix(data)}")
    classifier, scores, _ = calibrated(classifier, photos, workers=config.workers)
    with atomic_folder(config.out / "classifier", replace=True) as folder:
        classifier.save(folder)
        write_calibration_scores(folder, scores)
        write_trail(folder, trail)
        write_index(folder, classifier, data, workers=config.workers, shown=show_progress)
        _keep_metrics(config.out / "classifier", folder)
    return classifier


def _keep_metrics(old: Path, new: Path) -> None:
    """Resuming a finished run makes the same classifier again; its judgement still holds."""
    if (old / "metrics.json").is_file():
        shutil.copy(old / "metrics.json", new)


def _accelerator(device: str, *, precision: str) -> Accelerator:
    """Return the holder of device, precision and process group.

    Raises:
        ConfigError: The device is not there, or cannot compute in that precision.
    """
    kind = pick_device(device).type
    if precision == "fp16" and kind == "cpu":
        raise ConfigError(
            "The precision fp16 needs a GPU, and this run computes on the CPU: choose "
            "--set precision=bf16, or leave `precision` out of the recipe."
        )
    # Accelerate remembers the first device and precision of a Python process; this run may have
    # others. Only the group of several processes, which cannot be made twice, has to stay.
    grouped = torch.distributed.is_available() and torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=not grouped)
    return Accelerator(cpu=kind == "cpu", mixed_precision=precision)


def _classifier(
    recipe: Recipe, data: TrainingData, network: Network, *, device: str
) -> TaxonClassifier:
    colours = colours_of(recipe.model.backbone)
    resize = resize_spec(recipe.model)
    parts = ClassifierParts(
        network=network,
        taxonomy=data.taxonomy,
        class_nodes=data.classes.class_nodes,
        class_counts=data.classes.class_counts,
        preprocessing=Preprocessing(
            image_size=resize.size,
            fit=resize.fit,
            interpolation=resize.interpolation,
            crop_share=resize.crop_share,
            mean=colours.mean,
            std=colours.std,
            test_crops=recipe.model.test_crops,
        ),
        calibration=Calibration(),
        recipe=recipe,
    )
    return TaxonClassifier(parts, device=device)


def _check_folder(config: TrainConfig) -> None:
    checkpoints = list_checkpoints(config.out / "checkpoints")
    if config.resume and not checkpoints:
        raise ConfigError(
            f"There is nothing to resume: {config.out} has no checkpoint. Run without --resume."
        )
    if not config.resume and (checkpoints or (config.out / "classifier").exists()):
        raise ConfigError(
            f"{config.out} holds a run already. Add --resume to go on with it, or choose another "
            "--out."
        )
    # A run that was stopped before its first checkpoint left nothing that is worth keeping; what
    # else may lie in a folder is not ours.
    if not config.resume and not (config.out / _MARK).is_file():
        require_free(config.out)


def _check_shares(config: TrainConfig, images: ImageTable) -> None:
    asked = {"val_share", "calibration_share"} & config.model_fields_set
    if asked and "split" not in images.frame:
        raise ConfigError(
            f"{' and '.join(sorted(asked))}: these photos have no splits, and get the usual ones. "
            "`taxonet data split` divides them as you want; train on its split.csv."
        )


def _kept_epoch(recipe: Recipe, position: Position) -> int:
    """Return the kept epoch, from 0: without validation photos it is the last."""
    return recipe.epochs - 1 if position.kept_epoch is None else position.kept_epoch


def _notes(recipe: Recipe, data: TrainingData, classifier: TaxonClassifier) -> list[str]:
    notes = list(data.table.notes)
    choice = recipe.selection
    if choice is not None and not (data.classes.class_counts < choice.tail_shots).any():
        notes.append(
            f"No class has fewer than {choice.tail_shots} training photos, so no batch was "
            "extended with tail images."
        )
    _, val_targets = data.split("val")
    without_val = len(data.classes) - len(set(val_targets.tolist()))
    if without_val == len(data.classes):
        notes.append("There are no validation photos: the last epoch was kept.")
    elif without_val:
        notes.append(
            f"{without_val} of {len(data.classes)} classes have no validation photo: the epoch was "
            "chosen by the others."
        )
    if classifier.calibration.images == 0:
        notes.append("There are no calibration photos: no temperature or threshold was set.")
    notes.extend(
        f"{count} photos of the split {split} were left out: their taxa have no training photo."
        for split, count in data.outside().items()
    )
    return notes
