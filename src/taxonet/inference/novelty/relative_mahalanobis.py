"""How much farther the nearest class mean is than the mean of everything known."""

from typing import Self

import torch
from torch import Tensor

from taxonet.inference.novelty.mahalanobis import Mahalanobis
from taxonet.inference.novelty.moments import EmbeddingMoments
from taxonet.inference.novelty.whitening import whitening
from taxonet.registry import FITTED_NOVELTY_SCORES


@FITTED_NOVELTY_SCORES.register("relative_mahalanobis")
class RelativeMahalanobis(Mahalanobis):
    r"""The Mahalanobis distance to the nearest class, less that to one Gaussian of all images.

    .. math:: \min_k (x - \mu_k)^\top \Sigma^{-1} (x - \mu_k)
        - (x - \mu_0)^\top \Sigma_0^{-1} (x - \mu_0)

    with the mean and covariance of all images whatever their class. Directions in which known
    classes do not differ say nothing of a near relative, and cancel. Each covariance is shrunk by
    its own share. With one class both are one Gaussian and the score is 0 for every image.

    Args:
        dim: The number d of features of an embedding.
        classes: The number c of classes.
        shrinkage: As of `Mahalanobis`, for both covariances.

    Raises:
        ConfigError: A share outside [0, 1], when fitted.

    Reference:
        Ren et al., A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection,
        arXiv 2106.09022, eq. 1 to 3.

    Examples:
        >>> embeddings = torch.tensor([[-5.0, -1.0], [-3.0, 1.0], [3.0, -1.0], [5.0, 1.0]])
        >>> embeddings = torch.cat([embeddings, embeddings * torch.tensor([1.0, -1.0])])
        >>> targets = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
        >>> score = RelativeMahalanobis(2, 2, shrinkage=0.0)
        >>> score = score.fit([(embeddings, torch.zeros(8, 2), targets)])
        >>> # Variances within 1 and 1, of all 17 and 1: 16 - 0, and 49 - (16 / 17 + 49).
        >>> score(torch.tensor([[0.0, 0.0], [4.0, 7.0]]), torch.zeros(2, 2), 1.0)
        tensor([16.0000, -0.9412])
    """

    background: Tensor

    def __init__(self, dim: int, classes: int, *, shrinkage: float | None = None) -> None:
        super().__init__(dim, classes, shrinkage=shrinkage)
        #: Makes the covariance of all images the identity.
        self.register_buffer("background", torch.zeros(dim, dim, dtype=torch.float64))

    def fit_moments(self, moments: EmbeddingMoments) -> Self:
        """Take the Gaussian of all images too; see `MomentNovelty.fit_moments`."""
        super().fit_moments(moments)
        matrix = whitening(
            moments.total_scatter,
            images=moments.total,
            degrees=moments.total - 1,
            shrinkage=self.shrinkage,
        )
        self.background.copy_(matrix)
        return self

    def _novelty(self, embedding: Tensor, logits: Tensor) -> Tensor:
        of_all = ((embedding - self.centre) @ self.background).square().sum(dim=1)
        return super()._novelty(embedding, logits) - of_all
