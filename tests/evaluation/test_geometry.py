"""Every figure of an analysis against slow loops, by hand, and under another order of classes."""

import math
from dataclasses import replace
from statistics import mean, quantiles

import numpy as np
import pytest
from scipy.stats import spearmanr

from taxonet.errors import DataError
from taxonet.evaluation.geometry import (
    CLASS_MEANS,
    HEAD,
    SHRINKAGE,
    TRAINING,
    ClassFigure,
    EmbeddedPhotos,
    Geometry,
    measure_geometry,
    separability_operations,
)
from taxonet.seeds import generator
from tests.reference import geometry as reference

COUNTS = [150, 101, 100, 20, 19, 3]
GROUPS = ["many", "many", "medium", "medium", "few", "few"]
TAXA = ["Acer", "Rosa", "Rubus", "Betula", "Tilia", "Salix"]


def photos_of(key: str, *, images: int = 60) -> EmbeddedPhotos:
    """Photos of all classes but the last, whose classes lie apart; one of class 4."""
    rng = generator("geometry of a test", key)
    targets = np.append(rng.integers(0, 4, images - 1), 4)
    embeddings = rng.normal(size=(images, 3)) + targets[:, None]
    return EmbeddedPhotos(embeddings.astype(np.float32), targets, rng.normal(size=images))


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return generator("geometry of a test", "head").normal(size=(6, 3)) + 1


@pytest.fixture(scope="module")
def sets() -> dict[str, EmbeddedPhotos]:
    return {TRAINING: replace(photos_of("training"), margins=None), "test": photos_of("test")}


@pytest.fixture(scope="module")
def found(vectors: np.ndarray, sets: dict[str, EmbeddedPhotos]) -> Geometry:
    return measure_geometry(TAXA, COUNTS, vectors, sets, separability_of=sets)


def assert_figure(figure: ClassFigure, wanted: list[float]) -> None:
    """Hold a figure of every class, NaN for none, and its means against plain sums."""
    shown = [None if math.isnan(value) else pytest.approx(value, rel=1e-5) for value in wanted]
    assert list(figure.by_class) == shown
    for group in ("many", "medium", "few", "all"):
        own = [v for v, g in zip(wanted, GROUPS, strict=True) if group in (g, "all")]
        own = [value for value in own if not math.isnan(value)]
        wanted_mean = pytest.approx(mean(own), rel=1e-5) if own else None
        assert figure.by_group[group] == wanted_mean, group
    assert figure.classes == sum(not math.isnan(value) for value in wanted)


def test_the_names_sizes_and_groups(found: Geometry) -> None:
    assert list(found.taxa) == TAXA
    assert list(found.train_images) == COUNTS
    assert list(found.groups) == GROUPS
    assert list(found.norms) == list(found.pairs) == [HEAD, CLASS_MEANS]


@pytest.mark.parametrize("name", [TRAINING, "test"])
def test_angles_go_to_the_vectors_of_the_head(
    found: Geometry, sets: dict[str, EmbeddedPhotos], vectors: np.ndarray, name: str
) -> None:
    one = sets[name]
    angles = [
        reference.angle(row, vectors[k])
        for row, k in zip(one.embeddings.tolist(), one.targets.tolist(), strict=True)
    ]
    for group in ("many", "medium", "few", "all"):
        own = [
            a for a, k in zip(angles, one.targets, strict=True) if group in (GROUPS[int(k)], "all")
        ]
        spread = found.photos[name].angles[group]
        assert spread is not None
        assert spread.images == len(own)
        assert spread.mean_deg == pytest.approx(mean(own), abs=1e-4)
        if len(own) > 1:
            percentiles = quantiles(own, n=20, method="inclusive")
            wanted = [percentiles[place] for place in (0, 4, 9, 14, 18)]
            named = (spread.p05_deg, spread.q1_deg, spread.median_deg, spread.q3_deg)
            assert (*named, spread.p95_deg) == pytest.approx(wanted, abs=1e-4)


def test_separability_is_that_of_the_paper_shrunk(
    found: Geometry, sets: dict[str, EmbeddedPhotos]
) -> None:
    for name, one in sets.items():
        wanted = reference.separability(
            one.embeddings.astype(np.float64), one.targets.tolist(), 6, SHRINKAGE
        )
        figure = found.photos[name].separability
        assert figure is not None
        assert_figure(figure, wanted)
        assert figure.classes == 4  # a class of one photo has none, nor has one of none


