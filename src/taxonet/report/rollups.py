"""Rollups side by side: one threshold over all ranks, and how bad mistakes are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from taxonet.evaluation import Evaluation
from taxonet.metrics import OperatingPoints
from taxonet.report.drawing import COLOURS, draw_svg
from taxonet.report.structure import Cell, Column, Figure, Section, Table
from taxonet.report.summary import percent

_SHARES = ("AP", "AC", "R@90", "R@95", "M-F1", "L-F1", "L-Top1")
_EDGES = ("mistake_severity", "hierarchical_distance")
_POINTS_AT_MOST = 600  # more are narrower than a printed line
_LINES = ("-", "--", ":")  # when colours begin again
_NEARLY = 0.0005  # differences that the table does not show decide nothing


def rollup_section(evaluations: Mapping[str, Evaluation]) -> Section:
    """Return the section that compares rollups; curves are of the first evaluation."""
    name, subject = next(iter(evaluations.items()))
    columns = (
        Column("classifier"),
        Column("rollup"),
        *(Column(figure, "%", 1) for figure in _SHARES),
        Column("severity", decimals=2),
        Column("distance", decimals=2),
    )
    rows: list[tuple[Cell, ...]] = []
    for one_name, one in evaluations.items():
        for rollup, found in one.metrics["test"]["rollups"].items():
            shares = (percent(found[figure]) for figure in _SHARES)
            rows.append((one_name, rollup, *shares, *(found[figure] for figure in _EDGES)))
    return Section(
        "At every rank",
        paragraphs=(
            "A photo can be named at any rank: the surer, the coarser. As one threshold falls over "
            "all photos, names become finer (recall: the share of the truth's information that is "
            "told) and more often wrong (correct, precision). AP and AC are the areas under these "
            "curves, R@90 the recall that is reached with 90 % of the names right. A rollup is a "
            "way to make probabilities of all nodes from the scores of the head. The severity of a "
            "mistake is the height of the taxon that the true and the named leaf have in common; "
            "the distance counts right names too, as 0.",
            _in_words(name, subject.metrics["test"]["rollups"]),
            *_left_out(name, subject.test.rollups.left_out),
        ),
        tables=(Table("Rollups, each at every threshold.", columns, tuple(rows)),),
        figures=(
            Figure(
                operating_curves(subject.test.rollups.points()),
                f"How precise and how often right the names of {name} are, by how much they tell.",
                "A line for each rollup, in two panels; further up and to the right is better.",
            ),
        ),
    )


def operating_curves(points: Mapping[str, OperatingPoints]) -> str:
    """Draw precision and correctness over recall, a line for each rollup.

    Args:
        points: The curve of each rollup, by name.
    """

    def paint(drawing: Drawing) -> None:
        panels = dict(zip(("precision", "correct"), drawing.subplots(1, 2), strict=True))
        for what, axes in panels.items():
            for number, (name, curve) in enumerate(points.items()):
                shown = _thinned(len(curve.recall))
                axes.plot(
                    curve.recall[shown],
                    getattr(curve, what)[shown],
                    color=COLOURS[number % len(COLOURS)],
                    linestyle=_LINES[number // len(COLOURS) % len(_LINES)],
                    label=name,
                )
            axes.set(xlabel="recall", ylabel=what, xlim=(0, 1), ylim=(0, 1.02))
        panels["precision"].legend(loc="lower left")

    return draw_svg(paint)


def _thinned(points: int) -> slice:
    return slice(None, None, max(1, points // _POINTS_AT_MOST))


def _left_out(name: str, reasons: Mapping[str, str]) -> tuple[str, ...]:
    if not reasons:
        return ()
    parts = [f"{rollup} ({reason.rstrip('.')})" for rollup, reason in reasons.items()]
    return (f"Not for {name}: {', '.join(parts)}.",)


def _in_words(name: str, rollups: Mapping[str, Mapping[str, Any]]) -> str:
    """Say of each figure which rollup has the best, unless all are alike."""
    best: dict[str, list[str]] = {}
    for figure in _SHARES:
        values = {rollup: found[figure] for rollup, found in rollups.items()}
        highest = max(values.values())
        if np.ptp(list(values.values())) > _NEARLY:
            winner = next(rollup for rollup, value in values.items() if value == highest)
            best.setdefault(winner, []).append(figure)
    if not best:
        return f"For {name} all rollups do equally well."
    parts = [f"{rollup} is best in {', '.join(figures)}" for rollup, figures in best.items()]
    return f"For {name}, {'; '.join(parts)}."
