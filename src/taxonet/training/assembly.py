"""From a recipe and photos to the parts of a run: network, loss, plan, validation, trainer."""

from hashlib import sha256

from accelerate import Accelerator

from taxonet.data.loading import ImageDataset
from taxonet.data.sampling import BatchPlan, TailExtension
from taxonet.errors import ConfigError, DataError
from taxonet.losses import Loss
from taxonet.models import Network, build_network
from taxonet.models import preprocessing as colours_of
from taxonet.recipes import Recipe, dump_recipe
from taxonet.recipes.verbs import TrainConfig
from taxonet.registry import LOSSES
from taxonet.training.checkpoints import Orders
from taxonet.training.data import TrainingData
from taxonet.training.loop import LoopSettings, Trainer
from taxonet.training.objectives import ClassificationObjective
from taxonet.training.selection import check_selection
from taxonet.training.validation import Validation
from taxonet.training.views import training_views

# Validation keeps no gradients, so that more images fit than in a training batch.
_SMALLEST_VAL_BATCH = 64


def build(recipe: Recipe, data: TrainingData) -> tuple[Network, Loss]:
    """Make the network and the loss of a recipe, and refuse what cannot work together.

    Raises:
        ConfigError: Unknown names or options, a loss on the wrong head, or norm-guided selection
            beside a loss for which the norm has no meaning.
        DataError: There is only one class.
    """
    counts = data.classes.class_counts
    if len(counts) < 2:
        name = data.taxonomy.path_text(int(data.classes.class_nodes[0]))
        raise DataError(
            f"Only one taxon ({name!r}) has training photos; telling taxa apart needs at least two."
        )
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


def make_trainer(
    config: TrainConfig,
    *,
    recipe: Recipe,
    data: TrainingData,
    network: Network,
    loss: Loss,
    accelerator: Accelerator,
    show_progress: bool = False,
) -> Trainer:
    """Put a run together.

    Args:
        config: Folder, resume, workers, limits.
        recipe: How to train.
        data: What to train on.
        network: From `build`.
        loss: Likewise.
        accelerator: Device, precision and process group.
        show_progress: Show progress.
    """
    table, targets = data.split("train")
    colours = colours_of(recipe.model.backbone)
    return Trainer(
        ClassificationObjective(
            network, loss, mean=colours.mean, std=colours.std, selection=recipe.selection
        ),
        recipe=recipe,
        plan=BatchPlan(
            targets.numpy(),
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            tail=_tail_extension(recipe),
        ),
        dataset=ImageDataset(
            table, training_views(recipe), image_size=recipe.model.image_size, seed=recipe.seed
        ),
        targets=targets,
        validation=_validation(recipe, data, accelerator, workers=config.workers),
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
        ImageDataset(table, training_views(recipe), image_size=recipe.model.image_size),
        targets,
        classes=len(data.classes),
        batch_size=max(_SMALLEST_VAL_BATCH, recipe.batch_size),
        mean=colours.mean,
        std=colours.std,
        accelerator=accelerator,
        workers=workers,
    )


def _tail_extension(recipe: Recipe) -> TailExtension | None:
    choice = recipe.selection
    if choice is None:
        return None
    return TailExtension(
        extra=choice.extra, probability=choice.probability, tail_shots=choice.tail_shots
    )


def _orders(recipe: Recipe, data: TrainingData, accelerator: Accelerator) -> Orders:
    return {
        "recipe": sha256(dump_recipe(recipe).encode()).hexdigest(),
        "set of photos": data.digest(),
        "number of processes": accelerator.num_processes,
    }
