"""How training sees an image: the views that draws name."""

from taxonet.data.transforms import Transform
from taxonet.errors import ConfigError
from taxonet.recipes import PartChoice, Recipe
from taxonet.registry import TRANSFORMS

TAIL = PartChoice(name="augmix")
"""What tail candidates are seen through (TaxoNet, section 3.3)."""


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
    """Return a transform to the input of the recipe's model.

    Raises:
        ConfigError: Photos of any shape for a transform of square images.
    """
    model = recipe.model
    fit = {} if model.fit == "crop" else {"fit": model.fit}
    if fit and "fit" not in TRANSFORMS.options(choice.name).model_fields:
        raise ConfigError(
            f"model.fit={model.fit} is for photos of any shape, and {choice.name!r} takes images "
            "that are square already: leave model.fit out, or choose another transform."
        )
    transform: Transform = TRANSFORMS.build(choice.name, fit | choice.options, model.image_size)
    return transform
