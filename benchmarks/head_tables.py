"""The tables of heads on stored features, and the rule that chooses the default head."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.head_rows import LINEAR_CE, ROWS, HeadRow
from benchmarks.run_table import cell

Record = dict[str, Any]
_NO_RECORDS = "No records."

_COLUMNS = {
    "R@1": ("rank1",),
    "macro recall": ("macro_recall",),
    "many": ("shot_groups", "many"),
    "medium": ("shot_groups", "medium"),
    "few": ("shot_groups", "few"),
    "genus": ("macro_recall_genus",),
    "family": ("macro_recall_family",),
    "by training shares": ("by_training_shares",),
}


def render(found: Sequence[Record]) -> str:
    """Return a table: mean and standard deviation over seeds, and the paired difference to CE."""
    head = ["row", "seeds", *_COLUMNS, f"macro recall over {LINEAR_CE}", "seconds"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for row in ROWS:
        runs = [one for one in found if one["row"] == row.name and "error" not in one]
        failed = sum(one["row"] == row.name for one in found) - len(runs)
        if not runs and not failed:
            continue
        seeds = f"{len(runs)}, {failed} failed" if failed else str(len(runs))
        cells = ["failed"] * len(_COLUMNS)
        seconds = ""
        if runs:
            cells = [
                cell([_value(one["test"], path) for one in runs]) for path in _COLUMNS.values()
            ]
            seconds = f"{np.median([one['seconds'] for one in runs]):.0f}"
        over = "" if row.name == LINEAR_CE else _difference(found, row.name, LINEAR_CE)
        lines.append(f"| {' | '.join([row.name, seeds, *cells, over, seconds])} |")
    if len(lines) == 2:
        return _NO_RECORDS
    errors = [
        f"{one['row']}, seed {one['seed']}, failed: {' '.join(one['error'].split())}"
        for one in found
        if "error" in one
    ]
    return "\n\n".join(["\n".join(lines), *errors])


def _value(figures: Any, path: tuple[str, ...]) -> float | None:
    for key in path:
        figures = None if figures is None else figures.get(key)
    return None if figures is None else float(figures)


def _difference(found: Sequence[Record], row: str, base: str) -> str:
    ours, theirs = (
        {
            one["seed"]: one["test"]["macro_recall"]
            for one in found
            if one["row"] == name and "error" not in one
        }
        for name in (row, base)
    )
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return "n/a"
    mean, half = paired_interval([100 * (ours[seed] - theirs[seed]) for seed in seeds])
    return f"{mean:+.1f}" if half is None else f"{mean:+.1f} ± {half:.1f}"


def paired_interval(differences: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean of paired differences and half the width of its 95 % t-interval.

    One difference has no interval: None.

    Examples:
        >>> mean, half = paired_interval([1.0, 2.0, 3.0])
        >>> mean, round(half, 3)
        (2.0, 2.484)
    """
    values = np.asarray(differences, dtype=float)
    if len(values) < 2:
        return float(values.mean()), None
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * error)


def simplest_first(rows: Sequence[HeadRow]) -> list[HeadRow]:
    """Order heads by their parts; of equally many, the one that `ROWS` lists first is simpler."""
    return sorted(rows, key=lambda row: (row.parts, ROWS.index(row)))


def render_choice(found: Mapping[str, Sequence[Record]]) -> str:
    """Return the table that decides about the default head, by validation alone.

    Macro recall on the validation photos, averaged over the pairs of set and seed that all
    candidates have; a candidate that failed anywhere is none. Of the heads that cannot be told
    from the best one, because the paired interval of the difference holds 0, the simplest wins.
    """
    runs = {
        (one["row"], name, one["seed"]): 100 * one["val_macro_recall"]
        for name, ones in found.items()
        for one in ones
        if "error" not in one
    }
    failed = {one["row"] for ones in found.values() for one in ones if "error" in one}
    measured = [row for row in ROWS if any(key[0] == row.name for key in runs)]
    candidates = [row for row in measured if row.may_be_default and row.name not in failed]
    if not candidates:
        return _NO_RECORDS
    of_candidate = [{key[1:] for key in runs if key[0] == row.name} for row in candidates]
    places = sorted(set.intersection(*of_candidate))
    if not places:
        return "No pair of set and seed has a record of every candidate."
    shown = [row for row in measured if all((row.name, *place) in runs for place in places)]
    values = {row.name: np.array([runs[(row.name, *one)] for one in places]) for row in shown}
    best = max(candidates, key=lambda row: values[row.name].mean())
    lines, drawn = _choice_lines(shown, candidates, best, values, places)
    chosen = simplest_first(drawn)[0]
    incomplete = sorted({row.name for row in measured} - values.keys() | failed)
    order = " < ".join(f"{row.name} ({row.parts})" for row in simplest_first(candidates))
    notes = [
        _said_of(places, left_out=set.union(*of_candidate) - set(places)),
        "\n".join(lines),
        "Rows with a second stage and those of scikit-learn are no candidates: `quick` is one "
        "stage of the trainer.",
        f"From the simplest on, by the number of parts: {order}.",
    ]
    if incomplete:
        notes.append(f"Not compared, as they failed or lack runs: {', '.join(incomplete)}.")
    return "\n\n".join([*notes, f"The simplest that may be as good is **{chosen.name}**."])


def _choice_lines(
    shown: Sequence[HeadRow],
    candidates: Sequence[HeadRow],
    best: HeadRow,
    values: Mapping[str, np.ndarray[Any, Any]],
    places: Sequence[tuple[str, int]],
) -> tuple[list[str], list[HeadRow]]:
    """Return the table, best first, and the candidates that cannot be told from the best."""
    sets = list(dict.fromkeys(name for name, _ in places))
    head = ["row", "parts", "mean", *sets, "under the best"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    drawn = []
    for row in sorted(shown, key=lambda row: -values[row.name].mean()):
        ours = values[row.name]
        mean, half = paired_interval((values[best.name] - ours).tolist())
        if row in candidates and (row is best or (half is not None and mean - half <= 0)):
            drawn.append(row)
        of_sets = [
            np.mean([one for one, place in zip(ours, places, strict=True) if place[0] == name])
            for name in sets
        ]
        parts = str(row.parts) if row in candidates else "no candidate"
        interval = f"{mean:.1f}" if half is None else f"{mean:.1f} ± {half:.1f}"
        cells = [row.name, parts, *(f"{one:.1f}" for one in (ours.mean(), *of_sets))]
        lines.append(f"| {' | '.join([*cells, 'best' if row is best else interval])} |")
    return lines, drawn


def _said_of(places: Sequence[tuple[str, int]], *, left_out: set[tuple[str, int]]) -> str:
    said = (
        f"Validation macro recall in percent, over {len(places)} pairs of set and seed; ± is half "
        "the paired 95 % t-interval. It takes the pairs as independent; those of one set share "
        "photos, so that it is rather too narrow."
    )
    if left_out:
        pairs = ", ".join(f"{name} {seed}" for name, seed in sorted(left_out))
        said += f" Left out, as candidates lack them: {pairs}."
    return said
