import csv
import json
import os
import re
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
from taxonet.classifier.spool import Spool
from taxonet.classifier.writers import Writer, writer_for
from taxonet.errors import CheckpointError, ConfigError, DataError, TaxonomyError
from taxonet.recipes.verbs import PredictConfig
from taxonet.registry import ROLLUPS
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
    assert summary == PredictionSummary(out, 15, 2, unknown, 0, classifier.naming.promise)
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
        patched.setattr(prediction, "writer_for", lambda *_: fail)
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
        ({"rollup": "diffusion"}, "rollup"),
        ({"rollup": "diffusion", "set": ("alpha=0.1",)}, "rollup, set"),
        ({"node_probs": Path("nodes.csv")}, "node_probs, node_probs_from"),
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


def probabilities_of(classifier: TaxonClassifier, image: str, **options: Any) -> dict[str, float]:
    """Return the probability of each taxon but the root, by its path, for one photo."""
    (batch,) = classifier.score([(image, image)])
    (probs,) = classifier.node_probs(batch.logits, **options).tolist()
    tree = classifier.taxonomy
    return {tree.path_text(node): probs[node] for node in range(1, len(tree))}


@pytest.mark.parametrize("alpha", [0.0, 0.9])
def test_options_reach_the_rollup(
    alpha: float,
    run: Callable[..., PredictionSummary],
    classifier: TaxonClassifier,
    photos: list[str],
    tmp_path: Path,
) -> None:
    chosen = (f"alpha={alpha}", "levels=last_two")
    run(rollup="diffusion", set=chosen, images=(photos[4],))
    options = {"alpha": alpha, "levels": "last_two"}
    rollup = ROLLUPS.build("diffusion", options)
    expected = probabilities_of(classifier, photos[4], rollup=rollup)
    others = probabilities_of(classifier, photos[4], rollup=ROLLUPS.build("diffusion", {}))
    row = read(tmp_path / "rows.csv").iloc[0]
    path = "Rosaceae/Rosa/Rosa gallica"
    assert row["species"] == "Rosa gallica"
    assert row["species_probability"] == pytest.approx(expected[path], abs=1e-5)
    assert abs(expected[path] - others[path]) > 0.01


