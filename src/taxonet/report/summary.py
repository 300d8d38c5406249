"""The tables that answer "how good is it?", on a page and in a terminal."""

from collections.abc import Mapping

from taxonet.data.long_tail import SHOT_GROUPS
from taxonet.evaluation import CLASS_LEVEL, Evaluation, shown_levels
from taxonet.report.structure import Cell, Column, Table

_VALUES_SHOWN = 12  # of a column by which photos are divided; metrics.json has all


def summary_tables(evaluations: Mapping[str, Evaluation]) -> list[Table]:
    """Return the tables that answer "how good": by rank, by shot group, on another region."""
    tables = [_level_table(evaluations, "test", "On the test photos, at every rank.")]
    trained = {
        name: one
        for name, one in evaluations.items()
        if one.test.levels[CLASS_LEVEL].train_counts.any()
    }
    if trained:  # what knows taxa by their names alone has no common and no rare ones
        tables.append(_group_table(trained))
    if any("region" in one.metrics for one in evaluations.values()):
        caption = "On another region, photos of the same taxa."
        tables.append(_level_table(evaluations, "region", caption))
    if any("prior_shift" in one.metrics.get("region", {}) for one in evaluations.values()):
        tables.append(_prior_shift_table(evaluations))
    tables += _breakdown_tables(evaluations)
    if any(one.metrics.get("open_set") for one in evaluations.values()):
        tables += [_open_set_table(evaluations), _novelty_table(evaluations)]
    return tables


