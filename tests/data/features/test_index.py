import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from taxonet.data.features.index import KeyIndex

keys = st.binary(min_size=1, max_size=1).map(lambda one: one + b"x" * 31)
additions = st.lists(st.lists(keys, max_size=40), max_size=12)


@given(additions=additions, forgotten=st.tuples(st.integers(0, 100), st.integers(0, 100)))
def test_an_index_is_a_dict(additions: list[list[bytes]], forgotten: tuple[int, int]) -> None:
    index, expected, place = KeyIndex(), dict[bytes, int](), 0
    for piece in additions:
        places = np.arange(place, place + len(piece))
        index.add(np.array(piece, dtype="S32"), places)
        expected.update(zip(piece, places.tolist(), strict=True))
        place += len(piece)
    asked = [bytes([value]) + b"x" * 31 for value in range(256)]

    def assert_equal() -> None:
        found = index.find(np.array(asked, dtype="S32")).tolist()
        assert found == [expected.get(key, -1) for key in asked]

    assert_equal()
    assert len(index) == len(expected)
    low, high = forgotten
    index.forget(low, high)
    expected = {key: place for key, place in expected.items() if not low <= place < high}
    assert_equal()
    assert len(index) == len(expected)


def test_additions_one_by_one_leave_few_segments() -> None:
    index = KeyIndex()
    for place in range(1000):
        index.add(np.array([f"{place * 7919 % 1000:032d}"], dtype="S32"), np.array([place]))
    assert len(index._segments) <= 10
    assert index.find(np.array([f"{7919 % 1000:032d}"], dtype="S32")).tolist() == [1]