@pytest.mark.parametrize(
    ("rollup", "option", "says"),
    [
        ("diffusion", "alhpa=0.1", "no option 'alhpa'. Did you mean 'alpha'?"),
        ("diffusion", "levels=some", "option 'levels'"),
        ("diffusion", "alpha", "path.to.key=value, got 'alpha'"),
        ("diffusion", "alpha=1.5", r"alpha in [0, 1), got 1.5"),
        ("diffusion", "top=0", "top of at least 1"),
        ("own", "alpha=0.1", "'own' has no option 'alpha'. Options: none."),
    ],
)
def test_options_that_the_rollup_cannot_take_are_refused_before_the_first_photo(
    rollup: str, option: str, says: str, run: Callable[..., PredictionSummary], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        run(rollup=rollup, set=(option,))
    assert not (tmp_path / "rows.csv.partial").exists()


def test_a_resume_with_other_options_of_the_rollup_or_the_table_is_refused(
    run: Callable[..., PredictionSummary],
    stop_after: Callable[[int | None], None],
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {
        "rollup": "diffusion",
        "set": ("alpha=0.1", "levels=last_two"),
        "node_probs": tmp_path / "nodes.csv",
    }
    stop_after(8)
    with pytest.raises(StopError):
        run(**options)
    stop_after(None)
    for changed, named in (
        ({"set": ("alpha=0.2", "levels=last_two")}, "set"),
        ({"node_probs_from": 0.1}, "node_probs_from"),
        ({"node_probs": tmp_path / "others.csv"}, "node_probs"),
        ({"node_probs": None}, "node_probs, node_probs_from"),
    ):
        with pytest.raises(DataError, match=f"made with another {named} than"):
            run(**(options | changed), resume=True)
    options["set"] = ("levels=last_two", "alpha=0.10")  # the same in other words
    assert run(**options, resume=True).resumed_from == 8


@pytest.mark.parametrize("rollup", ["own", "diffusion"])
@pytest.mark.parametrize("smallest", [1e-6, 0.2])
def test_the_table_of_nodes_holds_the_likely_taxa_of_each_photo(
    rollup: str,
    smallest: float,
    run: Callable[..., PredictionSummary],
    classifier: TaxonClassifier,
    photos: list[str],
    tmp_path: Path,
) -> None:
    nodes = tmp_path / "sub" / "nodes.csv"
    run(rollup=rollup, node_probs=nodes, node_probs_from=smallest, batch_size=1)
    table = read(nodes)
    columns = ["image", "scientificName", "taxonRank", "path", "probability"]
    assert list(table.columns) == columns
    readable = [photo for place, photo in enumerate(photos) if place not in (3, 9)]
    assert table["image"].drop_duplicates().tolist() == readable  # the broken two have no line
    tree, way = classifier.taxonomy, ROLLUPS.build(rollup, {})
    expected = [
        (photo, tree.names[node], tree.rank_name(node), tree.path_text(node), probability)
        for photo in [*readable, photos[0]]
        for node, probability in zip(
            range(1, len(tree)),
            probabilities_of(classifier, photo, rollup=way).values(),
            strict=True,
        )
        if probability >= smallest
    ]
    frame = pd.DataFrame(expected, columns=columns)
    pd.testing.assert_frame_equal(
        table, frame.astype(dict.fromkeys(columns[:4], object)), check_exact=False, atol=1e-5
    )


def test_the_lines_of_a_photo_add_up_along_the_tree(
    run: Callable[..., PredictionSummary], listed: Path, photos: list[str], tmp_path: Path
) -> None:
    listed.write_text("".join(f"{photo}\n" for photo in photos), encoding="utf-8")
    nodes = tmp_path / "nodes.parquet"
    run(node_probs=nodes, node_probs_from=1e-9)
    rows, table = read(tmp_path / "rows.csv"), read(nodes)
    for image in table["image"].unique():
        lines = table[table["image"] == image]
        probs = dict(zip(lines["path"], lines["probability"], strict=True))
        sums: dict[str, float] = {}
        for path, probability in probs.items():
            parent = path.rpartition("/")[0]
            sums[parent] = sums.get(parent, 0.0) + probability
        assert sums.pop("") == pytest.approx(1, abs=1e-5)  # the families
        assert set(sums) == {"Rosaceae", "Sapindaceae", "Rosaceae/Rosa", "Sapindaceae/Acer"}
        assert all(total <= probs[path] + 1e-6 for path, total in sums.items())
        families = lines[lines["taxonRank"] == "family"]
        best = families.loc[families["probability"].idxmax()]
        row = rows[rows["image"] == image].iloc[0]
        assert best["scientificName"] == row["family"]
        assert best["probability"] == row["family_probability"]


def test_the_table_of_nodes_is_restricted_as_the_rows_are(
    run: Callable[..., PredictionSummary], tmp_path: Path
) -> None:
    for renormalise in (True, False):
        out, nodes = tmp_path / f"{renormalise}.csv", tmp_path / f"{renormalise} nodes.csv"
        run(
            out=out,
            node_probs=nodes,
            node_probs_from=1e-9,
            within=("genus=Rosa",),
            renormalise=renormalise,
        )
        table = read(nodes)
        genus = table[table["path"] == "Rosaceae/Rosa"]["probability"].tolist()
        assert genus == read(out)["genus_probability"].dropna().tolist()
        assert bool((table[table["taxonRank"] == "genus"]["path"] == "Rosaceae/Rosa").all())
        assert set(table["path"].str.split("/").str[0]) == {"Rosaceae"}


def test_the_table_of_nodes_is_the_same_in_every_format(
    run: Callable[..., PredictionSummary], tmp_path: Path
) -> None:
    tables = []
    for suffix in FORMATS:
        nodes = tmp_path / f"nodes.{suffix}"
        run(out=tmp_path / f"{suffix}.csv", node_probs=nodes)
        tables.append(read(nodes))
    assert len(tables[0]) > 15
    assert bool((tables[0]["probability"] >= 0.01).all())
    for other in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], other)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_rows_are_the_same_beside_a_table_of_nodes(
    suffix: str, run: Callable[..., PredictionSummary], tmp_path: Path
) -> None:
    alone, beside = tmp_path / f"alone.{suffix}", tmp_path / f"beside.{suffix}"
    run(out=alone)
    run(out=beside, node_probs=tmp_path / "nodes.csv")
    assert alone.read_bytes() == beside.read_bytes()


