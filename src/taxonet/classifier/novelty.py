"""The novelty score of a classifier: of its outputs, or fitted to the photos it was trained on."""

import torch
from torch import Tensor
from torch.nn import functional as F

from taxonet.classifier.reading import Reading
from taxonet.classifier.settings import Calibration
from taxonet.errors import ConfigError
from taxonet.inference.novelty import FittedNovelty
from taxonet.recipes import PartChoice
from taxonet.registry import FITTED_NOVELTY_SCORES, NOVELTY_SCORES


def output_novelty(name: str, reading: Reading, embedding: Tensor, logits: Tensor) -> Tensor:
    """Return a registered score of outputs, ``(B,)``; higher is more novel.

    Args:
        name: The score.
        reading: What the logits of the head mean.
        embedding: Before normalisation, ``(B, d)``.
        logits: Of the head, ``(B, s)``.
    """
    found: Tensor = NOVELTY_SCORES.get(name)(embedding, reading.novelty_logits(logits), 1.0)
    return found


def fitted_novelty(
    score: FittedNovelty, reading: Reading, embedding: Tensor, logits: Tensor
) -> Tensor:
    """Return a fitted score, ``(B,)``; higher is more novel. See `output_novelty`."""
    found: Tensor = score(embedding, logits_of_classes(reading, logits), 1.0)
    return found


def logits_of_classes(reading: Reading, logits: Tensor) -> Tensor:
    """Return what a fitted score takes as the logits of the classes, ``(B, c)``.

    In a head of leaves, classes above other classes have no logit: there are as many columns of
    minus infinity, which change neither the largest logit nor the sum of exponentials.
    """
    known = reading.novelty_logits(logits)
    return F.pad(known, (0, len(reading.class_nodes) - known.shape[1]), value=-torch.inf)


def check_novelty_score(calibration: Calibration, fitted: FittedNovelty | None) -> None:
    """Raise a ConfigError where the calibration names a fitted score that is not there."""
    name = calibration.novelty_score
    if name not in FITTED_NOVELTY_SCORES.names():
        return
    there = "none" if fitted is None else choice_of(fitted).name
    if there != name:
        raise ConfigError(
            f"The novelty score {name!r} is fitted to embeddings of training photos, and the "
            f"fitted score of this classifier is {there}. `with_novelty_score` fits it."
        )


def choice_of(fitted: FittedNovelty) -> PartChoice:
    """Return the name and options that a fitted score was made with."""
    registry = FITTED_NOVELTY_SCORES
    (name,) = (name for name in registry.names() if registry.get(name) is type(fitted))
    options = {option: getattr(fitted, option) for option in registry.options(name).model_fields}
    return PartChoice(name=name, **options)
