"""How training sees an image: the views that draws name."""

from taxonet.data.resizing import ResizeSpec
from taxonet.data.transforms import Transform
from taxonet.models import input_config
from taxonet.recipes import ModelRecipe, PartChoice, Recipe
from taxonet.registry import TRANSFORMS

TAIL = PartChoice(name="augmix")
"""What tail candidates are seen through (TaxoNet, section 3.3)."""


def resize_spec(model: ModelRecipe) -> ResizeSpec:
    """Return how photos become the input of a model; prediction resizes them in the same way.

    Examples:
        >>> resize_spec(ModelRecipe(image_size=(614, 512), crop_share=0.875))
        ResizeSpec(size=(614, 512), fit='crop', interpolation='bilinear', crop_share=0.875)
    """
    return ResizeSpec(
        size=model.input_size,
        fit=model.fit,
        interpolation="bilinear" if model.interpolation is None else model.interpolation,
        crop_share=1.0 if model.crop_share is None else model.crop_share,
    )


def with_input_of_weights(recipe: Recipe) -> Recipe:
    """Return a recipe that says which input its weights were made for, where it left that open.

    Weights lose much of their worth on other pixels than they were trained on.
    """
    model = recipe.model
    if model.weights == "none":
        return recipe
    given = input_config(model.backbone, options=model.options)
    side = given.size[0]
    found = {
        "image_size": side if given.size == (side, side) else given.size,
        "interpolation": given.interpolation,
        "crop_share": given.crop_share,
    }
    missing = {key: value for key, value in found.items() if getattr(model, key) is None}
    return recipe.model_copy(update={"model": model.model_copy(update=missing)})


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
