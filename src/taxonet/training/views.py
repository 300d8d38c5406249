"""How training sees an image: the views that draws name."""

from taxonet.data.transforms import Transform
from taxonet.recipes import PartChoice, Recipe
from taxonet.registry import TRANSFORMS

_TAIL = PartChoice(name="augmix")


def training_views(recipe: Recipe) -> dict[str, Transform]:
    """Return the transforms of a recipe by view.

    ``train`` is what the recipe asks for, ``tail`` is AugMix (TaxoNet, section 3.3), and ``plain``
    is what prediction does.
    """
    plain = PartChoice(name="plain")
    return {
        "train": _transform(recipe, recipe.augment),
        "tail": _transform(recipe, _TAIL),
        "plain": _transform(recipe, plain),
    }


def _transform(recipe: Recipe, choice: PartChoice) -> Transform:
    model = recipe.model
    fit = {} if model.fit == "crop" else {"fit": model.fit}
    transform: Transform = TRANSFORMS.build(choice.name, fit | choice.options, model.image_size)
    return transform
