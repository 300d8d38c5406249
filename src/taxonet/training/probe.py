"""A head first: trained on features of the backbone as it starts, before all layers train."""

from accelerate import Accelerator

from taxonet.recipes import FeaturesRecipe, Recipe, ScheduleRecipe
from taxonet.recipes.verbs import TrainConfig
from taxonet.training.assembly import make_trainer
from taxonet.training.checkpoints import list_checkpoints
from taxonet.training.data import TrainingData
from taxonet.training.inputs import Inputs
from taxonet.training.tree_loss import TrainingLoss

FOLDER = "probe"
"""Folder of a run where its probe keeps its log and checkpoints."""


def probe_recipe(recipe: Recipe) -> Recipe:
    """Return how the head of a recipe is trained before all layers are.

    The loss and the sampler are those of the recipe; what a batch holds besides its images, and
    what is done late in training, belongs to the training of all layers.
    """
    assert recipe.probe is not None  # the caller has seen to it
    alone = dict.fromkeys(
        (
            "selection",
            "mixing",
            "transfer",
            "contrast",
            "reweighting",
            "second_stage",
            "probe",
            "ema",
        )
    )
    return recipe.model_copy(
        update=alone
        | {
            "features": FeaturesRecipe(),
            "optimiser": recipe.probe.optimiser,
            "schedule": ScheduleRecipe(),
            "epochs": recipe.probe.epochs,
            "batch_size": recipe.probe.batch_size,
            "accumulate": 1,
        }
    )


def train_probe(
    config: TrainConfig,
    recipe: Recipe,
    data: TrainingData,
    inputs: Inputs,
    loss: TrainingLoss,
    accelerator: Accelerator,
    *,
    shown: bool,
) -> None:
    """Train neck and head on stored features, in place; an interrupted probe goes on.

    Args:
        config: Of the run.
        recipe: Of the run; see `probe_recipe` for what the probe takes of it.
        data: Photos and classes.
        inputs: The stored features, and the network of neck and head.
        loss: Of the run; what it learns is learned on.
        accelerator: Device, precision and process group.
        shown: Show progress.
    """
    folder = config.out / FOLDER
    # Once the training of all layers has saved itself, the weights of the probe are in there.
    if list_checkpoints(config.out / "checkpoints"):
        return
    resume = config.resume and bool(list_checkpoints(folder / "checkpoints"))
    make_trainer(
        config.model_copy(update={"out": folder, "resume": resume}),
        recipe=probe_recipe(recipe),
        data=data,
        inputs=inputs,
        loss=loss,
        accelerator=accelerator,
        show_progress=shown,
    ).fit()
    # Or the checkpoints of all layers would hold the probe, too.
    accelerator.free_memory()
