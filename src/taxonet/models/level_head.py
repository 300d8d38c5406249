"""A head that compares an image with a vector of every node, level by level."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.models.heads import Head, directions
from taxonet.registry import HEADS

#: CLIP's start, and the largest it lets training reach.
FIRST_SCALE, LARGEST_SCALE = 1 / 0.07, 100.0


@HEADS.register("level_cosine")
class LevelCosineHead(Head):
    """The scaled cosine between the embedding, seen from a level, and a vector of each node.

    ``s_v = scale_l <V_l x, t_v> / (|V_l x| |t_v|)`` with l the first chosen level at or below the
    depth of node v. Each chosen level has a projection V_l and a learned scale; with one level
    there is no projection. Projections start at the identity, so that the scores start as those of
    the bare embedding. The vectors t_v are those of the nodes' names where a text tower gives them
    (`vectors`), and learned like any weights where none does.

    The scores are logits: the scale is in them, and kept at most 100 in training, as in CLIP.

    Shape:
        Embeddings ``(B, d)``; scores of all nodes ``(B, n)`` come back in float32 at least, 0 for
        the root and below the deepest chosen level.

    Args:
        embedding_size: The number d of features of an embedding.
        classes: The number n of nodes.
        level_sizes: How many nodes have each depth, the root's first; their sum is n.
        levels: The chosen depths, ascending; None: all but the root's.

    Raises:
        ConfigError: Sizes that do not add up, or levels that the tree has not.

    Reference:
        Hierarchical Classification via Diffusion on Manifolds, section 3.3 (HMCF).

    Examples:
        >>> head = LevelCosineHead(2, 4, level_sizes=(1, 1, 2))
        >>> head.vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> head.set_scales(10)
        >>> head(torch.tensor([[3.0, 0.0]])).round(decimals=2)
        tensor([[ 0.0000, 10.0000,  0.0000,  7.0700]], grad_fn=<RoundBackward1>)
    """

    kind: ClassVar[Literal["logits", "cosines"]] = "logits"

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        *,
        level_sizes: Sequence[int],
        levels: Sequence[int] | None = None,
    ) -> None:
        super().__init__(embedding_size, classes)
        if sum(level_sizes) != classes:
            raise ConfigError(
                f"level_sizes must add up to the {classes} nodes, but are {list(level_sizes)}."
            )
        deepest = len(level_sizes) - 1
        self.levels = tuple(range(1, deepest + 1) if levels is None else levels)
        within = all(1 <= level <= deepest for level in self.levels)
        if not (self.levels and within and list(self.levels) == sorted(set(self.levels))):
            raise ConfigError(
                f"levels must be depths from 1 to {deepest}, ascending and at least one, but are "
                f"{list(self.levels)}."
            )
        self._widths = _widths(level_sizes, self.levels)
        several = len(self.levels) > 1
        self.projections = nn.ModuleList(
            nn.Linear(embedding_size, embedding_size, bias=False) if several else nn.Identity()
            for _ in self.levels
        )
        for projection in self.projections:
            if isinstance(projection, nn.Linear):
                nn.init.eye_(projection.weight)
        self.log_scales = nn.Parameter(torch.full((len(self.levels),), math.log(FIRST_SCALE)))
        nn.init.normal_(self.weight, std=1 / math.sqrt(embedding_size))

    @property
    def vectors(self) -> Tensor:
        """The vector of each node ``(n, d)``, of any length above 0."""
        return self.weight

    @vectors.setter
    def vectors(self, vectors: Tensor) -> None:
        with torch.no_grad():
            self.weight.copy_(vectors)

    def set_scales(self, scale: float) -> None:
        """Set the scale of every level."""
        with torch.no_grad():
            self.log_scales.fill_(math.log(scale))

    def scales(self) -> Tensor:
        """Return the scale of each chosen level ``(L,)``, kept in its bound."""
        with torch.no_grad():
            self.log_scales.clamp_(max=math.log(LARGEST_SCALE))
        return self.log_scales.exp()

    def features(self, embedding: Tensor) -> list[Tensor]:
        """Return the embedding as each chosen level sees it, of unit length ``(B, d)``."""
        with torch.autocast(embedding.device.type, enabled=False):
            embedding = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
            return [directions(projection(embedding)) for projection in self.projections]

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the scores of all nodes ``(B, n)``."""
        features, scales = self.features(embedding), self.scales()
        above, *of_levels, below = torch.split(self.weight, self._widths)
        parts = [features[0].new_zeros(len(embedding), len(above))]
        # A half-precision cosine times a scale of 100 would be off by more than a nat.
        with torch.autocast(embedding.device.type, enabled=False):
            for feature, scale, vectors in zip(features, scales, of_levels, strict=True):
                parts.append(scale * (feature @ directions(vectors).T))
        parts.append(features[0].new_zeros(len(embedding), len(below)))
        return torch.cat(parts, dim=1)

    def compare(self, features: Sequence[Tensor], vectors: Tensor, nodes: Tensor) -> Tensor:
        """Return the scores of some nodes ``(B, m)``, by vectors that are not the head's own.

        Args:
            features: What `features` gave, ``(B, d)`` for each chosen level.
            vectors: Unit vectors ``(m, d)``, in the place of those of the head.
            nodes: Which nodes they are of ``(m,)``; one may come more than once.
        """
        ends = torch.tensor(self._widths[:-1], device=nodes.device).cumsum(0)
        place = torch.bucketize(nodes, ends, right=True)  # 0 is the root, 1 the first level
        scores = features[0].new_zeros(len(features[0]), len(nodes))
        with torch.autocast(nodes.device.type, enabled=False):
            for level, (feature, scale) in enumerate(zip(features, self.scales(), strict=True), 1):
                columns = torch.nonzero(place == level)[:, 0]
                cosines = feature @ vectors[columns].T
                scores = scores.index_copy(1, columns, (scale * cosines).to(scores.dtype))
        return scores


def _widths(level_sizes: Sequence[int], levels: Sequence[int]) -> list[int]:
    """Return how many nodes the root's part, each chosen level, and the part below them have.

    Examples:
        >>> _widths((1, 2, 4, 8, 16), (2, 3))
        [1, 6, 8, 16]
    """
    edges = [0, 1, *(sum(level_sizes[: level + 1]) for level in levels), sum(level_sizes)]
    return [end - start for start, end in pairwise(edges)]
