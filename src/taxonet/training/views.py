"""How training sees an image: the views that draws name."""

from taxonet.data.resizing import ResizeSpec
from taxonet.data.transforms import Transform
from taxonet.recipes import ModelRecipe, PartChoice, Recipe
from taxonet.registry import TRANSFORMS

_TAIL = PartChoice(name="augmix")


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


def training_views(recipe: Recipe) -> dict[str, Transform]:
    """Return the transforms of a recipe by view.

    ``train`` is what the recipe asks for, ``tail`` is AugMix (TaxoNet, section 3.3), ``contrast``
    is what a contrastive loss compares, ``second stage`` is what a second stage may learn from,
    and ``plain`` is what prediction does.
    """
    choices = {"train": recipe.augment, "tail": _TAIL, "plain": PartChoice(name="plain")}
    if recipe.contrast is not None:
        choices["contrast"] = recipe.contrast.augment
    if recipe.second_stage is not None and recipe.second_stage.augment is not None:
        choices["second stage"] = recipe.second_stage.augment
    spec = resize_spec(recipe.model)
    return {
        view: TRANSFORMS.build(choice.name, choice.options, spec)
        for view, choice in choices.items()
    }
