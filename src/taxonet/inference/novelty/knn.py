"""How far the k-th nearest training image is."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from taxonet.errors import ConfigError, DataError
from taxonet.inference.novelty.distances import unit_length
from taxonet.inference.novelty.fitted import EmbeddingBatches, FittedNovelty
from taxonet.inference.novelty.moments import check_embeddings
from taxonet.registry import FITTED_NOVELTY_SCORES

# Distances of so many images to so many training images are held at a time: 32 MB in float64.
_IMAGES_AT_ONCE = 1024
_NEIGHBOURS_AT_ONCE = 4096


@FITTED_NOVELTY_SCORES.register("knn")
class NearestNeighbours(FittedNovelty):
    r"""The Euclidean distance to the k-th nearest training image, all at unit length.

    .. math:: \lVert z - z_{(k)} \rVert, \quad z = x / \lVert x \rVert

    in [0, 2]. It assumes nothing about the shape of classes, and reads every training image for
    every answer: exact, block by block, in O(N d) time an image. The embeddings are kept at unit
    length as float32, N d numbers. An embedding of norm 0 stays 0.

    Args:
        dim: The number d of features of an embedding.
        classes: The number c of classes.
        k: Which neighbour, 1 to N. A k above the images of a rare class makes its photos look
            novel, so it is small here; the paper takes 50 (CIFAR-10), 200 (CIFAR-100) and 1000
            (ImageNet), where every class has hundreds of images.

    Raises:
        ConfigError: k below 1.

    Reference:
        Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, arXiv 2204.06507,
        section 3.

    Examples:
        >>> embeddings = torch.tensor([[2.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
        >>> score = NearestNeighbours(2, 2, k=2)
        >>> score = score.fit([(embeddings, torch.zeros(3, 2), torch.tensor([0, 0, 1]))])
        >>> score(torch.tensor([[5.0, 0.0]]), torch.zeros(1, 2), 1.0)  # to (0.6, 0.8): sqrt 0.8
        tensor([0.8944])
    """

    neighbours: Tensor

    def __init__(self, dim: int, classes: int, *, k: int = 10) -> None:
        super().__init__(dim, classes)
        if k < 1:
            raise ConfigError(f"k must be at least 1, but is {k}.")
        self.k = k
        self.register_buffer("neighbours", torch.zeros(0, dim))

    @property
    def is_fitted(self) -> bool:
        """Whether there are training images."""
        return len(self.neighbours) > 0

    @torch.no_grad()
    def fit(self, batches: EmbeddingBatches) -> Self:
        """Keep the embeddings; see `FittedNovelty.fit`.

        Raises:
            DataError: Fewer images than k.
        """
        parts = []
        for embeddings, _, _ in batches:
            check_embeddings(embeddings, self.dim)
            parts.append(unit_length(embeddings.to(self.neighbours.device).double()).float())
        images = sum(len(part) for part in parts)
        if images < self.k:
            raise DataError(
                f"Expected at least k = {self.k} training images, got {images}. Choose a smaller k."
            )
        self.neighbours = torch.cat(parts)
        return self

    def _novelty(self, embedding: Tensor, logits: Tensor) -> Tensor:
        units = unit_length(embedding)
        blocks = torch.split(units, _IMAGES_AT_ONCE)
        return torch.cat([self._distances(block) for block in blocks])

    def _distances(self, units: Tensor) -> Tensor:
        """Return the distance ``(B,)`` of a block of images to their k-th nearest."""
        least = units.new_full((len(units), 0), torch.inf)  # the k least squares so far
        length = units.square().sum(dim=1, keepdim=True)
        for part in torch.split(self.neighbours, _NEIGHBOURS_AT_ONCE):
            block = part.double()
            # Rounded to float32 their lengths are not quite 1.
            squares = length + block.square().sum(dim=1) - 2 * units @ block.T
            both = torch.cat((least, squares), dim=1)
            least = both.topk(min(self.k, both.shape[1]), dim=1, largest=False).values
        return least.amax(dim=1).clamp(min=0).sqrt()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # How many images there are is part of the state.
        stored = state_dict.get(f"{prefix}neighbours")
        if isinstance(stored, Tensor) and stored.ndim == 2 and stored.shape[1] == self.dim:
            self.neighbours = self.neighbours.new_zeros(stored.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)
