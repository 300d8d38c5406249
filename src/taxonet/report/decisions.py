"""What a classifier dares to name, and how often it is right."""

from collections.abc import Mapping
from typing import Any

from taxonet.evaluation import Evaluation
from taxonet.report.structure import Cell, Column, Section, Table
from taxonet.report.summary import percent

_COLUMNS = (
    Column("classifier"),
    Column("promise"),
    Column("named", "%", 1),
    Column("of these right", "%", 1),
    Column("wrong, of all photos", "%", 1),
    Column("called unknown", "%", 1),
    Column("nothing named", "%", 1),
    Column("named at rank"),
)
_OF_A_MIXTURE = (
    Column("unknown taxa, of all photos", "%", 1),
    Column("of the calibration photos", "%", 1),
)


def decision_section(evaluations: Mapping[str, Evaluation]) -> Section:
    """Show decisions on photos of known taxa, and with those of unknown ones where there are."""
    known = {name: one.metrics["test"]["decision"] for name, one in evaluations.items()}
    mixed = {
        name: one.metrics["test_and_unknown"]
        for name, one in evaluations.items()
        if "test_and_unknown" in one.metrics
    }
    rows = tuple(_row(name, found) for name, found in known.items())
    tables = [Table("Decisions on the test photos.", _COLUMNS, rows)]
    if mixed:
        rows = tuple((*_row(name, found), *_shares(found)) for name, found in mixed.items())
        caption = (
            "Decisions on the test photos and those of unknown taxa together. Of an unknown taxon "
            "only the known taxa above it are right."
        )
        tables.append(Table(caption, (*_COLUMNS, *_OF_A_MIXTURE), rows))
    return Section(
        "What it dares to name",
        paragraphs=(
            "The deepest taxon whose summed probability reaches a threshold is named, or what a "
            "policy decides; either was set on calibration photos, and holds for photos like them.",
        ),
        tables=tuple(tables),
    )


def _row(name: str, found: Mapping[str, Any]) -> tuple[Cell, ...]:
    images = found["images"]
    ranks = ", ".join(f"{rank} {count}" for rank, count in found["named_at_rank"].items())
    shares = [100 * found[key] / images for key in ("flagged_unknown", "nothing_named")]
    named, right = 100 * found["named"] / images, percent(found["named_right"])
    return (name, found["promise"], named, right, percent(found["wrong_of_photos"]), *shares, ranks)


def _shares(found: Mapping[str, Any]) -> tuple[Cell, ...]:
    return tuple(100 * found[key] for key in ("unknown_share", "unknown_share_calibrated"))
