import re
from hashlib import sha256
from pathlib import Path

import pytest

from taxonet.data.fetching import (
    CATALOGUE,
    Checksum,
    RemoteFile,
    RemoteSet,
    describe,
    fetch,
    from_mirror,
    only,
    remote_set,
)
from taxonet.errors import ConfigError, DataError
from tests.data.test_fetching_unpacking import make_tar
from tests.file_server import Served, serving

LIST = b"train/a.jpg 0\n"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def photos(tmp_path: Path) -> bytes:
    return make_tar(tmp_path / "made.tar.gz", {"photos/a.jpg": b"a"}).read_bytes()


def small_set(photos: bytes) -> RemoteSet:
    """A list without a checksum and an archive with one, at no address yet."""
    checksum = Checksum("sha256", sha256(photos).hexdigest())
    return RemoteSet(
        "small",
        "None.",
        (
            RemoteFile("list.txt", "http://x.invalid/list.txt", "14 bytes", "a test"),
            RemoteFile(
                "photos.tar.gz", "http://x.invalid/p", "?", "a test", checksum, unpacked=True
            ),
        ),
    )


def test_a_set_is_fetched_verified_and_unpacked_once(tmp_path: Path, photos: bytes) -> None:
    served = Served({"/m/list.txt": LIST, "/m/photos.tar.gz": photos})
    out = tmp_path / "out"
    with serving(served) as address:
        small = from_mirror(small_set(photos), f"{address}/m/")
        paths = fetch(small, out)
        assert paths == [out / "list.txt", out / "photos.tar.gz"]
        assert (out / "list.txt").read_bytes() == LIST
        assert (out / "photos" / "a.jpg").read_bytes() == b"a"
        recorded = (out / "list.txt.sha256").read_text(encoding="utf-8")
        assert recorded == f"{sha256(LIST).hexdigest()}  list.txt\n"
        assert not (out / "photos.tar.gz.sha256").exists()
        assert len(served.asked) == 2

        (out / "photos.tar.gz").unlink()  # unpacked: it may go
        fetch(small, out)
    assert len(served.asked) == 2


def test_a_file_that_changed_since_it_was_recorded_is_told(tmp_path: Path, photos: bytes) -> None:
    served = Served({"/list.txt": LIST})
    with serving(served) as address:
        lists = only(from_mirror(small_set(photos), address), ["list.txt"])
        fetch(lists, tmp_path)
        (tmp_path / "list.txt").write_bytes(b"another")
        with pytest.raises(DataError, match=r"is recorded in .*list\.txt\.sha256\. Move it away"):
            fetch(lists, tmp_path)
        (tmp_path / "list.txt").unlink()
        served.files["/list.txt"] = b"changed on the server"
        with pytest.raises(DataError, match=sha256(LIST).hexdigest()):
            fetch(lists, tmp_path)
    assert not (tmp_path / "list.txt").exists()
    assert (tmp_path / "list.txt.bad").read_bytes() == b"changed on the server"


def test_a_wrong_file_that_is_there_already_is_told(tmp_path: Path, photos: bytes) -> None:
    archive = only(small_set(photos), ["photos.tar.gz"])
    (tmp_path / "photos.tar.gz").write_bytes(b"wrong")
    with pytest.raises(DataError, match=f"{sha256(photos).hexdigest()} was published"):
        fetch(archive, tmp_path)


def test_a_damaged_record_is_told(tmp_path: Path, photos: bytes) -> None:
    lists = only(small_set(photos), ["list.txt"])
    (tmp_path / "list.txt").write_bytes(LIST)
    (tmp_path / "list.txt.sha256").write_text("no digest", encoding="utf-8")
    with pytest.raises(DataError, match="holds no SHA-256"):
        fetch(lists, tmp_path)


def test_a_file_that_was_put_there_by_hand_is_recorded(tmp_path: Path, photos: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(LIST)
    fetch(only(small_set(photos), ["list.txt"]), tmp_path)
    assert (tmp_path / "list.txt.sha256").read_text("utf-8")[:64] == sha256(LIST).hexdigest()


def test_unknown_names_show_the_nearest(photos: bytes) -> None:
    with pytest.raises(ConfigError, match=r"'inat208' is in the catalogue\. Did you mean 'inat2"):
        remote_set("inat208")
    with pytest.raises(ConfigError, match=r"no file 'lists\.txt'\. Did you mean 'list\.txt'\?"):
        only(small_set(photos), ["lists.txt"])


def test_the_description_says_all_that_a_user_has_to_know() -> None:
    text = "\n".join(describe(remote_set("inat2018"), Path("here")))
    for part in (
        "inat2018 to here:",
        "  train_val2018.tar.gz, 120GB, to be unpacked",
        "from      https://ml-inat-competition-datasets.s3.amazonaws.com/2018/train_val2018.tar.gz",
        "checksum  md5 b1c6952ce38f31868cc50ea72d066cc3",
        "checksum  none is published",
        "read in   visipedia/inat_comp, 2018/README.md",
        "Terms: By downloading you agree",
    ):
        assert part in text
    assert "By hand: The images of ImageNet 2012 need a registration" in "\n".join(
        describe(remote_set("imagenet-lt"), Path())
    )


def test_every_entry_names_its_source_and_its_digests_are_digests() -> None:
    lengths = {"md5": 32, "sha256": 64}
    for name, entry in CATALOGUE.items():
        assert entry.name == name
        assert entry.terms
        for file in entry.files:
            assert re.fullmatch(r"https?://\S+", file.url)
            assert file.url.endswith(f"/{file.name}")
            assert file.read_in
            if file.checksum is not None:
                pattern = rf"[0-9a-f]{{{lengths[file.checksum.kind]}}}"
                assert re.fullmatch(pattern, file.checksum.digits)


def test_addresses_and_digests_are_those_of_torchvision_where_it_has_them() -> None:
    published = pytest.importorskip("torchvision.datasets.inaturalist")
    files = {file.url: file for entry in CATALOGUE.values() for file in entry.files}
    for version in ("2018", "2019", "2021_train", "2021_train_mini", "2021_valid"):
        file = files[published.DATASET_URLS[version]]
        assert file.checksum == Checksum("md5", published.DATASET_MD5[version])


def test_every_set_that_can_be_fetched_can_be_imported() -> None:
    import taxonet.data.benchmarks  # noqa: F401 - the readers register themselves
    from taxonet.registry import BENCHMARK_SETS

    assert sorted(CATALOGUE) == BENCHMARK_SETS.names()
