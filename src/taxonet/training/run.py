"""The verb `train`: from photos and a recipe to a classifier folder."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from pydantic import ValidationError

from taxonet.classifier import (
    Calibration,
    ClassifierParts,
    Embedder,
    TaxonClassifier,
    TrailPoint,
    preprocessing_of,
    write_calibration_scores,
    write_trail,
)
from taxonet.data.table import ImageTable
from taxonet.devices import pick_workers
from taxonet.errors import ConfigError, DataError
from taxonet.files import atomic_folder, require_free, write_json, write_text
from taxonet.models import Network, WeightsOrigin, weights_origin
from taxonet.recipes import Recipe, dump_recipe, explain
from taxonet.recipes.verbs import TrainConfig
from taxonet.training.accelerator import accelerator_on
from taxonet.training.assembly import make_trainer
from taxonet.training.building import build
from taxonet.training.calibrate import CalibrationPhotos, calibrated
from taxonet.training.checkpoints import Position, list_checkpoints
from taxonet.training.data import TrainingData, open_training_data
from taxonet.training.index import write_index
from taxonet.training.inputs import Inputs, StoredSplit, photo_inputs, stored_inputs
from taxonet.training.probe import FOLDER as PROBE
from taxonet.training.probe import probe_recipe, train_probe
from taxonet.training.refit import fit_second_stage
from taxonet.training.second_stage import EmbeddingSource, PhotoEmbeddings
from taxonet.training.sources import Sources, open_sources
from taxonet.training.tree_loss import TrainingLoss
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

    def load(self, *, device: str = "auto") -> TaxonClassifier:
        """Return the classifier that was made."""
        return TaxonClassifier.load(self.classifier, device=device)


def train(
    photos: TrainConfig | str | Path, *, show_progress: bool = False, **options: Any
) -> TrainResult:
    """Train a classifier and write the run's folder.

    ``taxonet.train("photos", taxonomy="taxonomy.csv", recipe="quick").load()`` is the classifier.

    The folder holds ``recipe.yaml`` (resolved), ``split.csv`` (``.parquet``
    where the photos came as bytes), ``log.jsonl``, ``checkpoints/``,
    ``broken.json`` if photos were unreadable, and, once it is complete, ``classifier/``. Under
    ``torchrun`` every process calls this, and the first one writes.

    Args:
        photos: As ``taxonet train`` takes them; or the whole config.
        show_progress: Show progress, and say what a user should know on the way.
        **options: Fields of `TrainConfig`, which are the options of ``taxonet train``.

    Raises:
        ConfigError: The recipe or an option cannot work, or the folder is taken.
        TaxonomyError: Labels that no name of the taxonomy matches.
        CheckpointError: A resume with another recipe or other photos.
        TrainingStopped: The loss is not finite, or too many photos are unreadable.
        Interrupted: Ctrl-C; the run can be resumed.
    """
    config = _config(photos, options)
    _check_folder(config)
    sources = open_sources(config)
    _check_shares(config, sources.images)
    recipe = sources.recipe
    accelerator = accelerator_on(config.device, precision=recipe.precision)
    data = open_training_data(
        sources.images,
        sources.taxonomy,
        seed=recipe.seed,
        val_share=config.val_share,
        calibration_share=config.calibration_share,
    )
    network, loss = build(recipe, data)
    # Now, and not when the run ends: a file of weights may be gone by then.
    origin = weights_origin(recipe.model.backbone, recipe.model.weights)
    # Or a slow process would find the folder taken, by the first one of its own run.
    accelerator.wait_for_everyone()
    run = _Run(config, sources, data, accelerator, shown=show_progress)
    inputs, stored = run.inputs(network, loss)
    is_resumed = config.resume and bool(list_checkpoints(config.out / "checkpoints"))
    trainer = make_trainer(
        config.model_copy(update={"resume": is_resumed}),
        recipe=recipe,
        data=data,
        inputs=inputs,
        loss=loss,
        accelerator=accelerator,
        show_progress=show_progress,
    )
    run.begin_folder()
    if run.speaks:
        sys.stderr.writelines(f"{note}\n" for note in (*sources.notes, *trainer.notes))
    position = trainer.fit()
    broken = position.broken | ({} if stored is None else stored.reasons())
    stage = _Stage(recipe)
    if accelerator.is_main_process and recipe.second_stage is not None:
        stage = _second_stage(run, network, inputs, stored)
    parts = _parts(stage.recipe, data, network, origin=origin)
    classifier = TaxonClassifier(parts, device=config.device, features=run.features_folder)
    if accelerator.is_main_process:
        if broken:
            write_json(config.out / "broken.json", broken)
        classifier = _write_classifier(
            config, classifier, data, trail=stage.trail, show_progress=show_progress
        )
        trainer.export()
    return TrainResult(
        folder=config.out,
        classifier=config.out / "classifier",
        kept_epoch=_kept_epoch(recipe, position) + 1,
        val_macro_recall=position.kept_recall,
        broken=broken,
        notes=(*stage.notes, *_notes(recipe, data, classifier)),
        is_main=accelerator.is_main_process,
    )


def _config(photos: TrainConfig | str | Path, options: Mapping[str, Any]) -> TrainConfig:
    if isinstance(photos, TrainConfig):
        if options:
            raise ConfigError(
                f"A whole config was given, and {', '.join(options)} besides: put them into it."
            )
        return photos
    try:
        return TrainConfig.model_validate({"images": photos, **options})
    except ValidationError as error:
        raise ConfigError(explain(error, TrainConfig, what="the options of train")) from None


@dataclass
class _Run:
    """What the steps of one run share."""

    config: TrainConfig
    sources: Sources
    data: TrainingData
    accelerator: Accelerator
    shown: bool
    _began: bool = False

    @property
    def recipe(self) -> Recipe:
        """How it trains."""
        return self.sources.recipe

    @property
    def workers(self) -> int:
        """How many processes read photos next to this one."""
        return pick_workers(self.config.workers, len(self.data.table))

    @property
    def speaks(self) -> bool:
        """Whether this process tells the user what happens."""
        return self.shown and self.accelerator.is_main_process

    @property
    def features_folder(self) -> Path | None:
        """The store that the classifier will read; none where its backbone trains."""
        if self.recipe.features is None:
            return None
        return self._store

    @property
    def _store(self) -> Path:
        return self.config.features or self.config.out / "features"

    def begin_folder(self) -> None:
        """Write what a run begins with, once."""
        if self.accelerator.is_main_process and not (self.config.resume or self._began):
            _begin_folder(self.config.out, self.recipe, self.data)
        self._began = True

    def inputs(self, network: Network, loss: TrainingLoss) -> tuple[Inputs, StoredSplit | None]:
        """Return what is trained and drawn from; of stored features also the training split."""
        if self.recipe.features is None and self.recipe.probe is None:
            return self._photo_inputs(network), None
        # The store may lie in the folder.
        self.begin_folder()
        with self.accelerator.main_process_first():
            embedder = self._embedder(network)  # the others see what the first one stored
            if self.sources.earlier is not None:
                self.sources.earlier.store(embedder)
            found = stored_inputs(
                self.recipe if self.recipe.probe is None else probe_recipe(self.recipe),
                self.data,
                embedder,
                workers=self.workers,
                shown=self.speaks,
            )
        if self.recipe.features is not None:
            return found
        train_probe(
            self.config, self.recipe, self.data, found[0], loss, self.accelerator, shown=self.shown
        )
        network.train()
        return self._photo_inputs(network), None

    def _photo_inputs(self, network: Network) -> Inputs:
        return photo_inputs(self.recipe, self.data, network, device=self.accelerator.device)

    def _embedder(self, network: Network) -> Embedder:
        return Embedder.open(
            self._store,
            network,
            preprocessing_of(self.recipe.model, network),
            model=self.recipe.model,
            device=self.accelerator.device,
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
    "The second stage was left out, and the classifier has its first head: {error} Correct that "
    "and run `taxonet refit {classifier}`, or choose another stage."
)


@dataclass(frozen=True)
class _Stage:
    """What came of a second stage, or of none."""

    recipe: Recipe
    """Of the classifier as it is now."""
    trail: Sequence[TrailPoint] = ()
    notes: tuple[str, ...] = ()


def _second_stage(
    run: _Run, network: Network, inputs: Inputs, stored: StoredSplit | None
) -> _Stage:
    recipe, data = run.recipe, run.data
    _, targets = data.split("train")
    source: EmbeddingSource
    if stored is not None:
        source = stored.embeddings(network, targets)
    else:
        choice = recipe.second_stage
        view = "second stage" if choice is not None and choice.augment is not None else None
        source = PhotoEmbeddings(
            network, inputs.train, targets, view=view, workers=run.workers, shown=run.shown
        )
    try:
        trail = fit_second_stage(recipe, data, network, source, show_progress=run.shown)
    except DataError as error:
        # The backbone is trained, and must not be lost for the head that comes after it.
        note = _WITHOUT_STAGE.format(error=error, classifier=run.config.out / "classifier")
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
    workers = pick_workers(config.workers, len(data.table))
    photos = CalibrationPhotos.of_run(data, origin=f"split.{_table_suffix(data)}")
    classifier, scores, _ = calibrated(classifier, photos, workers=workers)
    with atomic_folder(config.out / "classifier", replace=True) as folder:
        classifier.save(folder)
        write_calibration_scores(folder, scores)
        write_trail(folder, trail)
        write_index(
            folder,
            classifier,
            data,
            splits=_indexed(classifier),
            workers=workers,
            shown=show_progress,
        )
        _keep_metrics(config.out / "classifier", folder)
    return classifier


def _indexed(classifier: TaxonClassifier) -> tuple[str, ...]:
    """Features that were stored can be learned from again, without the photos."""
    of_features = classifier.parts.recipe.features is not None
    return ("train", "val", "calibration") if of_features else ("train",)


def _keep_metrics(old: Path, new: Path) -> None:
    """Resuming a finished run makes the same classifier again; its judgement still holds."""
    if (old / "metrics.json").is_file():
        shutil.copy(old / "metrics.json", new)


def _parts(
    recipe: Recipe, data: TrainingData, network: Network, *, origin: WeightsOrigin
) -> ClassifierParts:
    return ClassifierParts(
        network=network,
        taxonomy=data.taxonomy,
        class_nodes=data.classes.class_nodes,
        class_counts=data.classes.class_counts,
        preprocessing=preprocessing_of(recipe.model, network),
        calibration=Calibration(),
        recipe=recipe,
        weights_origin=origin,
    )


def _check_folder(config: TrainConfig) -> None:
    checkpoints = [
        *list_checkpoints(config.out / "checkpoints"),
        *list_checkpoints(config.out / PROBE / "checkpoints"),
    ]
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
