"""How training sees an image: the views that draws name."""

from taxonet.classifier import resize_spec
from taxonet.classifier.model_input import with_input_of_weights as input_of_weights
from taxonet.data.transforms import Transform
from taxonet.recipes import PartChoice, Recipe
from taxonet.registry import TRANSFORMS

TAIL = PartChoice(name="augmix")
"""What tail candidates are seen through (TaxoNet, section 3.3)."""


def with_input_of_weights(recipe: Recipe) -> Recipe:
    """Return a recipe that says which input its weights were made for, where it left that open."""
    return recipe.model_copy(update={"model": input_of_weights(recipe.model)})


def training_views(recipe: Recipe) -> dict[str, Transform]:
    """Return the transforms of a recipe by view.

    ``train`` is what the recipe asks for, ``tail`` is AugMix (TaxoNet, section 3.3), ``contrast``
    is what a contrastive loss compares, ``second stage`` is what a second stage may learn from,
    and ``plain`` is what prediction does.
    """
    choices = {"train": recipe.augment, "tail": TAIL, "plain": PartChoice(name="plain")}
    if recipe.contrast is not None:
        choices["contrast"] = recipe.contrast.augment
    if recipe.second_stage is not None and recipe.second_stage.augment is not None:
        choices["second stage"] = recipe.second_stage.augment
    return {view: transform_of(recipe, choice) for view, choice in choices.items()}


def transform_of(recipe: Recipe, choice: PartChoice) -> Transform:
    """Return a transform to the input of the recipe's model."""
    transform: Transform = TRANSFORMS.build(choice.name, choice.options, resize_spec(recipe.model))
    return transform
