from io import BytesIO
from pathlib import Path

import pytest

from taxonet.data import find_images
from taxonet.data.finding import count_images
from taxonet.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    names = ["b.jpg", "a/2.png", "a/10.JPG", "a/.hidden.jpg", ".git/x.jpg", "read me.txt", "c.md"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folder_in_the_order_of_names(photos: Path) -> None:
    found = [Path(name).relative_to(photos).as_posix() for name in find_images([photos])]
    assert found == ["a/10.JPG", "a/2.png", "b.jpg"]


def test_a_link_back_up_is_not_followed_for_ever(photos: Path) -> None:
    (photos / "a/again").symlink_to(photos)
    assert len(list(find_images([str(photos)]))) == 3


def test_files_patterns_and_missing_files_in_the_order_given(photos: Path) -> None:
    inputs: list[str | Path] = [photos / "missing.jpg", f"{photos}/**/*.png", photos / "b.jpg"]
    assert list(find_images(inputs)) == [
        str(photos / "missing.jpg"),
        str(photos / "a/2.png"),
        str(photos / "b.jpg"),
    ]


def test_a_pattern_without_a_match(photos: Path) -> None:
    with pytest.raises(DataError, match=r"No file matches the pattern '.*\*\.tif'"):
        list(find_images([f"{photos}/*.tif"]))


def test_a_file_whose_name_looks_like_a_pattern(photos: Path) -> None:
    name = photos / "leaf [1].jpg"
    name.touch()
    assert list(find_images([name])) == [str(name)]


def test_list_file_relative_to_itself(photos: Path) -> None:
    lines = "\ufeffa/2.png\r\n\r\nwith, comma and space.jpg\nÄhre 花.jpg\n/absolute/x.jpg"
    (photos / "list.txt").write_bytes(lines.encode())
    assert list(find_images([photos / "list.txt"])) == [
        str(photos / "a/2.png"),
        str(photos / "with, comma and space.jpg"),
        str(photos / "Ähre 花.jpg"),
        "/absolute/x.jpg",
    ]


def test_standard_input_is_read_line_by_line() -> None:
    stream = BytesIO("one, 1.jpg\nzwei ß.jpg\n\xff".encode() + b"\xff\n")
    found = find_images(["-"], standard_input=stream)
    assert next(found) == "one, 1.jpg"
    assert next(found) == "zwei ß.jpg"
    with pytest.raises(DataError, match="Line 3 of standard input is not UTF-8"):
        next(found)


def test_images_are_counted_as_far_as_is_asked(photos: Path) -> None:
    there = len(list(find_images([photos])))
    assert there > 2
    assert count_images([photos, "missing.jpg"]) == there + 1
    assert count_images(iter([photos]), at_most=2) == 2
    assert count_images([photos, "-"]) is None
    assert count_images([photos, str(photos / "*.none")]) == there
