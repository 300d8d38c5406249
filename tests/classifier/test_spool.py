from pathlib import Path
from typing import Any

import pytest

from taxonet.classifier.spool import Spool
from taxonet.errors import ConfigError, DataError

HEADER: dict[str, Any] = {"classifier": "abc", "within": ["genus=Rosa"], "species_list": None}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "sub" / "rows.csv"


@pytest.fixture
def partial(out: Path) -> Path:
    """The spool of three rows, one with a name that is hard to write."""
    spool = Spool(out)
    spool.begin(HEADER)
    with spool:
        for name in ("a.jpg", 'ünï, "b"\n.jpg', "c.jpg"):
            spool.write({"image": name, "probability": 0.1 + 0.2})
    return out.with_name("rows.csv.partial")


def test_rows_come_back_as_they_were(out: Path, partial: Path) -> None:
    spool = Spool(out)
    spool.go_on(HEADER, batch_size=1)
    assert spool.done == 3
    assert list(spool.rows()) == [
        {"image": name, "probability": 0.1 + 0.2} for name in ("a.jpg", 'ünï, "b"\n.jpg', "c.jpg")
    ]


def test_a_row_is_on_the_disk_as_soon_as_it_is_written(out: Path) -> None:
    spool = Spool(out)
    spool.begin(HEADER)
    with spool:
        for count in range(1, 4):
            spool.write({"image": "a.jpg"})
            assert len(list(spool.rows())) == count


@pytest.mark.parametrize("torn", range(1, 40, 3))
def test_a_torn_line_is_dropped_wherever_it_was_torn(torn: int, out: Path, partial: Path) -> None:
    whole = partial.read_bytes()
    partial.write_bytes(whole[:-torn])
    spool = Spool(out)
    spool.go_on(HEADER, batch_size=1)
    assert spool.done == 2
    assert whole.startswith(partial.read_bytes())
    assert partial.read_bytes().endswith(b"\n")


@pytest.mark.parametrize(("batch_size", "kept"), [(1, 3), (2, 2), (3, 3), (4, 0)])
def test_only_whole_batches_are_kept(batch_size: int, kept: int, out: Path, partial: Path) -> None:
    spool = Spool(out)
    spool.go_on(HEADER, batch_size=batch_size)
    assert spool.done == kept
    assert len(list(spool.rows())) == kept


def test_rows_go_on_after_a_resume(out: Path, partial: Path) -> None:
    spool = Spool(out)
    spool.go_on(HEADER, batch_size=2)
    with spool:
        spool.write({"image": "new"})
    assert [row["image"] for row in spool.rows()][2:] == ["new"]


def test_photos_with_a_row_are_skipped_by_their_order(out: Path, partial: Path) -> None:
    spool = Spool(out)
    spool.go_on(HEADER, batch_size=1)
    photos = ["a.jpg", 'ünï, "b"\n.jpg', "c.jpg", "a.jpg", "d.jpg"]
    assert list(spool.skip_done(photos)) == ["a.jpg", "d.jpg"]


@pytest.mark.parametrize(
    "photos", [[], ["a.jpg"], ["b.jpg", "a.jpg", "c.jpg"], ["a.jpg", "c.jpg", "d.jpg"]]
)
def test_a_changed_list_of_photos_is_refused(photos: list[str], out: Path, partial: Path) -> None:
    spool = Spool(out)
    spool.go_on(HEADER, batch_size=1)
    with pytest.raises(DataError, match="the list of photos changed"):
        list(spool.skip_done(photos))


def test_every_difference_of_the_header_is_named(out: Path, partial: Path) -> None:
    other = HEADER | {"classifier": "xyz", "within": []}
    with pytest.raises(DataError, match="another classifier, within than this run has"):
        Spool(out).go_on(other, batch_size=1)
    with pytest.raises(DataError, match="another top_k than"):
        Spool(out).go_on(HEADER | {"top_k": 3}, batch_size=1)


def test_what_is_there_is_not_overwritten(out: Path, partial: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)holds the rows of an interrupted run.*--resume"):
        Spool(out).check(resume=False)
    Spool(out).check(resume=True)
    partial.unlink()
    out.write_text("finished", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rows\.csv exists already"):
        Spool(out).check(resume=False)
    with pytest.raises(ConfigError, match=r"nothing to resume: .*rows\.csv is complete"):
        Spool(out).check(resume=True)


def test_an_output_beside_its_spool_is_of_an_interrupted_run(out: Path, partial: Path) -> None:
    out.write_text("finished", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"interrupted run\. Add --resume"):
        Spool(out).check(resume=False)
    Spool(out).check(resume=True)


def test_without_rows_there_is_nothing_to_lose(out: Path) -> None:
    Spool(out).begin(HEADER)
    Spool(out).check(resume=False)


def test_without_a_spool_there_is_nothing_to_resume(out: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)nothing to resume: .*does not exist"):
        Spool(out).check(resume=True)


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_damaged_line_is_named(line: int, out: Path, partial: Path) -> None:
    lines = partial.read_bytes().split(b"\n")
    lines[line - 1] = b"\xff\x00" + lines[line - 1]
    partial.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=rf"Line {line} of .*rows\.csv\.partial is damaged"):
        Spool(out).go_on(HEADER, batch_size=1)


def test_removing_leaves_nothing(out: Path, partial: Path) -> None:
    Spool(out).remove()
    assert list(out.parent.iterdir()) == []
