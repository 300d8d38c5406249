"""Whether the nearest neighbours of a photo in the space of embeddings are its relatives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError
from taxonet.metrics.vectors import directions, finite_matrix, row_blocks

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class NeighbourAgreement:
    """How often neighbours are of one taxon, at one rank.

    Attributes:
        images: Images that have a taxon at the rank.
        taxa: How many different ones.
        share: The share of their neighbours that have the same taxon, in [0, 1].
        chance: The same share, had the neighbours been drawn from all other images.
        best: The largest share there could be: below 1 where taxa have too few other images.
    """

    images: int
    taxa: int
    share: float
    chance: float
    best: float


def nearest_neighbours(embeddings: ArrayLike, *, k: int) -> IntArray:
    """Return the k other images whose embeddings have the largest cosine with each, nearest first.

    Equally near ones come in the order of the images. An embedding of norm 0 has the cosine 0 with
    everything. The time is O(N^2 (d + log N)), the memory a float64 copy and O(N) a block of rows.

    Args:
        embeddings: Floats ``(N, d)``.
        k: Neighbours of each image, 1 to N - 1.

    Returns:
        int64 ``(N, k)``.

    Raises:
        DataError: Not two dimensions, values that are not finite, or a k out of range.

    Examples:
        >>> nearest_neighbours([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0]], k=1).tolist()
        [[1], [0], [1]]
    """
    units = directions(finite_matrix(embeddings, "embeddings"))
    if not 0 < k < len(units):
        raise DataError(
            f"Expected k from 1 to {len(units) - 1}, as many as there are other images, got {k}."
        )
    found: IntArray = np.empty((len(units), k), dtype=np.int64)
    for block in row_blocks(len(units)):
        cosines = units[block] @ units.T
        rows = np.arange(len(units))[block]
        cosines[np.arange(len(rows)), rows] = -np.inf  # nobody is his own neighbour
        found[block] = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return found


def neighbour_agreement(neighbours: ArrayLike, taxa: ArrayLike) -> NeighbourAgreement | None:
    """Return how often neighbours have the taxon of their image, and how often by chance.

    With ``n_t`` of N images in the taxon t and n in any, the chance is ``sum of n_t (n_t - 1) /
    (n (N - 1))``: about the sum of the squared shares of the taxa, without the image itself.

    Args:
        neighbours: Integers ``(N, k)``, as `nearest_neighbours` gives them; N >= 2.
        taxa: Integers ``(N,)``, the taxon of each image at the rank, below 0 for none. An image
            without one agrees with nobody.

    Returns:
        None where no image has a taxon.

    Raises:
        DataError: Shapes that do not fit, or fewer than 2 images.

    Examples:
        >>> neighbour_agreement([[1], [0], [3], [2]], [5, 5, 5, 7])
        NeighbourAgreement(images=4, taxa=2, share=0.5, chance=0.5, best=0.75)
    """
    near, taxon = np.asarray(neighbours), np.asarray(taxa)
    if near.ndim != 2 or taxon.shape != near.shape[:1] or len(taxon) < 2:
        raise DataError(
            "Expected neighbours (N, k) and taxa (N,) of at least 2 images, got "
            f"{near.shape} and {taxon.shape}."
        )
    known = taxon >= 0
    if not known.any():
        return None
    same = taxon[near[known]] == taxon[known, None]
    of_taxon = np.unique(taxon[known], return_counts=True)[1]
    images, others = int(of_taxon.sum()), of_taxon - 1
    best = np.minimum(others, near.shape[1]) / near.shape[1]
    return NeighbourAgreement(
        images=images,
        taxa=len(of_taxon),
        share=float(same.mean()),
        chance=float(of_taxon @ others) / (images * (len(taxon) - 1)),
        best=float(of_taxon @ best) / images,
    )
