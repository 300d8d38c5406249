import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from taxonet.errors import DataError
from taxonet.metrics import angles_to_centers, pairwise_geometry, vector_norms
from taxonet.metrics.geometry import PairMeans
from taxonet.seeds import generator
from tests.reference import geometry as loops

GROUPS = ("head", "tail", "none")


def drawn(n: int, d: int, what: str) -> NDArray[np.float64]:
    return generator(what, 0).normal(size=(n, d))


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=12),
    st.integers(0, 2),
)
def test_angles_equal_the_loop(rows: list[tuple[int, int]], target: int) -> None:
    centers = [(1.0, 0.0), (-3.0, 4.0), (0.0, 0.0)]
    angles = angles_to_centers(rows, [target] * len(rows), centers)
    expected = [loops.angle(row, centers[target]) for row in rows]
    np.testing.assert_allclose(angles, expected, atol=2e-6)


def test_angles_by_hand() -> None:
    embeddings = [[1.0, 0.0], [1.0, 1.0], [0.0, 2.0], [-3.0, 0.0], [1.0, np.sqrt(3)]]
    angles = angles_to_centers(embeddings, [0] * 5, [[7.0, 0.0]])
    np.testing.assert_allclose(angles, [0, 45, 90, 180, 60], atol=1e-12)


def test_small_angles_are_exact() -> None:
    small = 1e-9  # radians: the cosine is 1 in float64
    angles = angles_to_centers([[1.0, small], [-1.0, small]], [0, 0], [[1.0, 0.0]])
    assert angles[0] == pytest.approx(np.degrees(small), rel=1e-6)
    assert 180 - angles[1] == pytest.approx(np.degrees(small), rel=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_angles_at_the_extremes(dtype: type) -> None:
    large, tiny = np.finfo(dtype).max, np.finfo(dtype).tiny
    rows: NDArray[np.floating] = np.array(
        [[large, large], [tiny, tiny], [-large, -large], [0, 0]], dtype=dtype
    )
    centers: NDArray[np.floating] = np.ones((1, 2), dtype=dtype)
    angles = angles_to_centers(rows, [0] * 4, centers)
    np.testing.assert_allclose(angles, [0, 0, 180, 90], atol=1e-5)
    assert angles_to_centers(rows[3:], [0], np.zeros((1, 2)))[0] == 90


def test_angles_ignore_lengths_and_permute_with_the_batch() -> None:
    rows, centers = drawn(50, 6, "rows"), drawn(4, 6, "centers")
    targets = generator("targets", 0).integers(0, 4, 50)
    angles = angles_to_centers(rows, targets, centers)
    np.testing.assert_allclose(angles_to_centers(1e-3 * rows, targets, 5 * centers), angles)
    np.testing.assert_array_equal(
        angles_to_centers(rows[::-1], targets[::-1], centers), angles[::-1]
    )
    swap = np.array([2, 0, 3, 1])
    np.testing.assert_array_equal(
        angles_to_centers(rows, np.argsort(swap)[targets], centers[swap]), angles
    )


def test_blocks_change_nothing() -> None:
    rows, centers = drawn(2500, 3, "many rows"), drawn(7, 3, "centers")
    targets = np.arange(2500) % 7
    angles, norms = angles_to_centers(rows, targets, centers), vector_norms(rows)
    for row in (0, 1023, 1024, 2048, 2499):
        assert angles[row] == angles_to_centers(rows[[row]], targets[[row]], centers)[0]
        assert norms[row] == pytest.approx(np.sqrt(loops.dot(rows[row], rows[row])))


def test_norms_by_hand() -> None:
    assert vector_norms([[3, 4], [0, 0], [-5, 12]]).tolist() == [5.0, 0.0, 13.0]
    # The squares are beyond float16.
    assert vector_norms(np.full((1, 4), 6e4, dtype=np.float16))[0] == pytest.approx(1.2e5, rel=1e-3)


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5), st.sampled_from(GROUPS)), max_size=9)
)
def test_pairs_equal_the_loop(drawn_rows: list[tuple[int, int, str]]) -> None:
    vectors = [(float(x), float(y)) for x, y, _ in drawn_rows]
    groups = [group for _, _, group in drawn_rows]
    found = pairwise_geometry(np.reshape(vectors, (-1, 2)), groups, order=GROUPS)
    kinds: list[tuple[str, str] | None] = [None, *found.by_groups]
    for kind in kinds:
        means = found.overall if kind is None else found.by_groups[kind]
        pairs, distance, cosine = loops.pair_means(vectors, groups, kind)
        assert means.pairs == pairs
        assert means.distance == pytest.approx(distance, abs=1e-6)
        assert means.cosine == pytest.approx(cosine, abs=1e-9)