def _level_table(evaluations: Mapping[str, Evaluation], part: str, caption: str) -> Table:
    columns = (
        Column("classifier"),
        Column("rank"),
        Column("taxa", decimals=0),
        Column("R@1", "%", 1),
        Column("top-5", "%", 1),
        Column("macro recall", "%", 1),
        Column("macro precision", "%", 1),
        Column("macro F1", "%", 1),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, one in evaluations.items():
        if part not in one.metrics:
            continue
        for rank in shown_levels(one.test):
            found = one.metrics[part]["levels"][rank]
            keys = ("rank1", "top5", "macro_recall", "macro_precision", "macro_f1")
            shares = (percent(found[key]) for key in keys)
            rows.append((_called(name, one, part), rank, found["classes"], *shares))
    return Table(caption, columns, tuple(rows))


def _called(name: str, one: Evaluation, part: str) -> str:
    """Return the name of a classifier, and what of it was not as it was trained."""
    adapted = one.metrics[part].get("batch_norm") == "target"
    return f"{name}, batch norm of these photos" if adapted else name


def _group_table(evaluations: Mapping[str, Evaluation]) -> Table:
    columns = (
        Column("classifier"),
        Column("rank"),
        *(Column(f"{group}-shot", "%", 1) for group in SHOT_GROUPS),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, one in evaluations.items():
        for rank in shown_levels(one.test):
            groups = one.metrics["test"]["levels"][rank]["shot_groups"]
            recalls = (percent(groups[group]["macro_recall"]) for group in SHOT_GROUPS)
            rows.append((name, rank, *recalls))
    caption = (
        "Macro recall by the number of training photos: many is over 100, medium 20 to 100, few "
        "under 20."
    )
    return Table(caption, columns, tuple(rows))


def _prior_shift_table(evaluations: Mapping[str, Evaluation]) -> Table:
    columns = (
        Column("classifier"),
        Column("rank"),
        Column("R@1", "%", 1),
        Column("R@1, corrected", "%", 1),
        Column("macro recall", "%", 1),
        Column("macro recall, corrected", "%", 1),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, one in evaluations.items():
        found = one.metrics.get("region", {}).get("prior_shift")
        if found is None:
            continue
        for rank in shown_levels(one.test):
            sides = [found["levels"][rank][side] for side in ("without", "with")]
            shares = [side[key] for key in ("rank1", "macro_recall") for side in sides]
            called = _called(name, one, "region")
            rows.append((called, rank, *(percent(share) for share in shares)))
    caption = (
        "On the other region, corrected for how common the taxa are there, as estimated without "
        "labels."
    )
    return Table(caption, columns, tuple(rows))


def _breakdown_tables(evaluations: Mapping[str, Evaluation]) -> list[Table]:
    """Return a table for each column by whose values photos were divided, of test and region."""
    words = {"test": "the test photos", "region": "the photos of another region"}
    tables = []
    for part, photos in words.items():
        divided = [one.metrics.get(part, {}).get("by", {}) for one in evaluations.values()]
        for column in dict.fromkeys(name for found in divided for name in found):
            values = {k: one for found in divided for k, one in found.get(column, {}).items()}
            shown = sorted(values, key=lambda value: -values[value]["images"])[:_VALUES_SHOWN]
            caption = f"On {photos}, by {column}."
            if len(values) > len(shown):
                caption = f"On {photos}, by {column}: the {len(shown)} of {len(values)} with most."
            tables.append(_breakdown_table(evaluations, part, column, sorted(shown), caption))
    return tables


def _breakdown_table(
    evaluations: Mapping[str, Evaluation], part: str, column: str, shown: list[str], caption: str
) -> Table:
    columns = (
        Column(column),
        Column("classifier"),
        Column("rank"),
        Column("photos", decimals=0),
        Column("taxa", decimals=0),
        Column("R@1", "%", 1),
        Column("macro recall", "%", 1),
    )
    rows: list[tuple[Cell, ...]] = []
    for value in shown:
        for name, one in evaluations.items():
            found = one.metrics.get(part, {}).get("by", {}).get(column, {}).get(value)
            for rank in shown_levels(one.test) if found is not None else ():
                level = found["levels"][rank]
                shares = (percent(level[key]) for key in ("rank1", "macro_recall"))
                called = _called(name, one, part)
                rows.append((value, called, rank, level["images"], level["taxa"], *shares))
    return Table(caption, columns, tuple(rows))


def _open_set_table(evaluations: Mapping[str, Evaluation]) -> Table:
    columns = (
        Column("classifier"),
        Column("TPR", "%", 1),
        Column("TNR", "%", 1),
        Column("ACC", "%", 1),
        Column("AUROC", "%", 1),
        Column("FPR@95", "%", 1),
        Column("OSCR", "%", 1),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, one in evaluations.items():
        found = one.metrics.get("open_set")
        if found:
            keys = ("TPR", "TNR", "ACC", "AUROC", "FPR@95", "OSCR")
            rows.append((name, *(percent(found[key]) for key in keys)))
    caption = (
        "Unknown taxa: the share of known photos accepted (TPR) and of unknown photos refused "
        "(TNR) at the threshold that calibration photos set, and their mean (ACC)."
    )
    return Table(caption, columns, tuple(rows))


def _novelty_table(evaluations: Mapping[str, Evaluation]) -> Table:
    figures = ("TNR", "AUROC", "AUPR", "FPR@95", "OSCR")
    columns = (
        Column("classifier"),
        Column("how new"),
        Column("photos", decimals=0),
        *(Column(figure, "%", 1) for figure in figures),
    )
    rows: list[tuple[Cell, ...]] = [
        (name, stratum, found["images"], *(percent(found[figure]) for figure in figures))
        for name, one in evaluations.items()
        if one.metrics.get("open_set")
        for stratum, found in one.metrics["open_set"]["by_novelty"].items()
    ]
    caption = (
        "Unknown taxa by how new they are, which is the rank at which something of them is known. "
        "OSCR counts a known photo only where it is also named right."
    )
    return Table(caption, columns, tuple(rows))


def percent(share: float | None) -> float | None:
    """Return a share in percent; None stays None.

    Example:
        >>> percent(0.25), percent(None)
        (25.0, None)
    """
    return None if share is None else 100 * share