def test_norms_are_of_the_head_and_of_the_means_of_training(
    found: Geometry, sets: dict[str, EmbeddedPhotos], vectors: np.ndarray
) -> None:
    lengths = [math.sqrt(reference.dot(row, row)) for row in vectors.tolist()]
    assert_figure(found.norms[HEAD].norms, lengths)
    assert found.norms[HEAD].rank_correlation == pytest.approx(spearmanr(lengths, COUNTS)[0])
    one = sets[TRAINING]
    means = [one.embeddings[one.targets == k].mean(axis=0).tolist() for k in range(5)]
    lengths = [math.sqrt(reference.dot(row, row)) for row in means]
    assert_figure(found.norms[CLASS_MEANS].norms, [*lengths, math.nan])
    wanted = pytest.approx(spearmanr(lengths, COUNTS[:5])[0])
    assert found.norms[CLASS_MEANS].rank_correlation == wanted


def test_pairs_are_of_the_head_and_of_the_classes_with_a_mean(
    found: Geometry, sets: dict[str, EmbeddedPhotos], vectors: np.ndarray
) -> None:
    one = sets[TRAINING]
    means = [one.embeddings[one.targets == k].mean(axis=0).tolist() for k in range(5)]
    for kind, rows in ((HEAD, vectors.tolist()), (CLASS_MEANS, means)):
        pairs, groups = found.pairs[kind], GROUPS[: len(rows)]
        every = (pairs.overall.pairs, pairs.overall.distance, pairs.overall.cosine)
        assert every == pytest.approx(reference.pair_means(rows, groups, None), rel=1e-5)
        for names, mine in pairs.by_groups.items():
            wanted = reference.pair_means(rows, groups, names)
            assert mine.pairs == wanted[0]
            assert mine.distance == (None if wanted[1] is None else pytest.approx(wanted[1]))
            assert mine.cosine == (
                None if wanted[2] is None else pytest.approx(wanted[2], rel=1e-5, abs=1e-7)
            )


def test_margins_are_means_over_photos_and_then_over_classes(
    found: Geometry, sets: dict[str, EmbeddedPhotos]
) -> None:
    one, figure = sets["test"], found.photos["test"].margins
    assert one.margins is not None
    assert figure is not None
    wanted = [one.margins[one.targets == k].tolist() for k in range(6)]
    assert_figure(figure, [mean(own) if own else math.nan for own in wanted])
    assert found.photos[TRAINING].margins is None


