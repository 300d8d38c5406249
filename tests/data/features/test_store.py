import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from taxonet.data.features import PLAIN, FeatureStore, Space, view_key
from taxonet.errors import ConfigError, DataError
from tests.stored_embeddings import SIZE, SPACE, digest, digests, embeddings, files, fill


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "features"


@pytest.fixture
def store(folder: Path) -> FeatureStore:
    return FeatureStore.open(folder, SPACE)


def test_what_is_written_is_read_again(store: FeatureStore) -> None:
    photos = range(1200)  # two full shards and a part
    fill(store, range(500), range(500, 1200))
    for opened in (store, FeatureStore.open(store.folder, SPACE), FeatureStore.read(store.folder)):
        assert np.array_equal(opened.vectors(digests(photos)), embeddings(photos))
        assert opened.space.weights_sha256 == "ab12"
        assert len(opened) == 1200
        assert (digest(1199), PLAIN) in opened
        assert (digest(1200), PLAIN) not in opened
        assert (digest(0), "other") not in opened
    assert files(store.folder) == {
        f"00000{number}.{kind}" for number in range(3) for kind in ("npy", "parquet")
    }


def test_vectors_come_in_the_order_asked_for_and_can_be_changed(store: FeatureStore) -> None:
    fill(store, range(1100))
    order = [1099, 3, 700, 3, 0, 511, 512]
    found = store.vectors([digest(photo) for photo in order])
    assert found[:, 0].tolist() == order
    assert found.dtype == np.float32
    found[:] = 0
    assert store.vectors([digest(3)])[0, 0] == 3
    assert store.vectors([]).shape == (0, SIZE)


def test_missing_names_each_photo_once_and_no_broken_one(store: FeatureStore) -> None:
    assert store.missing(digests(range(3))) == [0, 1, 2]
    fill(store, range(2))
    with store.writer() as writer:
        writer.add_broken(digest(5), "empty file")
    asked = [digest(photo) for photo in (4, 1, 4, 5, 0, 3)]
    assert store.missing(asked) == [0, 5]
    assert store.missing(asked, "other") == [0, 1, 4, 5]
    assert store.missing([]) == []


def test_views_are_kept_apart(store: FeatureStore) -> None:
    augmented = view_key("crop_flip()", 0, 1)
    fill(store, range(4))
    with store.writer() as writer:
        writer.add(digests(range(2)), augmented, -embeddings(range(2)))
    assert store.vectors([digest(1)])[0, 0] == 1
    assert store.vectors([digest(1)], augmented)[0, 0] == -1
    assert len(store) == 6
    with pytest.raises(DataError, match=r"under the view 'crop_flip\(\), seed 0, number 1' for 1"):
        store.vectors([digest(1), digest(2)], augmented)


def test_keys_of_views_differ() -> None:
    keys = [
        view_key(text, seed, number) for text in "ab" for seed in (0, 1, 10) for number in (0, 1)
    ]
    assert len({*keys, PLAIN}) == 13


def test_an_absent_photo_is_an_error(store: FeatureStore) -> None:
    fill(store, range(2))
    with store.writer() as writer:
        writer.add_broken(digest(3), "empty file")
    with pytest.raises(DataError, match=f"for 2 of 3 photos .first: SHA-256 {digest(8)}"):
        store.vectors([digest(8), digest(1), digest(9)])
    with pytest.raises(DataError, match=r"broken: empty file"):
        store.vectors([digest(3)])


def test_broken_photos_are_kept_with_their_reasons(store: FeatureStore) -> None:
    with store.writer() as writer:
        writer.add_broken(digest(7), "empty file")
        writer.add(digests(range(3)), PLAIN, embeddings(range(3)))
        writer.add_broken(digest(9), "größer als erlaubt")
        writer.add_broken(digest(8), "")
        writer.add_broken(digest(7), "another reason")
    for opened in (store, FeatureStore.read(store.folder)):
        assert opened.broken() == {
            digest(7): "empty file",
            digest(9): "größer als erlaubt",
            digest(8): "",
        }
        assert np.array_equal(opened.vectors(digests(range(3))), embeddings(range(3)))
        assert len(opened) == 3
    with pytest.raises(TypeError):
        store.broken()["a"] = "b"  # type: ignore[index]


