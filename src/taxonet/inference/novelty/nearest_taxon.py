"""At which level of the tree an image is novel, from its embedding."""

from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from taxonet.errors import TaxonomyError
from taxonet.inference.novelty.fitted import (
    EmbeddingBatches,
    as_novelty,
    check_moments,
    check_scored,
)
from taxonet.inference.novelty.levels import depths_below_root
from taxonet.inference.novelty.moments import EmbeddingMoments
from taxonet.inference.novelty.nearest_prototype import (
    Distance,
    check_distance,
    distance_to_nearest,
)
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import sum_up


class NearestTaxon(nn.Module):
    r"""The distance to the nearest taxon mean of each level.

    .. math:: \min_{v \in \text{level } l} \lVert x - \mu_v \rVert, \quad
        \mu_v = \frac{1}{N_v} \sum_{i: y_i \text{ in } v} x_i

    The mean of a genus is over its images, not over its species. Taxa without training images
    have none and are nobody's nearest. A level holds the nodes of that depth and the leaves
    above it. Distances at different levels do not compare, since a genus is wider than a species:
    each level has its own threshold (`threshold_at_tpr` of its column for calibration images).

    Args:
        dim: The number d of features of an embedding.
        class_nodes: The node of each class, ``(c,)``; classes may sit at inner nodes.
        taxonomy: The tree, of n nodes; the smaller one that the classes span saves memory, which
            is O(n d).
        distance: ``euclidean``, or ``cosine`` for one minus the largest cosine.

    Raises:
        TaxonomyError: A class at no node, no class, or a tree of nothing but the root.
        ConfigError: An unknown distance.

    Examples:
        >>> tree = Taxonomy.from_edges(
        ...     [("root", "Acer"), ("root", "Rosa"), ("Acer", "A. rubrum"), ("Acer", "A. mono"),
        ...      ("Rosa", "R. canina"), ("Rosa", "R. gallica")]
        ... )
        >>> tree.names[3:]
        ('A. mono', 'A. rubrum', 'R. canina', 'R. gallica')
        >>> embeddings = torch.tensor([[-10.0, 2.0], [-10.0, -2.0], [10.0, 2.0], [10.0, -2.0]])
        >>> score = NearestTaxon(2, [3, 4, 5, 6], tree)
        >>> score = score.fit([(embeddings, torch.zeros(4, 4), torch.arange(4))])
        >>> photos = torch.tensor([[10.0, 2.0], [10.0, 0.0], [0.0, 0.0]])
        >>> score(photos)  # at the genus, at the species
        tensor([[ 2.0000,  0.0000],
                [ 0.0000,  2.0000],
                [10.0000, 10.1980]])

        The first is a known species. The second is a new species of *Rosa*: at the genus it is no
        farther than known photos, at the species it is. The third is novel at both.
    """

    means: Tensor
    present: Tensor

    def __init__(
        self,
        dim: int,
        class_nodes: ArrayLike,
        taxonomy: Taxonomy,
        *,
        distance: Distance = "euclidean",
    ) -> None:
        super().__init__()
        self.dim, self.taxonomy = dim, taxonomy
        self.distance = check_distance(distance)
        self.class_nodes = _checked_nodes(class_nodes, taxonomy)
        self.levels = [torch.from_numpy(taxonomy.level(d)) for d in depths_below_root(taxonomy)]
        self.register_buffer("means", torch.zeros(len(taxonomy), dim, dtype=torch.float64))
        self.register_buffer("present", torch.zeros(len(taxonomy), dtype=torch.bool))

    def fit(self, batches: EmbeddingBatches) -> Self:
        """Gather the class means and average them up the tree; see `FittedNovelty.fit`."""
        classes, device = len(self.class_nodes), self.means.device
        return self.fit_moments(
            EmbeddingMoments.of(batches, classes=classes, dim=self.dim, device=device)
        )

    def fit_moments(self, moments: EmbeddingMoments) -> Self:
        """Average the class means up the tree, each class counted by its images.

        Raises:
            DataError: Moments of other sizes, or of no image.
        """
        check_moments(moments, dim=self.dim, classes=len(self.class_nodes))
        nodes = self.class_nodes.to(moments.means.device)
        # The images are one more column, so that they are summed along the same way.
        own = moments.images[:, None].double()
        columns = torch.cat((moments.means * own, own), dim=1)  # (c, d + 1)
        at_nodes = columns.new_zeros(len(self.taxonomy), self.dim + 1).index_add(0, nodes, columns)
        sums = sum_up(self.taxonomy, at_nodes.T).T
        images = sums[:, -1:]
        self.means.copy_(sums[:, :-1] / images.clamp(min=1))
        self.present.copy_(images[:, 0] > 0)
        return self

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the novelty ``(B, L)``, a column for each depth from 1 on; higher is more novel.

        Where no taxon of a level has images (all of them are known more coarsely), every image is
        infinitely novel there.

        Args:
            embedding: Floats ``(B, d)``, before normalisation.

        Returns:
            float32, float64 for float64 embeddings, on the device of the embeddings.

        Raises:
            DataError: Not fitted yet, or embeddings of another size.
        """
        fitted = bool(self.present.any())
        check_scored(embedding, self.dim, fitted=fitted, what=type(self).__name__)
        wide = embedding.to(self.means.device).double()
        novelty = [self._at_level(wide, level.to(wide.device)) for level in self.levels]
        return as_novelty(torch.stack(novelty, dim=1), embedding)

    def _at_level(self, embedding: Tensor, nodes: Tensor) -> Tensor:
        present = self.present[nodes]
        if not bool(present.any()):
            return embedding.new_full((len(embedding),), torch.inf)
        return distance_to_nearest(embedding, self.means[nodes], present, distance=self.distance)


def _checked_nodes(class_nodes: ArrayLike, taxonomy: Taxonomy) -> Tensor:
    nodes = np.array(class_nodes, dtype=np.int64)
    if nodes.ndim != 1 or not nodes.size or nodes.min() < 0 or nodes.max() >= len(taxonomy):
        raise TaxonomyError(
            f"Expected class_nodes (c,), nodes from 0 to {len(taxonomy) - 1}, got {nodes}."
        )
    return torch.from_numpy(nodes)
