import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import DataError
from taxonet.metrics import nearest_neighbours, neighbour_agreement
from taxonet.seeds import generator
from tests.reference import geometry as loops


@pytest.mark.parametrize("k", [1, 4, 29])
def test_neighbours_equal_the_loop(k: int) -> None:
    embeddings = generator("neighbours of a test").normal(size=(30, 3))
    assert nearest_neighbours(embeddings, k=k).tolist() == loops.nearest(embeddings.tolist(), k)


def test_equally_near_ones_come_in_order_and_nobody_is_his_own() -> None:
    same = np.ones((4, 2))
    assert nearest_neighbours(same, k=3).tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    nowhere = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])  # its cosine is 0 with both
    assert nearest_neighbours(nowhere, k=1).tolist() == [[2], [2], [0]]


def test_lengths_and_blocks_change_nothing() -> None:
    embeddings = generator("many neighbours").normal(size=(1500, 4))
    found = nearest_neighbours(embeddings, k=3)
    lengths = generator("lengths").uniform(0.1, 9, size=(1500, 1))
    np.testing.assert_array_equal(nearest_neighbours(embeddings * lengths, k=3), found)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for row in (0, 1023, 1024, 1499):
        cosines = units @ units[row]
        cosines[row] = -2
        assert found[row].tolist() == np.argsort(-cosines)[:3].tolist()


@given(
    st.integers(2, 9).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(-1, 3), min_size=n, max_size=n), st.integers(1, n - 1)
        )
    )
)
def test_agreement_equals_the_loop(drawn: tuple[list[int], int]) -> None:
    taxa, k = drawn
    embeddings = generator("agreement").normal(size=(len(taxa), 3))
    near = nearest_neighbours(embeddings, k=k)
    found = neighbour_agreement(near, taxa)
    if max(taxa) < 0:
        assert found is None
        return
    assert found is not None
    assert found.images == sum(taxon >= 0 for taxon in taxa)
    assert found.taxa == len(set(taxa) - {-1})
    expected = loops.agreement(near.tolist(), taxa)
    assert (found.share, found.chance, found.best) == pytest.approx(expected)


def test_chance_is_what_random_neighbours_reach() -> None:
    rng = generator("random neighbours")
    taxa = rng.integers(0, 4, 40)
    drawn = [rng.choice(np.delete(np.arange(40), row), 300) for row in range(40)]
    found = neighbour_agreement(np.array(drawn), taxa)
    assert found is not None
    assert found.share == pytest.approx(found.chance, abs=0.01)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(DataError, match=r"k from 1 to 2, as many as .* got 3"):
        nearest_neighbours(np.ones((3, 2)), k=3)
    with pytest.raises(DataError, match="k from 1 to 2"):
        nearest_neighbours(np.ones((3, 2)), k=0)
    with pytest.raises(DataError, match="finite embeddings"):
        nearest_neighbours([[np.nan], [1.0]], k=1)
    with pytest.raises(DataError, match=r"got \(2, 1\) and \(3,\)"):
        neighbour_agreement([[1], [0]], [0, 0, 0])
    with pytest.raises(DataError, match="at least 2 images"):
        neighbour_agreement([[0]], [0])
