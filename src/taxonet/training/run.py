"""The verb `train`: from photos and a recipe to a classifier folder."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from accelerate import Accelerator

from taxonet.classifier import Calibration, ClassifierParts, Preprocessing, TaxonClassifier
from taxonet.data.loading import ImageDataset
from taxonet.data.sampling import BatchPlan, TailExtension
from taxonet.data.sources import open_images
from taxonet.errors import ConfigError
from taxonet.files import write_json, write_text
from taxonet.losses import Loss
from taxonet.models import Network, build_network
from taxonet.models import preprocessing as colours_of
from taxonet.recipes import Recipe, dump_recipe, load_recipe
from taxonet.recipes.verbs import TrainConfig
from taxonet.registry import LOSSES
from taxonet.training.calibrate import calibrated
from taxonet.training.checkpoints import Position, list_checkpoints
from taxonet.training.data import TrainingData, open_taxonomy, open_training_data
from taxonet.training.index import write_index
from taxonet.training.loop import LoopSettings, Trainer
from taxonet.training.objectives import ClassificationObjective
from taxonet.training.selection import check_selection
from taxonet.training.validation import Validation
from taxonet.training.views import training_views


@dataclass(frozen=True)
class TrainResult:
    """What a training run made."""

    folder: Path
    classifier: Path
    kept_epoch: int
    """The epoch whose weights were kept, from 1."""
    val_macro_recall: float | None
    broken: dict[str, str]
    notes: tuple[str, ...]
    """What a user should know: no tail classes, no calibration photos, classes left out."""


def train(config: TrainConfig, *, show_progress: bool = False) -> TrainResult:
    """Train a classifier and write the run's folder.

    The folder holds ``recipe.yaml`` (resolved), ``split.csv``, ``log.jsonl``, ``checkpoints/``,
    ``broken.json`` if photos were unreadable, and ``classifier/``.

    Raises:
        ConfigError: The recipe cannot work, or the folder is taken.
        TaxonomyError: Labels that no name of the taxonomy matches.
        TrainingStopped: The loss is not finite, or too many photos are unreadable.
        Interrupted: Ctrl-C; the run can be resumed.
    """
    recipe = load_recipe(config.recipe, config.set)
    _check_folder(config)
    images = open_images(config.images)
    data = open_training_data(
        images,
        open_taxonomy(config, images),
        seed=recipe.seed,
        calibration_share=config.calibration_share,
    )
    network, loss = build(recipe, data)
    _write_facts(config.out, recipe, data)
    trainer = _trainer(config, recipe, data, network, loss, show_progress)
    position = trainer.fit()
    classifier = _classifier(recipe, data, network, device=config.device)
    folder = config.out / "classifier"
    if trainer.accelerator.is_main_process:
        classifier = calibrated(classifier, data, workers=config.workers)
        classifier.save(folder)
        write_index(folder, classifier, data, workers=config.workers, shown=show_progress)
        if position.broken:
            write_json(config.out / "broken.json", position.broken)
    return _result(config, recipe, data, position, classifier)


def build(recipe: Recipe, data: TrainingData) -> tuple[Network, Loss]:
    """Make the network and the loss of a recipe, and refuse what cannot work together.

    Raises:
        ConfigError: Unknown names or options, a loss on the wrong head, or norm-guided selection
            beside a loss for which the norm has no meaning.
    """
    counts = data.classes.class_counts
    loss: Loss = LOSSES.build(recipe.loss.name, recipe.loss.options, counts)
    network = build_network(
        backbone=recipe.model.backbone,
        head=recipe.model.head,
        classes=len(counts),
        seed=recipe.seed,
        pretrained=recipe.model.weights == "pretrained",
    )
    if network.head.kind != loss.takes:
        right = "cosine" if loss.takes == "cosines" else "linear"
        raise ConfigError(
            f"The loss {recipe.loss.name!r} takes {loss.takes}, and the head "
            f"{recipe.model.head!r} gives {network.head.kind}: set model.head to {right!r}."
        )
    network.head.scale = loss.scale
    if recipe.selection is not None and recipe.selection.keep == "lowest_norm":
        check_selection(loss)
    return network, loss


def _trainer(
    config: TrainConfig,
    recipe: Recipe,
    data: TrainingData,
    network: Network,
    loss: Loss,
    show_progress: bool,
) -> Trainer:
    accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision=recipe.precision)
    table, targets = data.split("train")
    views, size = training_views(recipe), recipe.model.image_size
    colours = colours_of(recipe.model.backbone)
    plan = BatchPlan(
        targets.numpy(),
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        tail=_tail_extension(recipe),
    )
    val_table, val_targets = data.split("val")
    validation = None
    if len(val_table):
        validation = Validation(
            ImageDataset(val_table, views, image_size=size),
            val_targets,
            classes=len(data.classes.class_nodes),
            batch_size=max(64, recipe.batch_size),
            mean=colours.mean,
            std=colours.std,
            workers=config.workers,
        )
    return Trainer(
        ClassificationObjective(
            network, loss, mean=colours.mean, std=colours.std, selection=recipe.selection
        ),
        recipe=recipe,
        plan=plan,
        dataset=ImageDataset(table, views, image_size=size, seed=recipe.seed),
        targets=targets,
        validation=validation,
        settings=LoopSettings(
            folder=config.out,
            recipe_digest=sha256((dump_recipe(recipe) + data.digest()).encode()).hexdigest(),
            resume=config.resume,
            workers=config.workers,
            minutes_between_checkpoints=config.checkpoint_minutes,
            broken_share=config.broken_share,
            tensorboard=config.tensorboard,
            show_progress=show_progress,
        ),
        accelerator=accelerator,
    )


def _tail_extension(recipe: Recipe) -> TailExtension | None:
    choice = recipe.selection
    if choice is None:
        return None
    return TailExtension(
        extra=choice.extra, probability=choice.probability, tail_shots=choice.tail_shots
    )


def _classifier(
    recipe: Recipe, data: TrainingData, network: Network, *, device: str
) -> TaxonClassifier:
    colours = colours_of(recipe.model.backbone)
    parts = ClassifierParts(
        network=network,
        taxonomy=data.taxonomy,
        class_nodes=data.classes.class_nodes,
        class_counts=data.classes.class_counts,
        preprocessing=Preprocessing(
            image_size=recipe.model.image_size,
            fit=recipe.model.fit,
            mean=colours.mean,
            std=colours.std,
        ),
        calibration=Calibration(),
        recipe=recipe,
    )
    return TaxonClassifier(parts, device=device)


def _check_folder(config: TrainConfig) -> None:
    begun = (config.out / "recipe.yaml").exists()
    if config.resume:
        if not list_checkpoints(config.out / "checkpoints"):
            raise ConfigError(
                f"There is nothing to resume: {config.out} has no checkpoint. Run without --resume."
            )
    elif begun:
        raise ConfigError(
            f"{config.out} holds a run already. Add --resume to go on with it, or choose another "
            "--out."
        )


def _write_facts(out: Path, recipe: Recipe, data: TrainingData) -> None:
    write_text(out / "recipe.yaml", dump_recipe(recipe))
    data.table.save(out / "split.csv")


def _result(
    config: TrainConfig,
    recipe: Recipe,
    data: TrainingData,
    position: Position,
    classifier: TaxonClassifier,
) -> TrainResult:
    kept = position.best_epoch if recipe.keep_epoch == "best" else None
    return TrainResult(
        folder=config.out,
        classifier=config.out / "classifier",
        kept_epoch=(recipe.epochs - 1 if kept is None else kept) + 1,
        val_macro_recall=position.best_recall,
        broken=position.broken,
        notes=tuple(_notes(recipe, data, classifier)),
    )


def _notes(recipe: Recipe, data: TrainingData, classifier: TaxonClassifier) -> list[str]:
    notes = []
    choice = recipe.selection
    if choice is not None and not (data.classes.class_counts < choice.tail_shots).any():
        notes.append(
            f"No class has fewer than {choice.tail_shots} training photos, so no batch was "
            "extended with tail images."
        )
    if classifier.calibration.images == 0:
        notes.append("There are no calibration photos: no temperature or threshold was set.")
    notes.extend(
        f"{count} photos of the split {split} were left out: their taxa have no training photo."
        for split, count in data.outside().items()
    )
    return notes
