"""Photos as points of a plane (t-SNE), and how often near ones are relatives."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.classifier import levels_with_classes
from taxonet.errors import ConfigError
from taxonet.evaluation.geometry import EmbeddedPhotos
from taxonet.files import readable_path
from taxonet.metrics import NeighbourAgreement, nearest_neighbours, neighbour_agreement
from taxonet.metrics.vectors import directions
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: These take a quarter of a minute, and more points would hide each other.
PHOTOS_AT_MOST = 3000
#: Why there may be no picture.
TOO_FEW = (
    "t-SNE is left out: it needs at least 3 photos, and embeddings that differ in more than length."
)
#: How many neighbours of a photo are looked at.
NEIGHBOURS = 10

_PHOTOS_AT_LEAST = 3
_PERPLEXITY = 30.0


@dataclass(frozen=True, eq=False)
class Projection:
    """Where photos lie in the plane, and their taxa.

    Attributes:
        photos: Name of the set of photos.
        photos_in_all: How many that set has; N of them are shown.
        perplexity: t-SNE's idea of how many neighbours a photo has.
        images: Name of each photo shown, N of them.
        points: Its place, ``(N, 2)``; only near and far mean something.
        taxa: By rank, coarse to fine, the taxon of each photo, None where it has none.
        neighbours: How many nearest neighbours of a photo were compared with it, in the space of
            embeddings.
        agreement: By rank, how often these have its taxon.
    """

    photos: str
    photos_in_all: int
    perplexity: float
    images: tuple[str, ...]
    points: FloatArray
    taxa: dict[str, tuple[str | None, ...]]
    neighbours: int
    agreement: dict[str, NeighbourAgreement]

    def table(self) -> pd.DataFrame:
        """Return a row a photo: ``image``, ``x``, ``y`` and one column a rank."""
        places = {"x": self.points[:, 0], "y": self.points[:, 1]}
        return pd.DataFrame({"image": self.images, **places, **self.taxa})

    def figures(self) -> dict[str, Any]:
        """Return what is no coordinate as plain values for JSON."""
        return {
            "photos": self.photos,
            "photos_in_all": self.photos_in_all,
            "photos_shown": len(self.images),
            "perplexity": self.perplexity,
            "neighbours": self.neighbours,
            "agreement": {rank: asdict(found) for rank, found in self.agreement.items()},
        }


def project(
    name: str, photos: EmbeddedPhotos, taxonomy: Taxonomy, class_nodes: IntArray
) -> Projection | None:
    """Draw some photos and lay them out by t-SNE on the directions of their embeddings.

    Equal photos give equal points.

    Args:
        name: Name of the set of photos.
        photos: The set, with the names of its photos.
        taxonomy: The classifier's tree.
        class_nodes: Node of each class, ``(c,)``.

    Returns:
        None where there are fewer than 3 photos, or all embeddings have one direction.

    Raises:
        ConfigError: scikit-learn is not installed.

    Reference:
        Hierarchical Classification via Diffusion on Manifolds, Figure 4; they print no settings.
    """
    rows = _drawn(len(photos.targets))
    units = directions(photos.embeddings[rows])
    if len(rows) < _PHOTOS_AT_LEAST or not np.ptp(units, axis=0).any():
        return None
    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    tsne = tsne_class()(init="pca", perplexity=perplexity, random_state=0)
    nodes = _nodes_by_rank(taxonomy, class_nodes[photos.targets[rows]])
    neighbours = min(NEIGHBOURS, len(rows) - 1)
    near = nearest_neighbours(units, k=neighbours)
    agreements = {rank: neighbour_agreement(near, found) for rank, found in nodes.items()}
    return Projection(
        photos=name,
        photos_in_all=len(photos.targets),
        perplexity=perplexity,
        images=tuple(readable_path(photos.names[row]) for row in rows),
        points=np.asarray(tsne.fit_transform(units), dtype=np.float64),
        taxa={rank: _names(taxonomy, found) for rank, found in nodes.items()},
        neighbours=neighbours,
        agreement={rank: found for rank, found in agreements.items() if found is not None},
    )


def tsne_class() -> Any:
    """Return scikit-learn's TSNE.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise ConfigError(
            "t-SNE was asked for, and scikit-learn is not installed: pip install "
            "'taxonet[explore]'."
        ) from None
    return TSNE


def _drawn(photos: int) -> IntArray:
    """Return the rows that are shown, ascending: all where there are few, else drawn ones."""
    if photos <= PHOTOS_AT_MOST:
        return np.arange(photos)
    rows = generator("t-SNE").choice(photos, size=PHOTOS_AT_MOST, replace=False)
    return np.sort(rows).astype(np.int64)


def _nodes_by_rank(taxonomy: Taxonomy, nodes: IntArray) -> dict[str, IntArray]:
    """Return, for each rank that a photo has, the node of each photo there; -1 for none."""
    known, place = np.unique(nodes, return_inverse=True)
    paths = [taxonomy.ancestors(int(node)) for node in known]
    found = {}
    for rank, at_rank in levels_with_classes(taxonomy, known).items():
        there = [path[np.isin(path, at_rank)] for path in paths]
        found[rank] = np.array([int(one[0]) if one.size else -1 for one in there])[place]
    return found


def _names(taxonomy: Taxonomy, nodes: IntArray) -> tuple[str | None, ...]:
    """Name nodes, by their path where several nodes have the name."""
    name_of: dict[int, str | None] = {-1: None}
    for node in set(nodes.tolist()) - {-1}:
        name = taxonomy.names[node]
        name_of[node] = name if len(taxonomy.find(name)) == 1 else taxonomy.path_text(node)
    return tuple(name_of[node] for node in nodes.tolist())
