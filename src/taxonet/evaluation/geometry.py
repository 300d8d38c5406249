"""The geometry of a classifier, from arrays to figures: angles, distances, norms, margins."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from taxonet.data.long_tail import SHOT_GROUPS, shot_groups
from taxonet.errors import DataError
from taxonet.metrics import (
    PairwiseGeometry,
    angles_to_centers,
    class_means,
    fisher_separability,
    mean_by_group,
    pairwise_geometry,
    vector_norms,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: The photos of the index, of which class means are made; no split has that name.
TRAINING = "trained on"
#: The two kinds of vectors that stand for a class.
HEAD, CLASS_MEANS = "head", "class means"
#: All shot groups together.
EVERY = "all"
#: The share of the round covariance in Fisher's criterion.
SHRINKAGE = 0.01

_ROWS = 4096


@dataclass(frozen=True, eq=False)
class EmbeddedPhotos:
    """Photos as the network sees them.

    Attributes:
        embeddings: Before normalisation, floats ``(N, d)``.
        targets: The class of each, integers ``(N,)``.
        margins: The score of the true class less the best other one, floats ``(N,)``; None where
            nobody computed scores.
        names: The name of each; empty where nobody asked for them.
    """

    embeddings: NDArray[np.floating]
    targets: IntArray
    margins: FloatArray | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class AngleSpread:
    """How the angles between embeddings and the vectors of their classes spread, in degrees."""

    images: int
    mean_deg: float
    p05_deg: float
    q1_deg: float
    median_deg: float
    q3_deg: float
    p95_deg: float


@dataclass(frozen=True)
class ClassFigure:
    """One figure of every class, and its means.

    Attributes:
        by_class: The figure of each class, None where it has none.
        by_group: Its mean over the classes of each shot group, and over all of them.
        classes: How many classes have it.
    """

    by_class: tuple[float | None, ...]
    by_group: dict[str, float | None]
    classes: int


@dataclass(frozen=True)
class ClassNorms:
    """The norm of each class's vector, None for a class without one.

    Attributes:
        norms: One a class.
        rank_correlation: Spearman's, with the training images of the classes; None where it is not
            defined, because all norms or all class sizes are equal.
    """

    norms: ClassFigure
    rank_correlation: float | None


@dataclass(frozen=True)
class PhotoGeometry:
    """What is seen on one set of photos; None for what was not computed.

    Attributes:
        images: How many photos there are.
        angles: By shot group of the photo's class, and over all; None without a photo. Photos
            whose class has no vector in the head have none.
        separability: Fisher's, from these photos alone. A class has none with fewer than two
            photos, or where it cannot be told from infinite.
        margins: The mean margin of the photos of each class.
    """

    images: int
    angles: dict[str, AngleSpread | None]
    separability: ClassFigure | None
    margins: ClassFigure | None


@dataclass(frozen=True)
class Geometry:
    """How classes lie in the space of embeddings.

    Attributes:
        taxa: Name of each class.
        train_images: Training images of each class.
        groups: Shot group of each class.
        norms: By kind of vector: those of the head, and class means where there are any.
        pairs: Distances and cosines between the vectors of classes, by kind of vector.
        photos: By name of the set of photos.
    """

    taxa: tuple[str, ...]
    train_images: tuple[int, ...]
    groups: tuple[str, ...]
    norms: dict[str, ClassNorms]
    pairs: dict[str, PairwiseGeometry]
    photos: dict[str, PhotoGeometry]


def measure_geometry(
    taxa: Sequence[str],
    class_counts: ArrayLike,
    head_vectors: ArrayLike,
    photos: Mapping[str, EmbeddedPhotos],
    *,
    head_classes: ArrayLike | None = None,
    separability_of: Iterable[str] = (),
) -> Geometry:
    """Compute every figure; what needs photos of a set that is not given is left out.

    Args:
        taxa: Name of each class, c of them.
        class_counts: Training images of each class, ``(c,)``; they decide the shot groups.
        head_vectors: Vectors of classes, floats ``(h, d)``: weights or prototypes of a head.
        photos: Sets of photos by name. The class means are those of the set `TRAINING`.
        head_classes: The class of each head vector, ``(h,)``; None says one for each class.
        separability_of: The sets of photos whose Fisher separability is computed. It takes a
            singular value decomposition for each pair of classes: see `separability_operations`.

    Raises:
        DataError: Shapes that do not fit, values that are not finite, or a class out of range.

    Reference:
        Difficulty-aware Balancing Margin Loss for Long-tailed Recognition, Figure 4 and Table 6;
        Learning Prototype Classifiers for Long-Tailed Recognition, Figures 2 and 3; Semantic
        Transfer from Head to Tail (SMART), Figure 4b.
    """
    counts = np.asarray(class_counts, dtype=np.int64)
    groups = [str(group) for group in shot_groups(counts)]
    head = np.asarray(head_vectors)
    held = np.arange(len(counts)) if head_classes is None else np.asarray(head_classes)
    if head.ndim != 2 or len(head) != len(held):
        raise DataError(
            f"Expected head_vectors (h, d) of {len(held)} classes, got shape {head.shape}."
        )
    vectors = {HEAD: (head, held)}
    if TRAINING in photos:
        vectors[CLASS_MEANS] = _mean_embeddings(photos[TRAINING], len(counts))
    wanted = set(separability_of)
    return Geometry(
        taxa=tuple(taxa),
        train_images=tuple(counts.tolist()),
        groups=tuple(groups),
        norms={kind: _norms(*found, counts, groups) for kind, found in vectors.items()},
        pairs={
            kind: pairwise_geometry(rows, [groups[k] for k in classes], order=SHOT_GROUPS)
            for kind, (rows, classes) in vectors.items()
        },
        photos={
            name: _photo_geometry(found, head, held, groups, separability=name in wanted)
            for name, found in photos.items()
        },
    )


def separability_operations(targets: IntArray, features: int) -> float:
    """Return about how many multiplications Fisher's separability takes.

    A pair of classes takes the singular value decomposition of ``r = min(n_i, d) + min(n_j, d)``
    rows of d numbers, about ``r d min(r, d)``; a processor does some 10^9 a second.

    Args:
        targets: The class of each image, ``(N,)``.
        features: The number d of features of an embedding.

    Examples:
        >>> separability_operations(np.array([0, 0, 1, 1, 2]), 8)  # one pair, 4 rows of 8 numbers
        128.0
    """
    images = np.bincount(targets)
    rows, classes = np.unique(np.minimum(images[images > 1], features), return_counts=True)
    both = np.add.outer(rows, rows).astype(np.float64)
    cost = both * features * np.minimum(both, features)
    with_itself = float((classes * np.diag(cost)).sum())
    return (float(classes @ cost @ classes) - with_itself) / 2


def _photo_geometry(
    photos: EmbeddedPhotos,
    head: NDArray[np.floating],
    held: IntArray,
    groups: list[str],
    *,
    separability: bool,
) -> PhotoGeometry:
    # Leaving photos out beforehand would copy the embeddings.
    centers: NDArray[np.floating] = np.zeros((len(groups), head.shape[1]), dtype=head.dtype)
    centers[held] = head
    has_center = np.isin(photos.targets, held)
    angles = angles_to_centers(photos.embeddings, photos.targets, centers)[has_center]
    group_of = np.asarray(groups, dtype=object)[photos.targets[has_center]]
    by_group = {group: _spread(angles[group_of == group]) for group in SHOT_GROUPS}
    fisher = margins = None
    if separability:
        found = fisher_separability(
            photos.embeddings, photos.targets, n_classes=len(groups), shrinkage=SHRINKAGE
        )
        fisher = _class_figure(found, groups)
    if photos.margins is not None:
        means = class_means(photos.margins, photos.targets, n_classes=len(groups))
        margins = _class_figure(means, groups)
    return PhotoGeometry(len(photos.targets), {**by_group, EVERY: _spread(angles)}, fisher, margins)


def _spread(angles_deg: FloatArray) -> AngleSpread | None:
    if angles_deg.size == 0:
        return None
    percentiles = np.percentile(angles_deg, [5, 25, 50, 75, 95]).tolist()
    return AngleSpread(len(angles_deg), float(angles_deg.mean()), *percentiles)


def _class_figure(values: FloatArray, groups: list[str]) -> ClassFigure:
    defined = np.where(np.isfinite(values), values, np.nan)
    by_group = mean_by_group(defined, groups, order=SHOT_GROUPS)
    overall = mean_by_group(defined, [EVERY] * len(groups), order=[EVERY])
    by_class = tuple(None if np.isnan(value) else value for value in defined.tolist())
    return ClassFigure(by_class, by_group | overall, int((~np.isnan(defined)).sum()))


def _norms(
    vectors: NDArray[np.floating], classes: IntArray, counts: IntArray, groups: list[str]
) -> ClassNorms:
    norms: FloatArray = np.full(len(counts), np.nan)
    norms[classes] = vector_norms(vectors)
    return ClassNorms(
        _class_figure(norms, groups), _rank_correlation(counts[classes], norms[classes])
    )


def _rank_correlation(one: NDArray[np.generic], other: NDArray[np.generic]) -> float | None:
    """Return the correlation of ranks, equal values having the mean of theirs."""
    ranks = [pd.Series(values).rank().to_numpy() for values in (one, other)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _mean_embeddings(photos: EmbeddedPhotos, n_classes: int) -> tuple[FloatArray, IntArray]:
    """Return the mean embedding of each class that has photos, and which classes these are."""
    sums: FloatArray = np.zeros((n_classes, photos.embeddings.shape[1]))
    for start in range(0, len(photos.targets), _ROWS):
        rows = slice(start, start + _ROWS)
        np.add.at(sums, photos.targets[rows], photos.embeddings[rows])
    images = np.bincount(photos.targets, minlength=n_classes)
    known = np.flatnonzero(images)
    return sums[known] / images[known, None], known
