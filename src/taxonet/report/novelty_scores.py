"""Novelty scores side by side, over all unknown photos and by how new their taxa are."""

from collections.abc import Mapping
from typing import Any

from taxonet.evaluation import Evaluation
from taxonet.report.structure import Cell, Column, Section, Table
from taxonet.report.summary import percent

_FIGURES = ("TPR", "TNR", "ACC", "AUROC", "FPR@95", "OSCR")


def novelty_score_section(evaluations: Mapping[str, Evaluation]) -> Section | None:
    """Return the section that compares novelty scores; None where none were compared."""
    compared = {
        name: one.metrics["novelty_scores"]
        for name, one in evaluations.items()
        if one.metrics.get("novelty_scores")
    }
    if not compared:
        return None
    return Section(
        "Novelty scores",
        paragraphs=(*_in_words(compared), *_left_out(compared)),
        tables=tuple(novelty_score_tables(evaluations)),
    )


def novelty_score_tables(evaluations: Mapping[str, Evaluation]) -> list[Table]:
    """Return the table of all unknown photos and that by stratum; none were nothing compared."""
    rows = [
        (name, score, found)
        for name, one in evaluations.items()
        for score, found in (one.metrics.get("novelty_scores") or {"scores": {}})["scores"].items()
    ]
    return [_overall(rows), _by_novelty(rows)] if rows else []


def _overall(found: list[tuple[str, str, dict[str, Any]]]) -> Table:
    columns = (
        Column("classifier"),
        Column("score"),
        *(Column(figure, "%", 1) for figure in _FIGURES),
    )
    rows: list[tuple[Cell, ...]] = [
        (name, score, *(percent(figures.get(figure)) for figure in _FIGURES))
        for name, score, figures in found
    ]
    return Table("Every novelty score on all unknown photos.", columns, tuple(rows))


def _by_novelty(found: list[tuple[str, str, dict[str, Any]]]) -> Table:
    strata = list(dict.fromkeys(name for _, _, one in found for name in one["by_novelty"]))
    columns = (
        Column("classifier"),
        Column("score"),
        *(Column(f"AUROC, {stratum}", "%", 1) for stratum in strata),
        *(Column(f"TNR, {stratum}", "%", 1) for stratum in strata),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, score, figures in found:
        parts = [figures["by_novelty"].get(stratum, {}) for stratum in strata]
        cells = [percent(part.get(key)) for key in ("AUROC", "TNR") for part in parts]
        rows.append((name, score, *cells))
    return Table("Every novelty score by how new the taxon is.", columns, tuple(rows))


def _in_words(compared: Mapping[str, Mapping[str, Any]]) -> list[str]:
    words = []
    for name, found in compared.items():
        best = max(found["scores"], key=lambda score: found["scores"][score]["AUROC"])
        words.append(
            f"For {name}, {best} tells unknown photos from known ones best (AUROC "
            f"{percent(found['scores'][best]['AUROC']):.1f} %). To choose a score by these photos "
            "is to fit to them: its figures on others may be lower."
        )
        images = found["calibration_images"]
        words.append(
            f"Each threshold accepts {found['known_accepted']:.0%} of {images} calibration photos."
            if images
            else "Without calibration photos there are no thresholds, and no TPR, TNR and ACC."
        )
    return words


def _left_out(compared: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"Not for {name}: "
        + "; ".join(f"{score} ({why.rstrip('.')})" for score, why in found["left_out"].items())
        + "."
        for name, found in compared.items()
        if found["left_out"]
    ]
