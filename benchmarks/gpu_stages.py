"""Second stages on a trained row: a new head on the embeddings of the images as they are."""

import torch
from torch import Tensor

from benchmarks.gpu_capture import on_stream
from benchmarks.gpu_training import RowTraining
from taxonet.errors import ConfigError
from taxonet.recipes import load_recipe
from taxonet.registry import SECOND_STAGES
from taxonet.training.second_stage import CachedEmbeddings, SecondStage


def stage_correct(training: RowTraining, recipe: str) -> Tensor:
    """Fit the second stage of a recipe; return the correct test images of each class ``(c,)``.

    The row stays as it is.

    Raises:
        ConfigError: The recipe has no second stage, or one that augments its images.
    """
    choice = load_recipe(recipe).second_stage
    if choice is None or choice.augment is not None:
        raise ConfigError(f"{recipe!r} names no second stage on images as they are.")
    stage: SecondStage = SECOND_STAGES.build(choice.stage.name, choice.stage.options)
    images = training.images
    with on_stream(training.stream):
        head = stage.fit(
            CachedEmbeddings(embedded(training, images.train_images), images.train_targets),
            head=training.network.head,
            class_counts=images.class_counts,
            seed=training.recipe.seed,
        )
        with torch.no_grad():
            guessed = head(embedded(training, images.test_images)).argmax(1)
        hits = images.test_targets[guessed == images.test_targets]
        return torch.bincount(hits, minlength=head.classes)


@torch.no_grad()
def embedded(training: RowTraining, pixels: Tensor) -> Tensor:
    """Return the embeddings of uint8 images ``(N, d)``, in float32, as prediction sees them."""
    training.network.eval()
    batches = torch.split(pixels, training.options.test_batch)
    return torch.cat([training.look(batch).embedding.float() for batch in batches])
