import math
import os
from hashlib import sha256
from pathlib import Path

import pytest

from taxonet.errors import ConfigError
from taxonet.files import (
    atomic_file,
    atomic_folder,
    file_digest,
    read_json,
    readable_path,
    write_json,
    write_text,
)


def half_written(path: Path) -> None:
    """Fail in the middle of writing."""
    path.write_text("half", encoding="utf-8")
    raise RuntimeError("in the middle")


def test_a_file_is_there_only_when_the_block_has_ended_well(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("whole", encoding="utf-8")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text(encoding="utf-8") == "whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("old", [None, "old"])
def test_a_failed_block_leaves_the_old_file_and_nothing_else(
    old: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "file.txt"
    if old is not None:
        path.write_text(old, encoding="utf-8")
    with pytest.raises(RuntimeError, match="in the middle"), atomic_file(path) as temporary:
        half_written(temporary)
    assert [entry.read_text(encoding="utf-8") for entry in tmp_path.iterdir()] == (
        [] if old is None else [old]
    )


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old and long")
    write_text(path, "neu ü")
    assert path.read_bytes() == "neu ü".encode()


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be replaced elsewhere")
def test_a_reader_of_the_old_file_never_sees_a_mixture(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with path.open(encoding="utf-8") as reader:
        write_text(path, "new")
        assert reader.read() == "old"


@pytest.mark.skipif(os.name != "posix", reason="other permissions")
def test_files_and_folders_can_be_read_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "file.txt", "text")
    with atomic_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "folder"
    for names in (("a", "b"), ("b", "c")):
        with atomic_folder(path, replace=True) as temporary:
            for name in names:
                (temporary / name).write_text(str(names), encoding="utf-8")
        assert sorted(entry.name for entry in path.iterdir()) == list(names)
        assert (path / "b").read_text(encoding="utf-8") == str(names)
        assert [entry.name for entry in path.parent.iterdir()] == ["folder"]


def test_a_failed_block_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old", encoding="utf-8")
    with (
        pytest.raises(RuntimeError, match="in the middle"),
        atomic_folder(path, replace=True) as temporary,
    ):
        half_written(temporary / "a")
    assert (path / "a").read_text(encoding="utf-8") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_nothing_is_removed_that_was_not_asked_for(tmp_path: Path) -> None:
    used, empty, file = tmp_path / "used", tmp_path / "empty", tmp_path / "file"
    for folder in (used, empty):
        folder.mkdir()
    for path in (used / "photo.jpg", file):
        path.write_text("mine", encoding="utf-8")
    for taken in (used, file):
        with (
            pytest.raises(ConfigError, match="is no empty folder: choose another one"),
            atomic_folder(taken),
        ):
            pass
    assert (used / "photo.jpg").read_text(encoding="utf-8") == file.read_text(encoding="utf-8")
    for free in (empty, tmp_path / "new"):
        with atomic_folder(free) as temporary:
            (temporary / "a").write_text("new", encoding="utf-8")
        assert (free / "a").is_file()


def test_what_a_kill_left_of_an_exchange_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".folder.old").mkdir()
    (tmp_path / ".folder.old" / "a").write_text("older", encoding="utf-8")
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "folder", replace=True) as temporary:
            (temporary / "a").write_text(text, encoding="utf-8")
    assert (tmp_path / "folder" / "a").read_text(encoding="utf-8") == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_json_comes_back_and_can_be_read_by_people(tmp_path: Path) -> None:
    value = {"name": "Crataegus × mácrocarpa", "counts": [1, 2], "none": None, "share": 0.1 + 0.2}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value
    text = (tmp_path / "v.json").read_bytes().decode()
    assert '\n  "name": "Crataegus × mácrocarpa",\n' in text
    assert text.endswith("}\n")


def test_json_holds_file_names_that_are_no_text(tmp_path: Path) -> None:
    name = b'c:\\ "caf\xe9"\n.png'.decode("utf-8", "surrogateescape")
    write_json(tmp_path / "v.json", {name: [name]})
    assert read_json(tmp_path / "v.json") == {name: [name]}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_json_number_is_refused_and_the_old_file_stays(
    number: float, tmp_path: Path
) -> None:
    path = tmp_path / "v.json"
    write_json(path, {"figure": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"figure": number})
    assert read_json(path) == {"figure": 1.0}
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.json"]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_digest_is_that_of_the_whole_file(size: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (tmp_path / "file").write_bytes(content)
    assert file_digest(tmp_path / "file") == sha256(content).hexdigest()


def test_readable_paths_hold_in_every_file() -> None:
    assert readable_path("ünï/海, b.png") == "ünï/海, b.png"
    assert readable_path(Path("a") / "b.png") == str(Path("a") / "b.png")
    odd = b"a\xe9b\xff.png".decode("utf-8", "surrogateescape")
    assert readable_path(odd) == "a\\udce9b\\udcff.png"
    assert readable_path("lone \ud800") == "lone \\ud800"
    if os.name == "posix":
        assert readable_path(os.fsdecode(b"caf\xe9")) == "caf\\udce9"
