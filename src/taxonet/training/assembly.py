"""From a recipe, photos and a network to the trainer of a run: plan, views, validation."""

from hashlib import sha256

from accelerate import Accelerator

from taxonet.classifier.reading import reading_of
from taxonet.data.loading import ImageDataset
from taxonet.data.samplers import ReversedSampler, Sampler
from taxonet.data.sampling import BatchPlan, TailExtension
from taxonet.models import Network
from taxonet.models import preprocessing as colours_of
from taxonet.recipes import Recipe, dump_recipe
from taxonet.recipes.verbs import TrainConfig
from taxonet.registry import SAMPLERS
from taxonet.training.checkpoints import Orders
from taxonet.training.data import TrainingData
from taxonet.training.loop import LoopSettings, Trainer
from taxonet.training.objectives import build_objective
from taxonet.training.objectives.contrast import VIEWS
from taxonet.training.reweighting import Reweighting
from taxonet.training.tree_loss import TrainingLoss
from taxonet.training.validation import Validation
from taxonet.training.views import training_views

# Validation keeps no gradients, so that more images fit than in a training batch.
_SMALLEST_VAL_BATCH = 64


def make_trainer(
    config: TrainConfig,
    *,
    recipe: Recipe,
    data: TrainingData,
    network: Network,
    loss: TrainingLoss,
    accelerator: Accelerator,
    show_progress: bool = False,
) -> Trainer:
    """Put a run together.

    Args:
        config: Folder, resume, workers, limits.
        recipe: How to train.
        data: What to train on.
        network: What is trained.
        loss: What it is trained with.
        accelerator: Device, precision and process group.
        show_progress: Show progress.
    """
    table, targets = data.split("train")
    return Trainer(
        build_objective(recipe, network, loss, data=data, accelerator=accelerator),
        recipe=recipe,
        plan=BatchPlan(
            targets.numpy(),
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            epochs=recipe.epochs,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            sampler=SAMPLERS.build(recipe.sampler.name, recipe.sampler.options),
            tail=tail_extension(recipe),
            twin=twin_sampler(recipe),
            further_views=VIEWS if recipe.contrast is not None else (),
        ),
        dataset=ImageDataset(table, training_views(recipe), seed=recipe.seed),
        targets=targets,
        validation=_validation(recipe, data, accelerator, workers=config.workers),
        reweighting=(
            None
            if recipe.reweighting is None
            else Reweighting(
                loss,
                data.classes.class_counts,
                choice=recipe.reweighting,
                epochs=recipe.epochs,
            )
        ),
        settings=LoopSettings(
            folder=config.out,
            orders=_orders(recipe, data, accelerator),
            resume=config.resume,
            workers=config.workers,
            minutes_between_checkpoints=config.checkpoint_minutes,
            broken_share=config.broken_share,
            tensorboard=config.tensorboard,
            show_progress=show_progress,
        ),
        accelerator=accelerator,
    )


def _validation(
    recipe: Recipe, data: TrainingData, accelerator: Accelerator, *, workers: int
) -> Validation | None:
    table, targets = data.split("val")
    if not len(table):
        return None
    colours = colours_of(recipe.model.backbone)
    return Validation(
        ImageDataset(table, training_views(recipe)),
        targets,
        reading=reading_of(
            recipe, data.taxonomy, data.classes.class_nodes, data.classes.class_counts
        ),
        batch_size=max(_SMALLEST_VAL_BATCH, recipe.batch_size),
        mean=colours.mean,
        std=colours.std,
        accelerator=accelerator,
        workers=workers,
    )


def tail_extension(recipe: Recipe) -> TailExtension | None:
    """Return the tail images that a recipe adds to its batches."""
    choice = recipe.selection
    if choice is None:
        return None
    return TailExtension(
        extra=choice.extra, probability=choice.probability, tail_shots=choice.tail_shots
    )


def twin_sampler(recipe: Recipe) -> Sampler | None:
    """Return the sampler of the second batch of each step, where a recipe has one."""
    if recipe.mixing is not None and recipe.mixing.name == "cmo":
        return ReversedSampler()
    if recipe.transfer is not None:
        choice = recipe.transfer.tail_sampler
        sampler: Sampler = SAMPLERS.build(choice.name, choice.options)
        return sampler
    return None


def _orders(recipe: Recipe, data: TrainingData, accelerator: Accelerator) -> Orders:
    return {
        "recipe": sha256(dump_recipe(recipe).encode()).hexdigest(),
        "set of photos": data.digest(),
        "number of processes": accelerator.num_processes,
    }
