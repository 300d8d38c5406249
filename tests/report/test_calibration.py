"""The section on stated probabilities: its table, and the panels."""

import re

import numpy as np
import pandas as pd
import pytest

from taxonet.classifier import TaxonClassifier
from taxonet.evaluation import Evaluation, evaluate
from taxonet.metrics import ReliabilityCurve, reliability_curve
from taxonet.recipes.verbs import EvaluateConfig
from taxonet.report import calibration_section, reliability
from tests.helpers import save_photo, tiny_parts

ORDER = ("many", "medium", "few")
NAMES = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("judged")
    TaxonClassifier(tiny_parts(), device="cpu").save(folder / "classifier")
    for seed in range(6):
        save_photo(folder / f"{seed}.png", seed)
    rows = [(f"{seed}.png", name) for seed, name in enumerate(NAMES)]
    pd.DataFrame(rows, columns=["image", "taxon"]).to_csv(folder / "test.csv", index=False)
    return evaluate(
        EvaluateConfig(classifier=folder / "classifier", images=folder / "test.csv", device="cpu")
    )


def test_the_table_says_what_the_metrics_say(judged: Evaluation) -> None:
    (table,) = calibration_section({"ours": judged, "theirs": judged}).tables
    calibration = judged.metrics["test"]["calibration"]
    assert [row[:2] for row in table.rows] == [
        (name, rank) for name in ("ours", "theirs") for rank in calibration
    ]
    for row in table.rows:
        found = calibration[row[1]]
        groups = [found["shot_groups"][group] for group in ORDER]
        assert row[2:] == tuple(
            None if share is None else 100 * share for share in (found["ece"], *groups)
        )
    assert table.rows[0][2] is not None


def curve(accuracy: float) -> ReliabilityCurve:
    """Ten images at 0.55 in one bin of ten."""
    return reliability_curve([0.55] * 10, np.arange(10) < round(10 * accuracy), bins=10)


def test_a_panel_for_each_level_and_a_line_for_each_group_with_images() -> None:
    levels = {
        "species": {"many": curve(0.9), "medium": curve(0.5), "few": curve(0.1)},
        "genus": {"many": curve(0.9), "few": reliability_curve([], [])},
    }
    drawn = reliability(levels, order=ORDER)
    for label in ("species", "genus", *ORDER, "honest", "stated probability"):
        assert f">{label}<" in drawn
    # A common group keeps its colour in both panels; one without images draws nothing.
    assert [len(points(drawn, colour)) for colour in ("#0072b2", "#d55e00", "#009e73")] == [2, 1, 1]
    assert reliability(levels, order=ORDER) == drawn


def test_points_stand_where_the_figures_say() -> None:
    """Upwards is right more often: 9 of 10, 5 of 10, 1 of 10 at the same probability."""
    level = {"many": curve(0.9), "medium": curve(0.5), "few": curve(0.1)}
    drawn = reliability({"species": level}, order=ORDER)
    ((x, high),), ((_, middle),), ((_, low),) = (
        points(drawn, colour) for colour in ("#0072b2", "#d55e00", "#009e73")
    )
    assert high < middle < low  # SVG counts downwards
    assert low - middle == pytest.approx(middle - high, rel=1e-3)
    assert {x for colour in ("#d55e00", "#009e73") for x, _ in points(drawn, colour)} == {x}


def points(svg: str, colour: str) -> list[tuple[float, float]]:
    """Where the points of a colour stand."""
    found = re.findall(rf'<use [^>]*x="([\d.]+)" y="([\d.]+)" style="fill: {colour}', svg)
    return [(float(x), float(y)) for x, y in found]


def test_many_levels_take_more_rows_and_none_is_lost() -> None:
    names = ["class", "species", "genus", "family", "order"]
    drawn = reliability({name: {"many": curve(0.5)} for name in names}, order=ORDER)
    for name in names:
        assert f">{name}<" in drawn
    assert len(points(drawn, "#0072b2")) == 5


def test_empty_curves_still_draw() -> None:
    empty = {"many": reliability_curve([], [])}
    assert reliability({"species": empty}, order=ORDER).startswith("<svg")
