"""From a recipe's model to its input: how photos are resized and normalised for the backbone."""

import torch

from taxonet.classifier.settings import Preprocessing
from taxonet.data.resizing import ResizeSpec
from taxonet.errors import ConfigError
from taxonet.models import Network, Normalisation, input_config
from taxonet.recipes import ModelRecipe


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


def with_input_of_weights(model: ModelRecipe) -> ModelRecipe:
    """Return a model that says which input its weights were made for, where it left that open.

    Weights lose much of their worth on other pixels than they were trained on. A model of random
    weights is returned as it is.

    Raises:
        ConfigError: An unknown backbone.

    Examples:
        >>> model = ModelRecipe(backbone="efficientnet_lite0.packaged", weights="pretrained")
        >>> resize_spec(with_input_of_weights(model))
        ResizeSpec(size=(224, 224), fit='crop', interpolation='bicubic', crop_share=0.875)
    """
    if model.weights == "none":
        return model
    given = input_config(model.backbone, options=model.options)
    side = given.size[0]
    found = {
        "image_size": side if given.size == (side, side) else given.size,
        "interpolation": given.interpolation,
        "crop_share": given.crop_share,
    }
    missing = {key: value for key, value in found.items() if getattr(model, key) is None}
    return model.model_copy(update=missing)


def preprocessing_of(model: ModelRecipe, network: Network) -> Preprocessing:
    """Return the way from a photo to the input of a network that was built for a model."""
    normalisation = network.normalise
    assert isinstance(normalisation, Normalisation)  # `build_network` has seen to it
    resize = resize_spec(model)
    return Preprocessing(
        image_size=resize.size,
        fit=resize.fit,
        interpolation=resize.interpolation,
        crop_share=resize.crop_share,
        mean=normalisation.mean,
        std=normalisation.std,
        test_crops=model.test_crops,
    )


@torch.no_grad()
def check_image_size(network: Network, model: ModelRecipe) -> None:
    """Show the network one black image: some backbones take one size of images only.

    Raises:
        ConfigError: The network cannot look at images of the model's size.
    """
    height, width = model.input_size
    network.eval()
    try:
        network(torch.zeros(1, 3, height, width))
    except (AssertionError, RuntimeError, ValueError) as error:
        made_for = input_config(model.backbone, options=model.options).size
        raise ConfigError(
            f"The backbone {model.backbone!r} cannot look at images of {height} x "
            f"{width} pixels ({error}): set model.image_size to what it was made for "
            f"({list(made_for)}), or choose another backbone."
        ) from None
    network.train()
