"""What the records of a table say seed by seed, where seeds differ more than rows do.

    python -m benchmarks.seed_by_seed flora-words --over "CE L3" MCF

Prints mean and spread (standard deviation) over seeds, as Markdown: each row's macro recall at
every rank; its difference to each row of ``--over`` on the same seed, by its own reading; and the
difference of every rollup to that reading. For tables with rollups.
"""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.run_table import cell, records
from benchmarks.tables import TABLES

Record = dict[str, Any]
_OWN = "own"
#: Key of a figure, what it is multiplied by, and digits behind the point.
_FIGURES = {"AP": (100, 1), "L-Top1": (100, 1), "mistake_severity": (1, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    with_rollups = [name for name, table in TABLES.items() if table.rollups]
    parser.add_argument("table", choices=with_rollups, help="table whose records are read")
    parser.add_argument("--over", nargs="*", default=[], metavar="ROW", help="rows to compare with")
    options = parser.parse_args()
    found = records(TABLES[options.table])
    print(_levels(found))
    for base in options.over:
        print(f"\nOver {base}:\n")
        print(_markdown("row", ((row, differences(found, row, base)) for row in _rows(found))))
    for rollup in TABLES[options.table].rollups:
        if rollup != _OWN:
            print(f"\n{rollup} over the row's own reading:\n")
            of_rollup = ((row, differences(found, row, row, rollup)) for row in _rows(found))
            print(_markdown("row", of_rollup))


def differences(
    found: Sequence[Record], row: str, base: str, rollup: str = _OWN
) -> dict[str, list[float]]:
    """Return by figure what a row, read by a rollup, has over another's own reading.

    Args:
        found: Records.
        row: Name of the row.
        base: Name of the row to compare with.
        rollup: How the first one is read.

    Returns:
        A difference for each seed that has both.
    """
    ours, theirs = _by_seed(found, row, rollup), _by_seed(found, base, _OWN)
    seeds = sorted(ours.keys() & theirs.keys())
    return {figure: [ours[s][figure] - theirs[s][figure] for s in seeds] for figure in _FIGURES}


def _by_seed(found: Sequence[Record], row: str, rollup: str) -> dict[int, dict[str, float]]:
    """Return the figures of each seed; a rollup that does not go with the row has none."""
    runs = [one for one in found if one["row"] == row]
    read = {one["seed"]: one["test"]["rollups"].get(rollup) for one in runs}
    return {seed: figures for seed, figures in read.items() if figures}


def _rows(found: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(one["row"] for one in found))


def _markdown(first: str, rows: Iterable[tuple[str, dict[str, list[float]]]]) -> str:
    lines = [f"| {first} | {' | '.join(_FIGURES)} |", "| --- |" + " ---: |" * len(_FIGURES)]
    for name, values in rows:
        cells = [
            cell(list(values[figure]), factor=factor, decimals=decimals)
            if values[figure]
            else "n/a"
            for figure, (factor, decimals) in _FIGURES.items()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _levels(found: Sequence[Record]) -> str:
    levels = list(found[0]["test"]["levels"])
    lines = [f"| row | {' | '.join(levels)} |", "| --- |" + " ---: |" * len(levels)]
    for row in _rows(found):
        runs = [one["test"]["levels"] for one in found if one["row"] == row]
        cells = [cell([one[level]["macro_recall"] for one in runs]) for level in levels]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
