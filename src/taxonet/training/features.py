"""What can be learned from stored features, and what needs the photos themselves."""

from collections.abc import Iterator

from taxonet.errors import ConfigError
from taxonet.recipes import Recipe, TransferRecipe
from taxonet.registry import EXPERT_LOSSES

_INSTEAD = (
    "`features` learns from embeddings that were made once, and {reason}. Train on the photos: set "
    "features to null, or start from `finetune` or `tiny` in the place of `quick` "
    "(extends: [finetune, ...])."
)

#: Options of `transfer` that mean nothing where there are no feature maps, and what they are about.
_OF_MAPS = {
    "layer": "a layer of the backbone",
    "momentum": "statistics that run along with the batches",
    "normalise": "the softmax between channels of feature maps",
    "tau": "the softmax between channels of feature maps",
    "weight_max": "weights of tail images other than 1",
    "weight_min": "weights of tail images other than 1",
}


def check_features(recipe: Recipe) -> None:
    """Raise a ConfigError where a recipe learns from stored features what needs photos.

    Raises:
        ConfigError: The reason, and what to do.
    """
    if recipe.features is None:
        return
    for reason in _reasons(recipe):
        raise ConfigError(_INSTEAD.format(reason=reason))


def _reasons(recipe: Recipe) -> Iterator[str]:
    """Yield why a recipe needs photos, most telling first."""
    model, mixing, stage = recipe.model, recipe.mixing, recipe.second_stage
    if recipe.loss.name in EXPERT_LOSSES.names() or model.experts > 1:
        yield f"several experts, as of the loss {recipe.loss.name!r}, are several backbones"
    if recipe.words is not None or recipe.loss.name == "image_text":
        yield "names of taxa are learned with the image tower of a CLIP model"
    if model.adapter is not None:
        yield f"the adapter {model.adapter.name!r} changes the backbone"
    if recipe.contrast is not None:
        yield "a contrastive loss compares augmented views of each photo under a changing backbone"
    if mixing is not None and mixing.name != "mixup":
        yield f"{mixing.name} pastes pixels of one photo into another (mixup works on embeddings)"
    if stage is not None and stage.augment is not None:
        yield "second_stage.augment changes photos (features.views stores augmented views)"
    choice = recipe.selection
    if choice is not None and choice.keep == "lowest_norm" and model.neck == "none":
        yield (
            "no loss shapes their norms, by which images are selected (set model.neck to linear, "
            "or selection.keep to random)"
        )
    for name in sorted(_OF_MAPS):
        if recipe.transfer is not None and _is_changed(recipe.transfer, name):
            yield (
                f"transfer.{name}={getattr(recipe.transfer, name)!r} is about {_OF_MAPS[name]}, "
                "which SMART on embeddings does not have (leave it out)"
            )
    if model.test_crops != 1:
        yield f"test_crops={model.test_crops} averages scores over several looks at a photo"


def _is_changed(choice: TransferRecipe, name: str) -> bool:
    """Say whether an option has another value than its default.

    Whether it was given does not tell: a recipe that a run wrote gives every option.
    """
    is_other: bool = getattr(choice, name) != TransferRecipe.model_fields[name].default
    return is_other
