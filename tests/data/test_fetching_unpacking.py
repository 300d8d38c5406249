import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from taxonet.data.fetching import unpack
from taxonet.data.fetching.unpacking import was_unpacked
from taxonet.errors import DataError

FILES = {"set/a.txt": b"one", "set/deep/b.txt": b"two", "list.json": b"[]"}


def make_tar(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in extra:
            tar.addfile(member)
    return path


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return path


Make = Callable[[Path, dict[str, bytes]], Path]


def below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_all_files_come_out_and_nothing_else(tmp_path: Path, make: Make) -> None:
    archive = make(tmp_path / "archive", FILES)
    assert not was_unpacked(archive)
    assert unpack(archive, tmp_path / "out") == ["list.json", "set"]
    assert below(tmp_path / "out") == FILES
    assert was_unpacked(archive)


def test_a_second_call_leaves_alone_what_is_there(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "archive", FILES)
    unpack(archive, tmp_path / "out")
    (tmp_path / "out" / "list.json").write_bytes(b"changed by the user")
    assert unpack(archive, tmp_path / "out") == ["list.json", "set"]
    assert (tmp_path / "out" / "list.json").read_bytes() == b"changed by the user"


def test_what_an_interrupted_call_left_is_removed(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "archive", FILES)
    left = tmp_path / "out" / ".archive.unpacking"
    left.mkdir(parents=True)
    (left / "half.txt").write_bytes(b"half")
    unpack(archive, tmp_path / "out")
    assert below(tmp_path / "out") == FILES


@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.parametrize("name", ["../out.txt", "set/../../out.txt", "/out.txt", "..\\out.txt"])
def test_no_path_leads_outside(tmp_path: Path, make: Make, name: str) -> None:
    archive = make(tmp_path / "archive", {"good.txt": b"good", name: b"bad"})
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack(archive, tmp_path / "out")
    assert below(tmp_path) == {"archive": archive.read_bytes()}
    assert not was_unpacked(archive)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_no_link_and_no_device_comes_out_of_a_tar(tmp_path: Path, kind: bytes) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = kind, "set/a.txt"
    archive = make_tar(tmp_path / "archive", FILES, link)
    with pytest.raises(DataError, match="'link', which is a link or a device"):
        unpack(archive, tmp_path / "out")
    assert below(tmp_path) == {"archive": archive.read_bytes()}


def test_no_link_comes_out_of_a_zip(tmp_path: Path) -> None:
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="'link', which is a link or a device"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_no_bomb_goes_off(tmp_path: Path, make: Make) -> None:
    archive = make(tmp_path / "archive", {"zeros": bytes(64 << 20)})
    assert archive.stat().st_size < 100_000
    with pytest.raises(DataError, match="40 times its size"):
        unpack(archive, tmp_path / "out")
    assert below(tmp_path / "out") == {}


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "archive", FILES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "set").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match=r"would overwrite .*set"):
        unpack(archive, tmp_path / "out")
    assert below(tmp_path / "out") == {"set": b"mine"}


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_damaged_archive_is_told(tmp_path: Path, make: Make) -> None:
    archive = make(tmp_path / "archive", FILES)
    data = bytearray(archive.read_bytes())
    data[20:40] = b"\xff" * 20
    archive.write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged or no archive"):
        unpack(archive, tmp_path / "out")
    assert below(tmp_path / "out") == {}


def test_a_cut_archive_is_told(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "archive", {"a": bytes(range(256)) * 4_000, **FILES})
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(DataError, match="damaged or no archive"):
        unpack(archive, tmp_path / "out")