def test_a_store_of_broken_photos_alone(store: FeatureStore) -> None:
    with store.writer() as writer:
        for photo in range(600):
            writer.add_broken(digest(photo), "empty file")
    fill(store, range(600, 605))
    again = FeatureStore.read(store.folder)
    assert len(again.broken()) == 600
    assert np.array_equal(again.vectors(digests(range(600, 605))), embeddings(range(600, 605)))


def test_nothing_is_stored_twice(store: FeatureStore) -> None:
    fill(store, range(10), range(5, 12), range(10))
    with store.writer() as writer:
        writer.add(digests(range(3)), PLAIN, embeddings(range(3)) + 100)
        writer.add([digest(50)] * 2, PLAIN, embeddings(range(50, 52)))
    assert len(store) == 13
    assert store.vectors([digest(0), digest(50)])[:, 0].tolist() == [0, 50]
    vectors = np.load(store.folder / "000001.npy")
    assert vectors.shape == (13, SIZE)


def test_a_digest_may_end_with_zeros(store: FeatureStore) -> None:
    odd = ["ab" * 31 + "00", "00" * 32, "ab" + "00" * 31]
    with store.writer() as writer:
        writer.add(odd, PLAIN, embeddings(range(3)))
        writer.add_broken("cd" + "00" * 31, "empty file")
    fill(store, range(7, 9))  # rewrites the shard
    again = FeatureStore.read(store.folder)
    assert again.vectors(odd)[:, 0].tolist() == [0, 1, 2]
    assert again.broken() == {"cd" + "00" * 31: "empty file"}


@pytest.mark.parametrize(
    "wrong", ["", "ab", "g" * 64, " " + "a" * 63, "a" * 63, "a" * 65, "AB" * 32]
)
def test_what_is_no_digest_is_refused(store: FeatureStore, wrong: str) -> None:
    with pytest.raises(DataError, match="64 hexadecimal digits"):
        store.missing([digest(0), wrong])
    with store.writer() as writer, pytest.raises(DataError, match="64 hexadecimal digits"):
        writer.add_broken(wrong, "empty file")


def test_a_short_digest_does_not_borrow_from_a_long_one(store: FeatureStore) -> None:
    with pytest.raises(DataError, match=r"got 'a{63}'"):
        store.missing(["a" * 63, "a" * 65])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_must_be_finite(store: FeatureStore, value: float) -> None:
    vectors = embeddings(range(3))
    vectors[1, 2] = value
    with store.writer() as writer, pytest.raises(DataError, match=f"1 photos.*{digest(1)}"):
        writer.add(digests(range(3)), PLAIN, vectors)
    assert len(store) == 0


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros((2, SIZE), np.float64),
        np.zeros((2, SIZE + 1), np.float32),
        np.zeros((3, SIZE), np.float32),
        np.zeros(SIZE, np.float32),
    ],
)
def test_embeddings_must_be_of_the_space(store: FeatureStore, vectors: NDArray[Any]) -> None:
    with store.writer() as writer, pytest.raises(DataError, match=r"float32.*shape \(2, 3\)"):
        writer.add(digests(range(2)), PLAIN, vectors)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            Space("tiny", "cd34", {"image_size": 32, "mean": (0.5, 0.25)}, SIZE),
            r"weights_sha256 is 'ab12' in the store and 'cd34' here\. ",
        ),
        (
            Space("tiny", "ab12", {"image_size": 64, "mean": (0.5, 0.25)}, SIZE),
            r"preprocessing\.image_size is 32 in the store and 64 here",
        ),
        (
            Space("tiny", "ab12", {"image_size": 32}, SIZE),
            r"preprocessing\.mean is \[0\.5, 0\.25\] in the store and 'nothing' here",
        ),
        (
            Space("tiny", "ab12", {"image_size": 32, "mean": (0.5, 0.25), "fit": "pad"}, SIZE),
            r"preprocessing\.fit is 'nothing' in the store and 'pad' here",
        ),
        (
            Space("tiny", "ab12", {"image_size": 32, "mean": (0.5, 0.25)}, 4),
            r"embedding_size is 3 in the store and 4 here",
        ),
        (
            Space("small", "ab12", {"image_size": 32, "mean": (0.5, 0.25)}, SIZE),
            r"backbone is 'tiny' in the store and 'small' here",
        ),
    ],
)
def test_another_space_is_refused(store: FeatureStore, space: Space, message: str) -> None:
    fill(store, range(2))
    with pytest.raises(ConfigError, match=message + r".*--features"):
        FeatureStore.open(store.folder, space)
    assert len(FeatureStore.open(store.folder, SPACE)) == 2


