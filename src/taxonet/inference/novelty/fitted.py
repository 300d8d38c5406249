"""What all scores share that are fitted to the embeddings of training images."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError, DataError
from taxonet.inference.novelty.moments import EmbeddingMoments

#: Embeddings ``(B, d)`` before normalisation, logits ``(B, c)`` (scale times scores) and classes
#: ``(B,)`` of training images. ViM reads them twice: a list or a data loader, no generator.
EmbeddingBatches = Iterable[tuple[Tensor, Tensor, Tensor]]


class FittedNovelty(nn.Module, ABC):
    """A novelty score with a state: fit it once, then call it as any other score.

    What was fitted is in buffers, so that ``state_dict`` holds all of it and a score made with the
    same sizes and options and loaded from it is fitted. Everything is computed in float64 on the
    device of the buffers, whatever the precision and device of the embeddings.

    Args:
        dim: The number d of features of an embedding.
        classes: The number c of classes.

    Raises:
        ConfigError: A size below 1.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        if dim < 1 or classes < 1:
            raise ConfigError(
                f"A fitted score needs at least 1 feature and 1 class, but got {dim}, {classes}."
            )
        self.dim, self.classes = dim, classes

    @abstractmethod
    def fit(self, batches: EmbeddingBatches) -> Self:
        """Learn what is known from the training images, forgetting what was fitted before.

        Raises:
            DataError: No images, shapes that do not fit, classes out of range, or values that
                are not finite.
        """

    @property
    @abstractmethod
    def is_fitted(self) -> bool:
        """Whether the score has been fitted or loaded."""

    @abstractmethod
    def _novelty(self, embedding: Tensor, logits: Tensor) -> Tensor:
        """Score float64 embeddings ``(B, d)`` and logits ``(B, c)``."""

    def forward(self, embedding: Tensor, scores: Tensor, scale: float) -> Tensor:
        """Return the novelty ``(B,)``; higher is more novel.

        Args:
            embedding: Floats ``(B, d)``, before normalisation.
            scores: Floats ``(B, c)``, logits or cosines without margin or prior.
            scale: The factor that turns scores into logits (1 for a linear head).

        Returns:
            float32, float64 for float64 embeddings, on the device of the embeddings.

        Raises:
            DataError: The score has not been fitted, or embeddings of another size.
        """
        check_scored(embedding, self.dim, fitted=self.is_fitted, what=type(self).__name__)
        device = next(self.buffers()).device
        # Moved before raised: not every device computes in float64.
        novelty = self._novelty(embedding.to(device).double(), scale * scores.to(device).double())
        return as_novelty(novelty, embedding)


class MomentNovelty(FittedNovelty):
    """A score that needs no more than the moments of the classes; several can share them."""

    def fit(self, batches: EmbeddingBatches) -> Self:
        """Gather the moments of the batches and fit to them; see `FittedNovelty.fit`."""
        device = next(self.buffers()).device
        return self.fit_moments(
            EmbeddingMoments.of(batches, classes=self.classes, dim=self.dim, device=device)
        )

    @abstractmethod
    def fit_moments(self, moments: EmbeddingMoments) -> Self:
        """Fit to moments of at least one image.

        Raises:
            DataError: Moments of other sizes, or of no image.
        """


class ClassMeansNovelty(MomentNovelty):
    """A score that measures from the means of the classes that have any image."""

    means: Tensor
    present: Tensor

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__(dim, classes)
        self.register_buffer("means", torch.zeros(classes, dim, dtype=torch.float64))
        self.register_buffer("present", torch.zeros(classes, dtype=torch.bool))

    @property
    def is_fitted(self) -> bool:
        """Whether any class has a mean."""
        return bool(self.present.any())


def check_moments(moments: EmbeddingMoments, *, dim: int, classes: int) -> None:
    """Raise a DataError unless the moments are of these sizes and of at least one image."""
    if (moments.dim, moments.classes) != (dim, classes):
        raise DataError(
            f"Expected moments of {classes} classes and {dim} features, got {moments.classes} and "
            f"{moments.dim}."
        )
    if moments.total == 0:
        raise DataError("Expected moments of at least one image; call update first.")


def check_scored(embedding: Tensor, dim: int, *, fitted: bool, what: str) -> None:
    """Raise a DataError unless a fitted score can take these embeddings."""
    if not fitted:
        raise DataError(f"{what} has not been fitted yet: call fit, or load a state, first.")
    if embedding.ndim != 2 or embedding.shape[1] != dim:
        raise DataError(f"Expected embeddings (B, {dim}), got shape {tuple(embedding.shape)}.")


def as_novelty(novelty: Tensor, embedding: Tensor) -> Tensor:
    """Return the novelty in the precision and on the device that the caller expects."""
    wide = embedding.dtype == torch.float64
    return novelty.to(torch.float64 if wide else torch.float32).to(embedding.device)
