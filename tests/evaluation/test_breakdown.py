"""Figures for each value of a column, against the same evaluation of these photos alone."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from taxonet.data.table import ImageTable
from taxonet.errors import ConfigError, DataError
from taxonet.evaluation import evaluate
from taxonet.evaluation.breakdown import Breakdown
from taxonet.recipes.verbs import EvaluateConfig
from taxonet.report import summary_tables
from taxonet.seeds import generator
from tests.evaluation.conftest import Logits, write_table

NAMES = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")
REGIONS = ("North", "South", "")
Script = Callable[[Logits], None]
Row = tuple[str, ...]


@pytest.fixture
def rows(script: Script) -> list[Row]:
    """60 photos of three regions and five months; the last one cannot be read."""
    draw = generator("breakdown")
    noise = draw.normal(0, 2, (60, 6))
    truth = draw.integers(0, 6, 60).tolist()
    for row, k in enumerate(truth):
        noise[row, k] += 2
    script({f"{row}.jpg": noise[row].tolist() for row in range(59)})
    dates = [f"2024-{1 + row % 5:02d}-11T09:00" for row in range(60)]
    return [(f"{row}.jpg", NAMES[k], REGIONS[row % 3], dates[row]) for row, k in enumerate(truth)]


def test_each_value_is_an_evaluation_of_its_own(
    folder: Path, tmp_path: Path, rows: list[Row]
) -> None:
    path = write_table(tmp_path / "t.csv", rows, "region", "date")
    given = EvaluateConfig(
        classifier=folder, images=path, by=("region", "month"), batch_size=7, device="cpu"
    )
    by = evaluate(given).metrics["test"]["by"]
    assert list(by) == ["region", "month"]
    assert list(by["region"]) == ["(none)", "North", "South"]
    assert list(by["month"]) == ["01", "02", "03", "04", "05"]
    assert [one["images"] for one in by["region"].values()] == [19, 20, 20]
    for column, place in (("region", 2), ("month", 3)):
        for value, found in by[column].items():
            some = [row for row in rows if _value(column, row[place]) == value]
            alone = write_table(tmp_path / "alone.csv", some, "region", "date")
            wanted = evaluate(EvaluateConfig(classifier=folder, images=alone, device="cpu"))
            for name, level in wanted.metrics["test"]["levels"].items():
                assert found["levels"][name] == {
                    "images": level["images"],
                    "taxa": level["classes"],
                    "rank1": pytest.approx(level["rank1"]),
                    "macro_recall": pytest.approx(level["macro_recall"]),
                }, (column, value, name)


def _value(column: str, cell: str) -> str:
    return (cell or "(none)") if column == "region" else cell[5:7]


def test_the_tables_say_what_the_metrics_say(folder: Path, tmp_path: Path, rows: list[Row]) -> None:
    path = write_table(tmp_path / "t.csv", rows, "region", "date")
    other = write_table(tmp_path / "r.csv", [row[:3] for row in rows[:40]], "region")
    found = evaluate(
        EvaluateConfig(
            classifier=folder, images=path, region=other, by=("region", "month"), device="cpu"
        )
    )
    assert list(found.metrics["region"]["by"]) == ["region"]  # these photos have no date
    tables = {table.caption: table for table in summary_tables({"one": found})}
    table = tables["On the test photos, by region."]
    south = found.metrics["test"]["by"]["region"]["South"]["levels"]["genus"]
    (row,) = [row for row in table.rows if row[0] == "South" and row[2] == "genus"]
    assert row[1:] == (
        "one",
        "genus",
        south["images"],
        south["taxa"],
        100 * south["rank1"],
        100 * south["macro_recall"],
    )
    assert len(tables["On the photos of another region, by region."].rows) == 3 * 4


def test_only_the_most_frequent_of_many_values_are_shown(
    folder: Path, tmp_path: Path, rows: list[Row]
) -> None:
    many = [(*row[:2], f"plot {number // 4:02d}") for number, row in enumerate(rows)]
    path = write_table(tmp_path / "t.csv", many, "plot")
    found = evaluate(EvaluateConfig(classifier=folder, images=path, by=("plot",), device="cpu"))
    assert len(found.metrics["test"]["by"]["plot"]) == 15
    (table,) = [t for t in summary_tables({"one": found}) if "by plot" in t.caption]
    assert table.caption == "On the test photos, by plot: the 12 of 15 with most."
    # The photo that could not be read was of the last plot.
    assert sorted({str(row[0]) for row in table.rows}) == [f"plot {k:02d}" for k in range(12)]


def test_two_classifiers_stand_side_by_side(folder: Path, tmp_path: Path, rows: list[Row]) -> None:
    given = {"classifier": folder, "device": "cpu", "by": ("region",)}
    one, other = (
        evaluate(
            EvaluateConfig(images=write_table(tmp_path / name, some, "region", "date"), **given)
        )
        for name, some in (("a.csv", rows[:2]), ("b.csv", rows[1:3]))
    )
    (table,) = [t for t in summary_tables({"a": one, "b": other}) if "by region" in t.caption]
    pairs = list(dict.fromkeys(row[:2] for row in table.rows))
    assert pairs == [("(none)", "b"), ("North", "a"), ("South", "a"), ("South", "b")]


def table_with(**columns: list[object]) -> ImageTable:
    size = len(next(iter(columns.values())))
    frame = pd.DataFrame({"image": [f"{k}" for k in range(size)], "taxon": "Acer", **columns})
    return ImageTable(frame)


def test_a_column_month_comes_before_the_date() -> None:
    table = table_with(month=[3.0, None], date=["2024-05-01", "2024-06-01"])
    assert Breakdown({}, table, ["month"])._values["month"].tolist() == ["3", "(none)"]


def test_dates_of_another_form_are_no_months() -> None:
    table = table_with(date=["2024-05", " 2023-12-24", "31/05/2024", "2024", None])
    found = Breakdown({}, table, ["month"])._values["month"].tolist()
    assert found == ["05", "12", "(none)", "(none)", "(none)"]
    with pytest.raises(DataError, match=r"none of the photos has one \(first: '31/05/2024'\)"):
        Breakdown({}, table.rows([2, 3]), ["month"])


def test_an_unknown_column_is_refused_before_anything_is_read(
    folder: Path, tmp_path: Path, rows: list[Row]
) -> None:
    path = write_table(tmp_path / "t.csv", [row[:3] for row in rows], "region")
    given = EvaluateConfig(classifier=folder, images=path, by=("regoin",), device="cpu")
    with pytest.raises(ConfigError, match=r"no column 'regoin'. Did you mean 'region'\? Columns: "):
        evaluate(given)
    with pytest.raises(ConfigError, match="no column 'month'"):
        evaluate(given.model_copy(update={"by": ("month",)}))
