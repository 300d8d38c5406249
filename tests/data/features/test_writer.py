import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from taxonet.data.features import PLAIN, FeatureStore, Space
from taxonet.data.features.shards import Shard, read_shard
from taxonet.errors import ConfigError, DataError
from tests.stored_embeddings import SPACE, digest, digests, embeddings, files, fill


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.open(tmp_path / "features", SPACE)


def read_again(store: FeatureStore) -> FeatureStore:
    return FeatureStore.read(store.folder)


def assert_holds(store: FeatureStore, photos: range) -> None:
    assert len(store) == len(photos)
    assert np.array_equal(store.vectors(digests(photos)), embeddings(photos))


def test_an_extended_store_equals_one_written_at_once(tmp_path: Path) -> None:
    once = FeatureStore.open(tmp_path / "once", SPACE)
    fill(once, range(1500))
    extended = FeatureStore.open(tmp_path / "extended", SPACE)
    for start in range(0, 1500, 100):
        fill(extended, range(start, start + 100))
    assert len(files(extended.folder)) == len(files(once.folder)) == 6
    for one, other in zip(
        sorted(once.folder.glob("*.npy")), sorted(extended.folder.glob("*.npy")), strict=True
    ):
        assert np.array_equal(np.load(one), np.load(other))
    assert_holds(extended, range(1500))
    assert_holds(read_again(extended), range(1500))


def test_a_full_shard_is_on_the_disk_before_the_writer_ends(store: FeatureStore) -> None:
    with store.writer() as writer:
        writer.add(digests(range(700)), PLAIN, embeddings(range(700)))
        assert_holds(read_again(store), range(512))
        assert len(store) == 512
    assert_holds(store, range(700))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_came_before_an_error_is_written(
    store: FeatureStore, error: type[BaseException]
) -> None:
    def add_and_fail() -> None:
        with store.writer() as writer:
            writer.add(digests(range(600)), PLAIN, embeddings(range(600)))
            raise error

    with pytest.raises(error):
        add_and_fail()
    assert_holds(read_again(store), range(600))
    fill(store, range(600, 610))  # the lock is free


def test_a_kill_loses_at_most_what_came_after_the_last_full_shard(store: FeatureStore) -> None:
    code = f"""
        import os, signal, sys
        from pathlib import Path
        from taxonet.data.features import FeatureStore
        from tests.stored_embeddings import PLAIN, SPACE, digests, embeddings
        store = FeatureStore.open(Path({str(store.folder)!r}), SPACE)
        with store.writer() as writer:
            for start in range(0, 1100, 100):
                photos = range(start, start + 100)
                writer.add(digests(photos), PLAIN, embeddings(photos))
            os._exit(9)
    """
    done = subprocess.run([sys.executable, "-c", dedent(code)], check=False)
    assert done.returncode == 9
    again = read_again(store)
    assert_holds(again, range(1024))
    # The dead writer's lock is free, and the work goes on where it ended.
    assert again.missing(digests(range(1100))) == list(range(1024, 1100))
    fill(again, range(1000, 1100))
    assert_holds(read_again(store), range(1100))


def test_vectors_without_their_table_are_no_shard(store: FeatureStore) -> None:
    fill(store, range(512))
    fill(store, range(512, 1024))
    (store.folder / "000001.parquet").unlink()  # as if killed between the two files
    (store.folder / ".000002.npy.abc.tmp").write_text("killed before that")
    again = read_again(store)
    assert_holds(again, range(512))
    fill(again, range(2000, 2010))
    assert files(store.folder) == {"000000.npy", "000000.parquet", "000001.npy", "000001.parquet"}
    assert again.vectors([digest(2000)])[0, 0] == 2000
    assert again.missing([digest(600), digest(2005)]) == [0]


def test_a_table_without_its_vectors_is_no_shard(store: FeatureStore) -> None:
    fill(store, range(512))
    (store.folder / "000000.npy").unlink()
    again = read_again(store)
    assert len(again) == 0
    fill(again, range(512))
    assert_holds(read_again(store), range(512))


