"""From a recipe, photos and a network to the trainer of a run: plan, views, validation."""

from hashlib import sha256

from accelerate import Accelerator

from taxonet.classifier.reading import reading_of
from taxonet.data.samplers import ReversedSampler, Sampler
from taxonet.data.sampling import BatchPlan, TailExtension
from taxonet.devices import pick_workers
from taxonet.recipes import Recipe, dump_recipe
from taxonet.recipes.verbs import TrainConfig
from taxonet.registry import SAMPLERS
from taxonet.training.checkpoints import Orders
from taxonet.training.data import TrainingData
from taxonet.training.inputs import Inputs
from taxonet.training.loop import LoopSettings, Trainer
from taxonet.training.objectives import build_objective
from taxonet.training.objectives.contrast import VIEWS
from taxonet.training.reweighting import Reweighting
from taxonet.training.tree_loss import TrainingLoss
from taxonet.training.validation import Validation

# Validation keeps no gradients, so that more images fit than in a training batch.
_SMALLEST_VAL_BATCH = 64

# Two threads take 1.6 times as long as one for 64 features of 1,280 dimensions and 102 classes.
_PRODUCTS_WORTH_THREADS = 100_000_000


def make_trainer(
    config: TrainConfig,
    *,
    recipe: Recipe,
    data: TrainingData,
    inputs: Inputs,
    loss: TrainingLoss,
    accelerator: Accelerator,
    show_progress: bool = False,
) -> Trainer:
    """Put a run together.

    Args:
        config: Folder, resume, workers, limits.
        recipe: How to train.
        data: What to train on.
        inputs: What is trained, and what it draws from.
        loss: What it is trained with.
        accelerator: Device, precision and process group.
        show_progress: Show progress.
    """
    _, targets = data.split("train")
    return Trainer(
        build_objective(
            recipe,
            inputs.network,
            loss,
            data=data,
            accelerator=accelerator,
            stored=inputs.stored,
        ),
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
        source=inputs.train,
        targets=targets,
        validation=_validation(recipe, data, inputs, accelerator, asked_workers=config.workers),
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
            workers=pick_workers(config.workers, len(inputs.train)),
            minutes_between_checkpoints=config.checkpoint_minutes,
            broken_share=config.broken_share,
            tensorboard=config.tensorboard,
            show_progress=show_progress,
            threads=_threads(recipe, inputs, accelerator),
        ),
        accelerator=accelerator,
    )


def _threads(recipe: Recipe, inputs: Inputs, accelerator: Accelerator) -> int | None:
    """Return 1 where a step on features is so small that threads would wait longer than work."""
    if recipe.features is None or accelerator.device.type != "cpu":
        return None
    products = recipe.batch_size * inputs.network.head.weight.numel()
    return 1 if products < _PRODUCTS_WORTH_THREADS else None


def _validation(
    recipe: Recipe,
    data: TrainingData,
    inputs: Inputs,
    accelerator: Accelerator,
    *,
    asked_workers: int | None,
) -> Validation | None:
    if inputs.val is None:
        return None
    _, targets = data.split("val")
    return Validation(
        inputs.val,
        targets,
        reading=reading_of(
            recipe, data.taxonomy, data.classes.class_nodes, data.classes.class_counts
        ),
        batch_size=max(_SMALLEST_VAL_BATCH, recipe.batch_size),
        accelerator=accelerator,
        workers=pick_workers(asked_workers, len(inputs.val)),
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