def test_by_hand() -> None:
    """Two common classes on the axes and a rare one opposite the first; angles of 0, 90 and 45."""
    head = [[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]
    photos = EmbeddedPhotos(
        np.array([[5.0, 0.0], [4.0, 0.0], [-1.0, 1.0]], dtype=np.float32),
        np.array([0, 1, 2]),
        np.array([0.5, 0.1, -0.2]),
    )
    found = measure_geometry(["a", "b", "c"], [200, 300, 5], head, {TRAINING: photos})
    seen = found.photos[TRAINING]
    medians = {group: spread and spread.median_deg for group, spread in seen.angles.items()}
    assert medians == {"many": 45.0, "medium": None, "few": 135.0 - 90.0, "all": 45.0}
    assert seen.separability is None
    assert seen.margins is not None
    assert seen.margins.by_group == pytest.approx(
        {"many": 0.3, "medium": None, "few": -0.2, "all": 0.4 / 3}
    )
    assert found.norms[HEAD].norms.by_class == (2.0, 1.0, 3.0)
    # Ranks of the sizes 2, 3, 1, and of the norms 2, 1, 3: they run against each other.
    assert found.norms[HEAD].rank_correlation == pytest.approx(-1.0)
    many_few = found.pairs[HEAD].by_groups["many", "few"]
    assert many_few.pairs == 2
    assert many_few.cosine == pytest.approx(-0.5)
    assert many_few.distance == pytest.approx((5 + math.sqrt(10)) / 2)


def test_the_rank_correlation_of_ties_and_of_equal_norms() -> None:
    def correlation(counts: list[int], lengths: list[float]) -> float | None:
        head = [[length, 0.0] for length in lengths]
        taxa = [str(k) for k in range(len(counts))]
        return measure_geometry(taxa, counts, head, {}).norms[HEAD].rank_correlation

    assert correlation([5, 5, 9], [1.0, 2.0, 3.0]) == pytest.approx(math.sqrt(3) / 2)
    assert correlation([1, 10, 100], [0.1, 0.2, 9.0]) == pytest.approx(1.0)
    assert correlation([1, 2, 3], [1.0, 1.0, 1.0]) is None
    assert correlation([4, 4], [1.0, 2.0]) is None


def test_without_photos_there_is_the_head_alone(vectors: np.ndarray) -> None:
    found = measure_geometry(TAXA, COUNTS, vectors, {})
    assert found.photos == {}
    assert list(found.norms) == list(found.pairs) == [HEAD]


def test_what_cannot_be_told_from_infinite_is_left_out() -> None:
    """Two photos of a class that are one point, and likewise in another class."""
    photos = EmbeddedPhotos(
        np.repeat(np.eye(2, dtype=np.float32), 2, axis=0), np.array([0, 0, 1, 1])
    )
    found = measure_geometry(["a", "b"], [2, 2], np.eye(2), {"x": photos}, separability_of=["x"])
    figure = found.photos["x"].separability
    assert figure == ClassFigure(
        (None, None), {"many": None, "medium": None, "few": None, "all": None}, 0
    )


def test_the_order_of_classes_and_photos_changes_nothing(
    found: Geometry, vectors: np.ndarray, sets: dict[str, EmbeddedPhotos]
) -> None:
    classes = np.array([4, 2, 5, 0, 3, 1])
    new_class = np.argsort(classes)
    rows = generator("order of photos").permutation(60)
    moved = {
        name: EmbeddedPhotos(
            one.embeddings[rows],
            new_class[one.targets[rows]],
            None if one.margins is None else one.margins[rows],
        )
        for name, one in sets.items()
    }
    other = measure_geometry(
        [TAXA[k] for k in classes],
        np.array(COUNTS)[classes],
        vectors[classes],
        moved,
        separability_of=moved,
    )
    for name in sets:
        one, two = found.photos[name], other.photos[name]
        assert two.separability is not None
        assert one.separability is not None
        assert two.separability.by_group == pytest.approx(one.separability.by_group)
        for group, spread in one.angles.items():
            again = two.angles[group]
            assert spread is not None
            assert again is not None
            assert again.median_deg == pytest.approx(spread.median_deg)
    for kind, norms in found.norms.items():
        assert other.norms[kind].rank_correlation == pytest.approx(norms.rank_correlation)
        assert other.pairs[kind].overall.cosine == pytest.approx(found.pairs[kind].overall.cosine)


@pytest.mark.parametrize("rows_at_once", [1, 7, 60])
def test_class_means_do_not_depend_on_the_blocks(
    found: Geometry,
    vectors: np.ndarray,
    sets: dict[str, EmbeddedPhotos],
    monkeypatch: pytest.MonkeyPatch,
    rows_at_once: int,
) -> None:
    monkeypatch.setattr("taxonet.evaluation.geometry._ROWS", rows_at_once)
    other = measure_geometry(TAXA, COUNTS, vectors, sets)
    assert other.norms[CLASS_MEANS].norms.by_class == pytest.approx(
        found.norms[CLASS_MEANS].norms.by_class
    )


def test_embeddings_of_another_size_are_refused(vectors: np.ndarray) -> None:
    photos = EmbeddedPhotos(np.ones((2, 4), dtype=np.float32), np.array([0, 1]))
    with pytest.raises(DataError, match=r"Expected embeddings \(N, d\)"):
        measure_geometry(TAXA, COUNTS, vectors, {"x": photos})


def test_a_class_without_a_vector_in_the_head_is_left_out_of_its_figures(
    found: Geometry, vectors: np.ndarray, sets: dict[str, EmbeddedPhotos]
) -> None:
    held = [0, 2, 3, 4, 5]
    other = measure_geometry(
        TAXA, COUNTS, vectors[held], sets, head_classes=held, separability_of=sets
    )
    norms = list(found.norms[HEAD].norms.by_class)
    assert list(other.norms[HEAD].norms.by_class) == [norms[0], None, *norms[2:]]
    assert other.pairs[HEAD].overall.pairs == 10
    assert other.norms[CLASS_MEANS] == found.norms[CLASS_MEANS]
    for name, one in sets.items():
        spread = other.photos[name].angles
        assert spread["many"] is not None
        assert spread["many"].images == (one.targets == 0).sum()
        assert spread["medium"] == found.photos[name].angles["medium"]
        assert other.photos[name].images == len(one.targets)
        assert other.photos[name].separability == found.photos[name].separability


def test_not_one_vector_a_class_is_refused(vectors: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"head_vectors \(h, d\) of 6 classes, got shape \(5, 3\)"):
        measure_geometry(TAXA, COUNTS, vectors[:5], {})


def test_the_operations_of_separability_are_summed_over_pairs() -> None:
    images, features = [1, 5, 9, 9, 300], 16
    targets = np.repeat(np.arange(5), images)
    wanted = 0
    for a in range(1, 5):
        for b in range(1, a):
            rows = min(images[a], features) + min(images[b], features)
            wanted += rows * features * min(rows, features)
    assert separability_operations(targets, features) == wanted
    assert separability_operations(np.array([0, 1, 2]), features) == 0
