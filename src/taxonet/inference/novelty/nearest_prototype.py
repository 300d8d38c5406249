"""How far the nearest class mean is."""

from typing import Literal, Self, get_args

import torch
from torch import Tensor

from taxonet.errors import ConfigError, did_you_mean
from taxonet.inference.novelty.distances import nearest_squared_distance, unit_length
from taxonet.inference.novelty.fitted import ClassMeansNovelty, check_moments
from taxonet.inference.novelty.moments import EmbeddingMoments
from taxonet.registry import FITTED_NOVELTY_SCORES

Distance = Literal["euclidean", "cosine"]


@FITTED_NOVELTY_SCORES.register("nearest_prototype")
class NearestPrototype(ClassMeansNovelty):
    r"""The distance to the nearest class mean.

    .. math:: \min_k \lVert x - \mu_k \rVert \quad \text{or} \quad 1 - \max_k \cos(x, \mu_k)

    A class without training images has no mean and is nobody's nearest. The cosine is in [0, 2]
    as a distance; an embedding of norm 0 has the cosine 0 with everything.

    Args:
        dim: The number d of features of an embedding.
        classes: The number c of classes.
        distance: ``euclidean`` or ``cosine``; the cosine suits cosine heads, for which the norm of
            an embedding says nothing of its class.

    Raises:
        ConfigError: An unknown distance.

    Reference:
        Snell et al., Prototypical Networks for Few-shot Learning, arXiv 1703.05175, eq. 1.

    Examples:
        >>> embeddings = torch.tensor([[0.0, 1.0], [0.0, 3.0], [4.0, 0.0]])
        >>> score = NearestPrototype(2, 2)
        >>> score = score.fit([(embeddings, torch.zeros(3, 2), torch.tensor([0, 0, 1]))])
        >>> score.means.tolist()
        [[0.0, 2.0], [4.0, 0.0]]
        >>> score(torch.tensor([[0.0, 2.5], [4.0, 4.0]]), torch.zeros(2, 2), 1.0).tolist()
        [0.5, 4.0]
    """

    def __init__(self, dim: int, classes: int, *, distance: Distance = "euclidean") -> None:
        super().__init__(dim, classes)
        self.distance = check_distance(distance)

    def fit_moments(self, moments: EmbeddingMoments) -> Self:
        """Take the class means; see `MomentNovelty.fit_moments`."""
        check_moments(moments, dim=self.dim, classes=self.classes)
        self.means.copy_(moments.means)
        self.present.copy_(moments.present)
        return self

    def _novelty(self, embedding: Tensor, logits: Tensor) -> Tensor:
        return distance_to_nearest(embedding, self.means, self.present, distance=self.distance)


def distance_to_nearest(
    points: Tensor, means: Tensor, allowed: Tensor, *, distance: Distance
) -> Tensor:
    """Return how far the nearest allowed mean is, float64 ``(B,)``.

    Args:
        points: float64 ``(B, d)``.
        means: float64 ``(m, d)``.
        allowed: Booleans ``(m,)``, at least one of them True.
        distance: ``euclidean``, or ``cosine`` for one minus the largest cosine.
    """
    if distance == "cosine":
        cosines = unit_length(points) @ unit_length(means).T
        return 1 - cosines.masked_fill(~allowed, -torch.inf).amax(dim=1)
    return nearest_squared_distance(points, means, allowed).sqrt()


def check_distance(distance: Distance) -> Distance:
    """Return the distance, or raise a ConfigError where there is none of that name."""
    known = get_args(Distance)
    if distance not in known:
        raise ConfigError(
            f"There is no distance {distance!r}.{did_you_mean(distance, known)} "
            f"Known: {', '.join(known)}."
        )
    return distance