@pytest.mark.parametrize(("key", "value"), [("format", 2), ("dtype", "float16")])
def test_another_format_is_refused(store: FeatureStore, key: str, value: object) -> None:
    path = store.folder / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    for opens in (FeatureStore.read, lambda folder: FeatureStore.open(folder, SPACE)):
        with pytest.raises(ConfigError, match=f"{key} is {value!r} in the store and .* here"):
            opens(store.folder)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"format": 1, "dtype": "float32"}', "\udcff"])
def test_a_damaged_description_is_refused(store: FeatureStore, text: str) -> None:
    (store.folder / "store.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match="does not describe a store"):
        FeatureStore.open(store.folder, SPACE)


def test_no_other_folder_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("a photo")
    with pytest.raises(ConfigError, match="neither a store of embeddings nor an empty folder"):
        FeatureStore.open(tmp_path, SPACE)
    with pytest.raises(ConfigError, match="neither a store of embeddings nor an empty folder"):
        FeatureStore.open(tmp_path / "photo.jpg", SPACE)
    with pytest.raises(ConfigError, match="is no store of embeddings"):
        FeatureStore.read(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_folder_where_a_store_was_only_begun_becomes_one(folder: Path) -> None:
    folder.mkdir()
    (folder / ".store.json.x1.tmp").write_text("{")
    assert len(FeatureStore.open(folder, SPACE)) == 0


def test_the_size_on_the_disk_is_foretold(folder: Path) -> None:
    space = Space("tiny", "ab12", {}, 64)
    store = FeatureStore.open(folder, space)
    for photos in (range(100), range(100, 3000)):
        with store.writer() as writer:
            writer.add(digests(photos), PLAIN, np.ones((len(photos), 64), np.float32))
        used = sum(path.stat().st_size for path in folder.iterdir())
        assert store.bytes_for(photos.stop) == pytest.approx(used, rel=0.03)


entries = st.lists(
    st.tuples(st.integers(0, 1600), st.integers(0, 700), st.sampled_from([PLAIN, "other"])),
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(sessions=st.lists(entries, max_size=5), broken=st.sets(st.integers(0, 3000), max_size=30))
def test_a_store_is_a_dict(
    sessions: list[list[tuple[int, int, str]]],
    broken: set[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = FeatureStore.open(tmp_path_factory.mktemp("store"), SPACE)
    expected: dict[str, set[int]] = {PLAIN: set(), "other": set()}
    for session in sessions:
        with store.writer() as writer:
            for start, count, view in session:
                photos = range(start, start + count)
                writer.add(digests(photos), view, embeddings(photos))
                expected[view].update(photos)
            for photo in broken:
                writer.add_broken(digest(photo), f"reason {photo}")
    for opened in (store, FeatureStore.read(store.folder)):
        assert len(opened) == sum(map(len, expected.values()))
        assert opened.broken() == (
            {digest(photo): f"reason {photo}" for photo in broken} if sessions else {}
        )
        for view, photos_of_view in expected.items():
            stored = sorted(photos_of_view, key=lambda photo: photo * 7919 % 2311)
            found = opened.vectors([digest(photo) for photo in stored], view)
            assert found[:, 0].tolist() == stored
            asked = range(0, 2400, 7)
            lacking = [p for p in asked if digest(p) not in opened.broken() and p not in stored]
            missing = opened.missing([digest(photo) for photo in asked], view)
            assert [asked[place] for place in missing] == lacking
