"""Class means and the shared scatter of embeddings, gathered batch by batch."""

from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor

from taxonet.errors import ConfigError, DataError


class EmbeddingMoments:
    r"""Images, mean and shared scatter of the classes, in float64 and of O(c d + d^2) memory.

    .. math:: W = \sum_k \sum_{i: y_i = k} (x_i - \mu_k)(x_i - \mu_k)^\top

    A batch is taken in by the differences between its means and those so far, so that nothing
    large is subtracted from something large; the result depends on the order of the images and
    on where batches end only by rounding.

    Args:
        classes: The number c of classes.
        dim: The number d of features of an embedding.
        device: Where the moments live.

    Attributes:
        images: int64 ``(c,)``, images of each class.
        means: float64 ``(c, d)``, the mean embedding of each class; 0 where it has no image.
        scatter: float64 ``(d, d)``, W: within the classes, not divided by anything.

    Raises:
        ConfigError: A size below 1.

    Reference:
        Chan, Golub and LeVeque 1983, Algorithms for Computing the Sample Variance, eq. 2.1.

    Examples:
        >>> moments = EmbeddingMoments(2, 1)
        >>> moments.update(torch.tensor([[1.0], [5.0]]), torch.tensor([0, 1]))
        >>> moments.update(torch.tensor([[3.0]]), torch.tensor([0]))
        >>> moments.images.tolist(), moments.means.tolist(), moments.mean.tolist()
        ([2, 1], [[2.0], [5.0]], [3.0])
        >>> [round(scatter.item(), 6) for scatter in (moments.scatter, moments.total_scatter)]
        [2.0, 8.0]
    """

    def __init__(self, classes: int, dim: int, *, device: torch.device | str = "cpu") -> None:
        if classes < 1 or dim < 1:
            raise ConfigError(
                f"Moments need at least 1 class and 1 feature, but got {classes} and {dim}."
            )
        self.classes, self.dim = classes, dim
        self.images = torch.zeros(classes, dtype=torch.int64, device=device)
        self.means = torch.zeros(classes, dim, dtype=torch.float64, device=device)
        self.scatter = torch.zeros(dim, dim, dtype=torch.float64, device=device)

    @classmethod
    def of(
        cls,
        batches: Iterable[tuple[Tensor, Tensor, Tensor]],
        *,
        classes: int,
        dim: int,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Gather the moments of batches ``(embeddings, logits, targets)``; see `update`.

        Raises:
            DataError: Not a single image, or what `update` refuses.
        """
        moments = cls(classes, dim, device=device)
        for embeddings, _, targets in batches:
            moments.update(embeddings, targets)
        if moments.total == 0:
            raise DataError("Expected the embeddings of at least one training image, got none.")
        return moments

    @torch.no_grad()
    def update(self, embeddings: Tensor, targets: Tensor) -> None:
        """Take in a batch.

        Args:
            embeddings: Finite floats ``(B, d)``, before normalisation, on any device.
            targets: Integers ``(B,)``, the class of each image, 0 to c - 1.

        Raises:
            DataError: Shapes that do not fit, a class out of range, values that are not finite.
        """
        check_embeddings(embeddings, self.dim)
        check_targets(targets, images=len(embeddings), classes=self.classes)
        if len(embeddings) == 0:
            return
        wide = embeddings.to(self.means.device).double()
        classes = targets.to(self.means.device).long()
        counts = classes.bincount(minlength=self.classes)
        present = counts.nonzero()[:, 0]
        place = torch.searchsorted(present, classes)
        images = counts[present]
        sums = wide.new_zeros(len(present), self.dim).index_add(0, place, wide)
        means = sums / images[:, None]
        within = wide - means[place]
        self._take_in(present, images=images, means=means, scatter=within.T @ within)

    @torch.no_grad()
    def merge(self, other: "EmbeddingMoments") -> None:
        """Take in the moments of other images, such as another process's.

        Raises:
            DataError: Another number of classes or features.
        """
        if other.means.shape != self.means.shape:
            raise DataError(
                f"Expected moments of {self.classes} classes and {self.dim} features, got "
                f"{other.classes} and {other.dim}."
            )
        device = self.means.device
        present = other.images.nonzero()[:, 0]
        self._take_in(
            present.to(device),
            images=other.images[present].to(device),
            means=other.means[present].to(device),
            scatter=other.scatter.to(device),
        )

    @property
    def total(self) -> int:
        """Images of all classes."""
        return int(self.images.sum())

    @property
    def present(self) -> Tensor:
        """Which classes have images, bool ``(c,)``."""
        return self.images > 0

    @property
    def mean(self) -> Tensor:
        """The mean of all images, float64 ``(d,)``; 0 without images."""
        return self.images.double() @ self.means / max(self.total, 1)

    @property
    def total_scatter(self) -> Tensor:
        """The scatter about the mean of all images, within and between classes, ``(d, d)``."""
        return self.scatter_about(self.mean)

    def scatter_about(self, point: Tensor) -> Tensor:
        """Return ``sum_i (x_i - p)(x_i - p)^T`` over all images, float64 ``(d, d)``."""
        away = (self.means - point) * self.images[:, None].double().sqrt()
        return self.scatter + away.T @ away

    def _take_in(self, present: Tensor, *, images: Tensor, means: Tensor, scatter: Tensor) -> None:
        """Add images of distinct classes ``present (p,)``, with their means and scatter."""
        share = (images.double() / (self.images[present] + images))[:, None]  # of what is new
        gap = means - self.means[present]
        away = gap * (self.images[present][:, None] * share).sqrt()
        self.scatter += scatter + away.T @ away
        self.means[present] += gap * share
        self.images[present] += images


def check_embeddings(embeddings: Tensor, dim: int) -> None:
    """Raise a DataError unless these are finite embeddings ``(B, dim)``."""
    if embeddings.ndim != 2 or embeddings.shape[1] != dim or not embeddings.is_floating_point():
        raise DataError(
            f"Expected embeddings as floats (B, {dim}), got {embeddings.dtype} of shape "
            f"{tuple(embeddings.shape)}."
        )
    broken = (~embeddings.isfinite().all(dim=1)).nonzero()[:, 0].tolist()
    if broken:
        raise DataError(
            f"Expected finite embeddings, but {len(broken)} rows of the batch hold NaN or "
            f"infinity, the first is row {broken[0]}. Leave such images out."
        )


def check_targets(targets: Tensor, *, images: int, classes: int) -> None:
    """Raise a DataError unless these are the classes ``(B,)`` of as many images."""
    if targets.shape != (images,) or targets.dtype.is_floating_point:
        raise DataError(
            f"Expected targets as integers ({images},), one for each embedding, got "
            f"{targets.dtype} of shape {tuple(targets.shape)}."
        )
    if images and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        raise DataError(
            f"Expected targets from 0 to {classes - 1}, got {int(targets.min())} to "
            f"{int(targets.max())}."
        )