def test_pairs_by_hand() -> None:
    vectors = [[3.0, 0.0], [0.0, 4.0], [-3.0, 0.0], [0.0, 0.0]]
    found = pairwise_geometry(vectors, ["head", "head", "tail", "tail"], order=["head", "tail"])
    assert list(found.by_groups) == [("head", "head"), ("head", "tail"), ("tail", "tail")]
    assert found.by_groups["head", "head"] == PairMeans(1, 5.0, 0.0)
    assert found.by_groups["head", "tail"] == PairMeans(4, (6 + 3 + 5 + 4) / 4, -1 / 4)
    assert found.by_groups["tail", "tail"] == PairMeans(1, 3.0, 0.0)
    assert found.overall.pairs == 6
    assert found.overall.distance == pytest.approx((5 + 18 + 3) / 6)
    assert found.overall.cosine == pytest.approx(-1 / 6)


def test_pairs_in_blocks_equal_all_at_once() -> None:
    vectors = drawn(1500, 4, "prototypes")
    groups = ["head" if k % 3 else "tail" for k in range(1500)]
    found = pairwise_geometry(vectors, groups, order=["head", "tail"])
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    head = np.array([group == "head" for group in groups])
    upper = np.triu(np.ones((1500, 1500), dtype=bool), 1)
    kinds = {
        ("head", "head"): upper & np.outer(head, head),
        ("head", "tail"): np.outer(head, ~head),
        ("tail", "tail"): upper & np.outer(~head, ~head),
    }
    for kind, mask in kinds.items():
        assert found.by_groups[kind].pairs == mask.sum()
        assert found.by_groups[kind].distance == pytest.approx(apart[mask].mean(), rel=1e-9)
        assert found.by_groups[kind].cosine == pytest.approx(
            (units @ units.T)[mask].mean(), abs=1e-9
        )
    assert found.overall.distance == pytest.approx(apart[upper].mean(), rel=1e-9)
    order = generator("order", 0).permutation(1500)
    mixed = pairwise_geometry(vectors[order], [groups[k] for k in order], order=["head", "tail"])
    for kind in kinds:
        assert mixed.by_groups[kind].distance == pytest.approx(found.by_groups[kind].distance)


def test_one_class_has_no_pair() -> None:
    found = pairwise_geometry([[1.0, 2.0]], ["head"], order=["head", "tail"])
    assert found.overall == PairMeans(0, None, None)
    assert set(found.by_groups.values()) == {PairMeans(0, None, None)}


def test_wrong_input_is_refused() -> None:
    with pytest.raises(DataError, match=r"got \(2, 2\), \(1,\) and \(1, 2\)"):
        angles_to_centers(np.ones((2, 2)), [0], np.ones((1, 2)))
    with pytest.raises(DataError, match=r"got \(2, 2\), \(2,\) and \(1, 3\)"):
        angles_to_centers(np.ones((2, 2)), [0, 0], np.ones((1, 3)))
    with pytest.raises(DataError, match="targets from 0 to 0, got 1 in row 1"):
        angles_to_centers(np.ones((2, 2)), [0, 1], np.ones((1, 2)))
    with pytest.raises(DataError, match=r"finite embeddings, but 1 rows .* first is row 1"):
        angles_to_centers([[1.0], [np.nan]], [0, 0], [[1.0]])
    with pytest.raises(DataError, match="vectors as numbers of two dimensions"):
        vector_norms([1.0, 2.0])
    with pytest.raises(DataError, match="numbers of two dimensions, got <U1"):
        vector_norms([["a"]])
    with pytest.raises(DataError, match="one group for each of 2 classes, got 1"):
        pairwise_geometry(np.ones((2, 2)), ["head"], order=["head"])
    with pytest.raises(DataError, match=r"among \['head'\], got also \['tail'\]"):
        pairwise_geometry(np.ones((1, 2)), ["tail"], order=["head"])
