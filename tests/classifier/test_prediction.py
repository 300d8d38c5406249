import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from taxonet.classifier import (
    Calibration,
    PredictionSummary,
    TaxonClassifier,
    classes_within,
    predict_to_file,
    prediction,
)
from taxonet.classifier.rows import Row
from taxonet.errors import CheckpointError, ConfigError, DataError, TaxonomyError
from taxonet.recipes.verbs import PredictConfig
from tests.helpers import save_photo

BATCH = 4
FORMATS = ("csv", "jsonl", "parquet")


class StopError(RuntimeError):
    """What a test stops a run with."""


@pytest.fixture
def listed(photos: list[str], tmp_path: Path) -> Path:
    """A list of the photos, the first of them twice."""
    path = tmp_path / "photos.txt"
    path.write_text("".join(f"{photo}\n" for photo in [*photos, photos[0]]), encoding="utf-8")
    return path


@pytest.fixture
def run(saved: Path, listed: Path, tmp_path: Path) -> Callable[..., PredictionSummary]:
    """Predict the listed photos into ``rows.csv``; options change that."""

    def predict(**options: Any) -> PredictionSummary:
        defaults = {
            "classifier": saved,
            "images": (str(listed),),
            "out": tmp_path / "rows.csv",
            "batch_size": BATCH,
            "device": "cpu",
        }
        return predict_to_file(PredictConfig(**(defaults | options)))

    return predict


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let runs stop when that many rows have been made; None lets them run."""
    rows = TaxonClassifier.rows

    def stop(count: int | None) -> None:
        def stopping(*args: Any, **options: Any) -> Iterator[Row]:
            for made, row in enumerate(rows(*args, **options)):
                if made == count:
                    raise StopError
                yield row

        monkeypatch.setattr(TaxonClassifier, "rows", stopping)

    return stop


def read(path: Path) -> pd.DataFrame:
    """Read rows of any format in the types that `predict` has: float64, and str or None."""
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
    elif path.suffix == ".jsonl":
        text = path.read_text(encoding="utf-8")
        frame = pd.DataFrame([json.loads(line) for line in text.splitlines()])
    else:
        with path.open(encoding="utf-8", newline="") as stream:
            header, *lines = csv.reader(stream)
            cells = [[cell or None for cell in line] for line in lines]
            frame = pd.DataFrame(cells, columns=header, dtype=object)
    figures = [name for name in frame.columns if "robability" in name or name == "noveltyScore"]
    frame = frame.astype(object).where(frame.notna(), None)
    return frame.astype(dict.fromkeys(figures, float))


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_holds_the_rows_of_predict(
    suffix: str,
    run: Callable[..., PredictionSummary],
    classifier: TaxonClassifier,
    photos: list[str],
    tmp_path: Path,
) -> None:
    out = tmp_path / "sub" / f"rows.{suffix}"
    summary = run(out=out, top_k=2)
    images = [*photos, photos[0]]
    rows = read(out)
    pd.testing.assert_frame_equal(rows, classifier.predict(images, top_k=2, batch_size=BATCH))
    assert rows["image"].tolist() == images
    unknown = int((rows["rule"] == "unknown").sum())
    assert unknown > 0
    assert summary == PredictionSummary(out, 15, 2, unknown, 0)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("suffix", FORMATS)
def test_odd_file_names_survive_in_every_format(
    suffix: str, run: Callable[..., PredictionSummary], tmp_path: Path
) -> None:
    names = ["a, b.png", 'the "best".png', "ünï 海.png", "two\nlines.png", "cr\r.png", "'=1+1.png"]
    for seed, name in enumerate(names):
        save_photo(tmp_path / "odd" / name, seed)
    out = tmp_path / f"rows.{suffix}"
    run(images=(str(tmp_path / "odd"),), out=out)
    assert sorted(read(out)["image"]) == sorted(str(tmp_path / "odd" / name) for name in names)
    assert "ünï 海.png".encode() in out.read_bytes()  # and people can search the file for it


@pytest.mark.parametrize("suffix", FORMATS)
def test_file_names_that_are_no_text_neither_crash_nor_get_lost(
    suffix: str,
    run: Callable[..., PredictionSummary],
    stop_after: Callable[[int | None], None],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "odd"
    for seed in range(6):
        save_photo(folder / f"{seed}.png", seed)
    bad = os.fsencode(folder) + b"/2b caf\xe9.png"
    try:
        Path(os.fsdecode(bad)).write_bytes((folder / "3.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    options = {"images": (str(folder),), "out": tmp_path / f"rows.{suffix}", "batch_size": 2}
    stop_after(5)
    with pytest.raises(StopError):
        run(**options)
    stop_after(None)
    summary = run(**options, resume=True)
    assert (summary.images, summary.unreadable, summary.resumed_from) == (7, 0, 4)
    rows = read(tmp_path / f"rows.{suffix}")
    assert rows["image"][3] == f"{folder}/2b caf\\udce9.png"
    assert rows["scientificName"][3] == rows["scientificName"][4] == "Rosa canina"


def test_no_photos_give_a_file_without_rows(
    run: Callable[..., PredictionSummary], classifier: TaxonClassifier, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for suffix in FORMATS:
        out = tmp_path / f"rows.{suffix}"
        assert run(images=(str(tmp_path / "empty"),), out=out).images == 0
        if suffix == "jsonl":
            assert out.read_bytes() == b""
        else:
            assert list(read(out).columns) == classifier.row_maker().columns


def test_an_existing_output_is_never_touched(
    run: Callable[..., PredictionSummary], tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("precious", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rows\.csv exists already"):
        run()
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8") == "precious"


def test_an_unknown_format_is_refused(run: Callable[..., PredictionSummary]) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.csv, \.jsonl, \.parquet, got rows\.xlsx"):
        run(out=Path("rows.xlsx"))


@pytest.mark.parametrize(
    ("count", "suffix"),
    [(0, "csv"), (1, "csv"), (4, "csv"), (7, "csv"), (14, "csv"), (7, "jsonl"), (7, "parquet")],
)
def test_a_stopped_run_goes_on_to_the_identical_file(
    count: int,
    suffix: str,
    run: Callable[..., PredictionSummary],
    stop_after: Callable[[int | None], None],
    tmp_path: Path,
) -> None:
    run(out=tmp_path / f"whole.{suffix}")
    out = tmp_path / f"rows.{suffix}"
    stop_after(count)
    with pytest.raises(StopError):
        run(out=out)
    assert not out.exists()
    stop_after(None)
    summary = run(out=out, resume=True)
    assert summary.resumed_from == count - count % BATCH
    assert (summary.images, summary.unreadable) == (15, 2)
    assert out.read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()
    assert not (tmp_path / f"rows.{suffix}.partial").exists()


def test_a_run_stopped_again_and_again_loses_nothing(
    run: Callable[..., PredictionSummary],
    stop_after: Callable[[int | None], None],
    tmp_path: Path,
) -> None:
    run(out=tmp_path / "whole.csv")
    partial = tmp_path / "rows.csv.partial"
    for resume in (False, True, True):
        stop_after(6)
        with pytest.raises(StopError):
            run(resume=resume)
        partial.write_bytes(partial.read_bytes()[:-9])  # the last row is torn
    stop_after(None)
    assert run(resume=True).resumed_from == 12
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_run_killed_while_it_wrote_the_output_goes_on(
    run: Callable[..., PredictionSummary],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    run(out=tmp_path / "whole.csv")

    def fail(*_: Any) -> None:
        raise StopError

    with monkeypatch.context() as patched:
        patched.setattr(prediction, "writer_for", lambda _: fail)
        with pytest.raises(StopError):
            run()
    run(resume=True)
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.fixture
def stopped(
    run: Callable[..., PredictionSummary], stop_after: Callable[[int | None], None]
) -> None:
    """Leave a run stopped after eight rows."""
    stop_after(8)
    with pytest.raises(StopError):
        run()
    stop_after(None)


@pytest.mark.usefixtures("stopped")
def test_a_new_run_does_not_start_over_the_rows_of_a_stopped_one(
    run: Callable[..., PredictionSummary],
) -> None:
    with pytest.raises(ConfigError, match=r"holds the rows of an interrupted run. Add --resume"):
        run()


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"top_k": 2}, "top_k"),
        ({"within": ("family=Rosaceae",)}, "within"),
        ({"renormalise": False}, "renormalise"),
    ],
)
def test_a_resume_with_other_options_is_refused(
    options: dict[str, Any], named: str, run: Callable[..., PredictionSummary]
) -> None:
    with pytest.raises(DataError, match=f"made with another {named} than"):
        run(resume=True, **options)
    assert run(resume=True).images == 15  # the refusal harmed nothing


@pytest.mark.usefixtures("stopped")
def test_a_resume_with_another_classifier_is_refused(
    run: Callable[..., PredictionSummary], classifier: TaxonClassifier, tmp_path: Path
) -> None:
    other = classifier.with_calibration(Calibration(temperature=1.25))
    other.save(tmp_path / "other")
    with pytest.raises(DataError, match="made with another classifier than"):
        run(resume=True, classifier=tmp_path / "other")


@pytest.mark.usefixtures("stopped")
def test_a_resume_may_take_a_moved_classifier_and_another_batch_size(
    run: Callable[..., PredictionSummary], saved: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(saved, tmp_path / "moved")
    assert run(resume=True, classifier=moved, batch_size=3).resumed_from == 6


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("change", ["another first photo", "another order", "too few"])
def test_a_resume_with_another_list_is_refused(
    change: str, run: Callable[..., PredictionSummary], listed: Path
) -> None:
    lines = listed.read_text(encoding="utf-8").splitlines(keepends=True)
    changed = {
        "another first photo": ["other.png\n", *lines],
        "another order": [lines[1], lines[0], *lines[2:]],
        "too few": lines[:6],
    }[change]
    listed.write_text("".join(changed), encoding="utf-8")
    with pytest.raises(DataError, match="the list of photos changed"):
        run(resume=True)


@pytest.mark.usefixtures("stopped")
def test_photos_added_at_the_end_are_named_too(
    run: Callable[..., PredictionSummary], listed: Path, photos: list[str]
) -> None:
    with listed.open("a", encoding="utf-8") as stream:
        stream.write(f"{photos[1]}\n")
    summary = run(resume=True)
    assert (summary.resumed_from, summary.images) == (8, 16)


def test_a_changed_species_list_is_refused(
    run: Callable[..., PredictionSummary],
    stop_after: Callable[[int | None], None],
    tmp_path: Path,
) -> None:
    species = tmp_path / "species.txt"
    species.write_text("Rosa canina\nRosa gallica\n", encoding="utf-8")
    stop_after(8)
    with pytest.raises(StopError):
        run(species_list=species)
    stop_after(None)
    species.write_text("Rosa canina\n", encoding="utf-8")
    with pytest.raises(DataError, match="made with another species_list than"):
        run(species_list=species, resume=True)


def test_nothing_to_resume_is_said(run: Callable[..., PredictionSummary]) -> None:
    with pytest.raises(ConfigError, match=r"nothing to resume: .*Run without --resume"):
        run(resume=True)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"within": ("family=Rosacea",)}, ConfigError),
        ({"images": ("nothing/*.png",)}, DataError),
        ({"classifier": Path("nowhere")}, CheckpointError),
        ({"species_list": Path("nowhere.txt")}, OSError),
    ],
)
def test_a_mistake_leaves_nothing_in_the_way_of_the_next_run(
    options: dict[str, Any], error: type[Exception], run: Callable[..., PredictionSummary]
) -> None:
    with pytest.raises(error):
        run(**options)
    assert run().images == 15


def test_photos_are_pulled_no_faster_than_rows_are_written(
    run: Callable[..., PredictionSummary],
    monkeypatch: pytest.MonkeyPatch,
    photos: list[str],
    tmp_path: Path,
) -> None:
    partial = tmp_path / "rows.csv.partial"
    behind = []

    def many(_: object) -> Iterator[str]:
        for pulled in range(1, 61):
            written = len(partial.read_bytes().splitlines()) - 1
            behind.append(pulled - written)
            yield photos[pulled % 3]

    monkeypatch.setattr(prediction, "find_images", many)
    assert run().images == 60
    assert len(behind) == 60
    assert max(behind) <= 2 * BATCH


def test_within_restricts_the_rows(
    run: Callable[..., PredictionSummary],
    classifier: TaxonClassifier,
    photos: list[str],
    tmp_path: Path,
) -> None:
    run(within=("genus=Rosa", "genus=Rubus"), renormalise=False)
    allowed = classes_within(
        classifier.taxonomy, classifier.class_nodes, ("genus=Rosa", "genus=Rubus")
    )
    expected = classifier.predict(
        [*photos, photos[0]], allowed=allowed, renormalise=False, batch_size=BATCH
    )
    pd.testing.assert_frame_equal(read(tmp_path / "rows.csv"), expected)


def test_a_species_list_says_what_it_did_not_find(
    run: Callable[..., PredictionSummary], tmp_path: Path
) -> None:
    species = tmp_path / "species.csv"
    species.write_text(
        'name,region\nRosa canina,A\n"Quercus robur, L.",A\nAcer,B\nFagus,B\n', encoding="utf-8"
    )
    summary = run(species_list=species)
    about_list, about_threshold = summary.notes
    assert about_list == (
        "The species list allows 3 of 6 taxa; 2 of its 4 names are not in the classifier (first: "
        "Quercus robur, L., Fagus)."
    )
    assert "does not hold for them" in about_threshold
    names = set(read(tmp_path / "rows.csv")["scientificName"].dropna())
    assert names <= {"Rosa canina", "Acer", "Acer rubrum"}


def test_within_and_a_list_must_leave_something(
    run: Callable[..., PredictionSummary], tmp_path: Path
) -> None:
    species = tmp_path / "species.txt"
    species.write_text("Acer\nRosa canina\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        run(within=("genus=Rubus",), species_list=species)
    assert f"left by --within genus=Rubus and --species-list {species}" in str(error.value)
    with pytest.raises(ConfigError, match="left by --within species=Rubus idaeus"):
        run(within=("species=Rubus idaeus",))
    species.write_text("Quercus\n", encoding="utf-8")
    with pytest.raises(TaxonomyError, match="None of the 1 names"):
        run(species_list=species)
    species.write_text("Acer\nRosa canina\n", encoding="utf-8")
    run(within=("genus=Rosa",), species_list=species)
    rows = read(tmp_path / "rows.csv")
    assert set(rows["scientificName"].dropna()) == {"Rosa canina"}  # the only one of both


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_process_leaves_what_a_resume_goes_on_from(
    run: Callable[..., PredictionSummary], saved: Path, photos: list[str], tmp_path: Path
) -> None:
    run(out=tmp_path / "whole.csv")
    partial = tmp_path / "rows.csv.partial"
    command = [sys.executable, "-c", "from taxonet.cli import main; main()", "predict"]
    options = ["--out", str(tmp_path / "rows.csv"), "--batch-size", str(BATCH), "--device", "cpu"]
    process = subprocess.Popen(
        [*command, str(saved), "-", *options], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        # Ten photos make two whole batches; the process then waits for the rest of the third.
        process.stdin.write("".join(f"{photo}\n" for photo in photos[:10]).encode())
        process.stdin.flush()
        deadline = time.monotonic() + 120
        while not (partial.exists() and partial.read_bytes().count(b"\n") >= 1 + 2 * BATCH):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "rows.csv").exists()
    assert run(resume=True).resumed_from == 2 * BATCH
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
