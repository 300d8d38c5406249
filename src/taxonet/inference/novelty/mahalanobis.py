"""How far the nearest class mean is, in units of the spread that all classes share."""

from typing import Self

import torch
from torch import Tensor

from taxonet.inference.novelty.distances import nearest_squared_distance
from taxonet.inference.novelty.fitted import ClassMeansNovelty, check_moments
from taxonet.inference.novelty.moments import EmbeddingMoments
from taxonet.inference.novelty.whitening import whitening
from taxonet.registry import FITTED_NOVELTY_SCORES


@FITTED_NOVELTY_SCORES.register("mahalanobis")
class Mahalanobis(ClassMeansNovelty):
    r"""The squared Mahalanobis distance to the nearest class mean, with one shared covariance.

    .. math:: \min_k (x - \mu_k)^\top \Sigma^{-1} (x - \mu_k), \quad
        \Sigma = \frac{1}{N} \sum_k \sum_{i: y_i = k} (x_i - \mu_k)(x_i - \mu_k)^\top

    The covariance is shrunk towards the scaled identity, by a share that goes to 0 as images
    become many, so that fewer images than features work too; see `whitening`. Of the paper this
    is the score of one layer; its ensemble of layers and its perturbed inputs are left out.

    Args:
        dim: The number d of features of an embedding.
        classes: The number c of classes.
        shrinkage: The share in [0, 1] of the scaled identity; None finds it from the number of
            images (`oas_shrinkage`), 0 is the paper's covariance and needs more images than
            features.

    Raises:
        ConfigError: A share outside [0, 1], when fitted.

    Reference:
        Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and
        Adversarial Attacks, arXiv 1807.03888, eq. 1 and 2.

    Examples:
        >>> embeddings = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [10.0, -1.0], [10.0, 1.0]])
        >>> score = Mahalanobis(2, 2, shrinkage=0.0)
        >>> score = score.fit([(embeddings, torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]))])
        >>> # Variances 2 and 0.5; 4 along the first is as far as 2 along the second.
        >>> score(torch.tensor([[-4.0, 0.0], [10.0, 2.0]]), torch.zeros(2, 2), 1.0)
        tensor([8., 8.])
    """

    centre: Tensor
    whitening: Tensor

    def __init__(self, dim: int, classes: int, *, shrinkage: float | None = None) -> None:
        super().__init__(dim, classes)
        self.shrinkage = shrinkage
        # The means are less the centre, in the coordinates where the covariance is the identity.
        self.register_buffer("centre", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("whitening", torch.zeros(dim, dim, dtype=torch.float64))

    def fit_moments(self, moments: EmbeddingMoments) -> Self:
        """Take the class means and the shared covariance; see `MomentNovelty.fit_moments`."""
        check_moments(moments, dim=self.dim, classes=self.classes)
        matrix = whitening(
            moments.scatter,
            images=moments.total,
            degrees=moments.total - int(moments.present.sum()),
            shrinkage=self.shrinkage,
        )
        self.centre.copy_(moments.mean)
        self.whitening.copy_(matrix)
        self.means.copy_((moments.means - moments.mean) @ matrix)
        self.present.copy_(moments.present)
        return self

    def _novelty(self, embedding: Tensor, logits: Tensor) -> Tensor:
        white = (embedding - self.centre) @ self.whitening
        return nearest_squared_distance(white, self.means, self.present)