def test_no_photos_give_a_table_of_nodes_without_lines(
    run: Callable[..., PredictionSummary], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    nodes = tmp_path / "nodes.csv"
    run(images=(str(tmp_path / "empty"),), node_probs=nodes)
    assert nodes.read_text(encoding="utf-8").split() == [
        "image,scientificName,taxonRank,path,probability"
    ]


@pytest.fixture
def whole(run: Callable[..., PredictionSummary], tmp_path: Path) -> Callable[[], bool]:
    """Tell whether ``rows.csv`` and ``nodes.csv`` are as an uninterrupted run leaves them."""
    folder = tmp_path / "whole"
    run(out=folder / "rows.csv", node_probs=folder / "nodes.csv")

    def is_whole() -> bool:
        return not (tmp_path / "rows.csv.partial").exists() and all(
            (tmp_path / name).read_bytes() == (folder / name).read_bytes()
            for name in ("rows.csv", "nodes.csv")
        )

    return is_whole


@pytest.mark.parametrize("count", [0, 1, 7, 14])
def test_a_stopped_run_goes_on_to_the_identical_table_of_nodes(
    count: int,
    run: Callable[..., PredictionSummary],
    stop_after: Callable[[int | None], None],
    whole: Callable[[], bool],
    tmp_path: Path,
) -> None:
    nodes = tmp_path / "nodes.csv"
    stop_after(count)
    with pytest.raises(StopError):
        run(node_probs=nodes)
    assert not nodes.exists()
    stop_after(None)
    assert run(node_probs=nodes, resume=True).resumed_from == count - count % BATCH
    assert whole()


def test_a_run_killed_between_the_two_files_goes_on(
    run: Callable[..., PredictionSummary],
    monkeypatch: pytest.MonkeyPatch,
    whole: Callable[[], bool],
    tmp_path: Path,
) -> None:
    nodes = tmp_path / "nodes.csv"

    def fail(*_: Any) -> None:
        raise StopError

    def only_rows(out: Path, option: str) -> Writer:
        return fail if option == "--node-probs" else writer_for(out, option)

    with monkeypatch.context() as patched:
        patched.setattr(prediction, "writer_for", only_rows)
        with pytest.raises(StopError):
            run(node_probs=nodes)
    assert (tmp_path / "rows.csv").exists()
    assert not nodes.exists()
    with pytest.raises(ConfigError, match=r"interrupted run\. Add --resume"):
        run(node_probs=nodes)
    run(node_probs=nodes, resume=True)
    assert whole()


def test_a_run_killed_before_its_spool_was_removed_goes_on(
    run: Callable[..., PredictionSummary],
    monkeypatch: pytest.MonkeyPatch,
    whole: Callable[[], bool],
    tmp_path: Path,
) -> None:
    nodes = tmp_path / "nodes.csv"

    def fail(_: Spool) -> None:
        raise StopError

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "remove", fail)
        with pytest.raises(StopError):
            run(node_probs=nodes)
    run(node_probs=nodes, resume=True)
    assert whole()
    with pytest.raises(ConfigError, match=r"nothing to resume: .*rows\.csv is complete"):
        run(node_probs=nodes, resume=True)


def test_an_existing_table_of_nodes_is_never_touched(
    run: Callable[..., PredictionSummary],
    stop_after: Callable[[int | None], None],
    tmp_path: Path,
) -> None:
    nodes = tmp_path / "nodes.csv"
    nodes.write_text("precious", encoding="utf-8")
    says = r"nodes\.csv exists already. Remove it or choose another --node-probs"
    with pytest.raises(ConfigError, match=says):
        run(node_probs=nodes)
    assert [path.name for path in tmp_path.glob("rows*")] == []
    nodes.unlink()
    stop_after(8)
    with pytest.raises(StopError):
        run(node_probs=nodes)
    stop_after(None)
    nodes.write_text("precious", encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        run(node_probs=nodes, resume=True)
    assert nodes.read_text(encoding="utf-8") == "precious"


def test_an_unknown_format_of_the_table_of_nodes_is_refused(
    run: Callable[..., PredictionSummary],
) -> None:
    with pytest.raises(ConfigError, match=r"--node-probs must end in \.csv, .*, got nodes\.xlsx"):
        run(node_probs=Path("nodes.xlsx"))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_process_leaves_what_a_resume_goes_on_from(
    run: Callable[..., PredictionSummary], saved: Path, photos: list[str], tmp_path: Path
) -> None:
    run(out=tmp_path / "whole.csv", node_probs=tmp_path / "whole nodes.csv")
    partial, nodes = tmp_path / "rows.csv.partial", tmp_path / "nodes.csv"
    command = [sys.executable, "-c", "from taxonet.cli import main; main()", "predict"]
    options = ["--out", str(tmp_path / "rows.csv"), "--batch-size", str(BATCH), "--device", "cpu"]
    options += ["--node-probs", str(nodes)]
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
    assert not nodes.exists()
    assert run(resume=True, node_probs=nodes).resumed_from == 2 * BATCH
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert nodes.read_bytes() == (tmp_path / "whole nodes.csv").read_bytes()