@pytest.mark.parametrize("added", [50, 412, 500])
def test_a_kill_before_the_old_shard_is_removed_leaves_equal_entries(
    store: FeatureStore, added: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.writer() as writer:
        writer.add_broken(digest(5000), "empty file")
        writer.add(digests(range(99)), PLAIN, embeddings(range(99)))
    with monkeypatch.context() as patched:
        patched.setattr("taxonet.data.features.writer.remove_shard", lambda *_: None)
        fill(store, range(99, 99 + added))
    assert (store.folder / "000000.npy").exists()
    again = read_again(store)
    assert_holds(again, range(99 + added))
    fill(again, range(99 + added, 1100))
    final = read_again(store)
    assert_holds(final, range(1100))
    assert final.broken() == {digest(5000): "empty file"}
    assert not (store.folder / "000000.npy").exists()


def test_shards_with_room_that_do_not_fit_into_one(store: FeatureStore, tmp_path: Path) -> None:
    other = FeatureStore.open(tmp_path / "other", SPACE)
    for number, photos in enumerate((range(300), range(300, 600))):
        fill(other, photos)
        for kind in ("npy", "parquet"):
            (written,) = other.folder.glob(f"*.{kind}")
            written.rename(store.folder / f"{number:06d}.{kind}")
        other = FeatureStore.read(other.folder)
    again = read_again(store)
    with again.writer() as writer:
        writer.add(digests(range(600, 1000)), PLAIN, embeddings(range(600, 1000)))
        # A kill at this moment must not lose what was stored before.
        assert read_again(store).missing(digests(range(600))) == []
    assert_holds(again, range(1000))
    assert_holds(read_again(store), range(1000))


def test_a_table_removed_before_its_vectors_is_cleared_away(store: FeatureStore) -> None:
    fill(store, range(10))
    vectors = (store.folder / "000000.npy").read_bytes()
    fill(store, range(10, 20))
    (store.folder / "000000.npy").write_bytes(vectors)  # as if killed between the two removals
    again = read_again(store)
    assert_holds(again, range(20))
    fill(again, range(20, 30))
    assert files(store.folder) == {"000002.npy", "000002.parquet"}


def test_a_write_that_fails_leaves_the_store_as_it_was(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, range(10))

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pyarrow.parquet.write_table", full_disk)
        with pytest.raises(OSError, match="No space"):
            fill(store, range(10, 20))
    assert_holds(read_again(store), range(10))
    fill(store, range(10, 20))
    assert_holds(read_again(store), range(20))


def test_a_second_writer_is_refused(store: FeatureStore) -> None:
    other = read_again(store)
    with store.writer() as writer:
        writer.add(digests(range(5)), PLAIN, embeddings(range(5)))
        with pytest.raises(ConfigError, match=r"Another process is adding .*features: wait"):
            fill(other, range(5, 9))
        assert len(read_again(store)) == 0  # reading needs no lock
    fill(other, range(3, 9))
    assert_holds(other, range(9))
    assert_holds(read_again(store), range(9))


def test_a_writer_of_another_process_is_refused(store: FeatureStore) -> None:
    code = f"""
        from pathlib import Path
        from tests.stored_embeddings import FeatureStore, fill
        fill(FeatureStore.read(Path({str(store.folder)!r})), range(5))
    """
    command = [sys.executable, "-c", dedent(code)]
    with store.writer() as writer:
        writer.add(digests(range(3)), PLAIN, embeddings(range(3)))
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "Another process is adding" in refused.stderr
    assert_holds(read_again(store), range(3))


def test_a_reader_goes_on_while_another_fills_up_its_shards(store: FeatureStore) -> None:
    fill(store, range(10))
    reader = read_again(store)
    fill(store, range(10, 600))
    assert np.array_equal(reader.vectors(digests(range(600))[:10]), embeddings(range(10)))
    assert_holds(reader, range(600))


def test_a_shard_that_goes_while_the_store_is_opened(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, range(10))

    def read_late(folder: Path, number: int) -> Shard:
        monkeypatch.undo()
        fill(store, range(10, 20))
        return read_shard(folder, number)

    monkeypatch.setattr("taxonet.data.features.contents.read_shard", read_late)
    assert_holds(read_again(store), range(20))


def test_a_shard_that_a_user_removed_is_missing(store: FeatureStore) -> None:
    fill(store, range(1024))
    for path in store.folder.glob("000000.*"):
        path.unlink()
    with pytest.raises(DataError, match="no embedding under the view 'plain' for 1 of 2"):
        store.vectors([digest(600), digest(0)])
    assert store.missing(digests(range(1024))) == list(range(512))


def test_a_store_that_became_another_is_not_written_to(store: FeatureStore) -> None:
    path = store.folder / "store.json"
    path.write_text(path.read_text().replace("ab12", "cd34"))
    with pytest.raises(ConfigError, match="weights_sha256"):
        fill(store, range(3))


def test_a_writer_that_adds_nothing_changes_nothing(store: FeatureStore) -> None:
    with store.writer() as writer:
        writer.add(digests(range(10)), PLAIN, embeddings(range(10)))
        writer.add_broken(digest(10), "empty file")
    before = {path.name: path.stat().st_mtime_ns for path in store.folder.glob("0*")}
    fill(store, range(5), range(0))
    with store.writer() as writer:
        writer.add_broken(digest(10), "another reason")
    assert {path.name: path.stat().st_mtime_ns for path in store.folder.glob("0*")} == before


def test_the_writer_copies_what_it_takes(store: FeatureStore) -> None:
    vectors = embeddings(range(4))
    with store.writer() as writer:
        writer.add(digests(range(4)), PLAIN, vectors)
        vectors[:] = 0
    assert_holds(store, range(4))


def damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-100], "empty": b"", "other": b"x" * len(data)}[kind])


@pytest.mark.parametrize("kind", ["cut", "empty", "other"])
def test_a_damaged_table_is_named(store: FeatureStore, kind: str) -> None:
    fill(store, range(600))
    damage(store.folder / "000001.parquet", kind)
    with pytest.raises(DataError, match=r"000001\.parquet is damaged .*remove 000001\.npy and"):
        read_again(store)


@pytest.mark.parametrize("kind", ["cut", "empty", "other"])
def test_damaged_vectors_are_named(store: FeatureStore, kind: str) -> None:
    fill(store, range(600))
    damage(store.folder / "000001.npy", kind)
    with pytest.raises(DataError, match=r"000001\.npy is damaged"):
        store.vectors(digests(range(600)))
    assert len(store.vectors(digests(range(512)))) == 512


def test_vectors_of_another_size_are_named(store: FeatureStore) -> None:
    fill(store, range(600))
    np.save(store.folder / "000001.npy", np.zeros((88, 4), np.float32))
    with pytest.raises(DataError, match=r"expected float32 of 3 dimensions, got float32 .*\(88, 4"):
        store.vectors(digests(range(600)))


def test_many_small_additions_leave_few_files(tmp_path: Path) -> None:
    store = FeatureStore.open(tmp_path, Space("tiny", "ab12", {}, 3))
    for start in range(0, 60, 2):
        fill(store, range(start, start + 2))
    assert len(files(tmp_path)) == 2
    assert_holds(read_again(store), range(60))
