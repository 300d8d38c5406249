"""How well every novelty score of every method tells taxa that training never showed.

    python -m benchmarks.open_set_study flora                       # run what is missing
    python -m benchmarks.open_set_study flowers102 --data DATA --rows TaxoNet --seeds 0
    python -m benchmarks.open_set_study flora --render              # print its tables as Markdown
    python -m benchmarks.open_set_study --render-all docs/results.md

The shape is that of Table 3 of TaxoNet, by the rank at which a taxon is new. Scores that are
fitted see the training embeddings only; the threshold of each score accepts 95 % of the known
calibration photos; test photos and photos of unknown taxa are only read.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import open_set_data
from benchmarks.open_set_data import ALL, KINDS, PrepareOpenSet
from benchmarks.open_set_scores import measure
from benchmarks.records import append_record, command_of, read_records
from benchmarks.run_table import RESULTS, cell, commit_of_the_code, train_row, write_into
from benchmarks.tables import Row


@dataclass(frozen=True)
class Study:
    """A data set, and the methods that are compared on it under one schedule."""

    prepare: PrepareOpenSet
    common: tuple[str, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    base: str = "tiny"
    """What the recipes of the rows stand on; on ``quick`` all rows share stored features."""


def _rows(*of_taxonet: str) -> tuple[Row, ...]:
    return (
        Row("CE", "cross_entropy"),
        Row("CBL", "method/cb"),
        Row("LDAM", "method/ldam"),
        Row("AM-Softmax", "am_softmax"),
        Row("TaxoNet", "taxonet", of_taxonet),
    )


_HEADS = (Row("linear CE", "method/ce"), Row("DBM-BS", "method/dbm-bs"))

STUDIES = {
    "flowers102-quick": Study(open_set_data.flowers102, (), _HEADS, base="quick"),
    "flickr-quick": Study(open_set_data.tulips, (), _HEADS, base="quick"),
    "grocery-quick": Study(open_set_data.grocery, (), _HEADS, base="quick"),
    "flora-quick": Study(open_set_data.demo_photos, (), _HEADS, base="quick"),
    "flora": Study(open_set_data.flora, ("epochs=6",), _rows()),
    "flowers102": Study(
        open_set_data.flowers102,
        (
            "model.backbone=resnet10",
            "epochs=12",
            "batch_size=32",
            "optimiser.learning_rate=0.05",
        ),
        _rows("selection.tail_shots=20"),
    ),
}


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("study", nargs="?", choices=sorted(STUDIES), help="data set")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of real data sets")
    parser.add_argument("--work", type=Path, default=Path("runs/open-set"), help="scratch folder")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--features", type=Path, help="store that rows on `quick` share")
    parser.add_argument("--seeds", type=int, nargs="*", help="only these seeds")
    parser.add_argument("--rows", nargs="*", help="only these rows")
    parser.add_argument("--set", nargs="*", default=[], help="changes in all recipes, for a trial")
    parser.add_argument("--render", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--render-all", type=Path, metavar="PAGE", help="write all into a page")
    options = parser.parse_args()
    if options.set and options.results == RESULTS:
        parser.error("a trial with --set keeps its records elsewhere: give --results too")
    if options.render_all:
        tables = {f"open-set-{name}": render(name, options.results) for name in STUDIES}
        write_into(options.render_all, tables)
    elif options.study is None:
        parser.error("name a data set, or use --render-all")
    elif options.render:
        print(render(options.study, options.results))
    else:
        run_study(options.study, options)


def run_study(name: str, options: argparse.Namespace) -> None:
    """Run the rows and seeds that have no record yet, one seed of all rows first."""
    study = STUDIES[name]
    for seed in study.seeds if options.seeds is None else options.seeds:
        for row in study.rows:
            if options.rows is not None and row.name not in options.rows:
                continue
            done = {(one["row"], one["seed"]) for one in records(name, options.results)}
            if (row.name, seed) in done:
                continue
            print(f"{name}: {row.name}, seed {seed}", file=sys.stderr, flush=True)
            append_record(_records_file(name, options.results), _run(name, row, seed, options))


def records(name: str, results: Path) -> list[dict[str, Any]]:
    return read_records(_records_file(name, results))


def _records_file(name: str, results: Path) -> Path:
    return results / f"open-set-{name}.jsonl"


def _run(name: str, row: Row, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    study = STUDIES[name]
    work = options.work / name / f"seed{seed}"
    work.mkdir(parents=True, exist_ok=True)
    commit = commit_of_the_code()  # now: it may be another at the end
    data = study.prepare(options.data, work, seed)
    changes = (*study.common, *row.changes, *options.set, f"seed={seed}")
    start = time.monotonic()
    features = None
    if study.base == "quick":
        features = options.features or options.work / name / "features"
    folder, kept_epoch = train_row(
        row, work, data.known, changes, base=study.base, features=features
    )
    seconds = time.monotonic() - start
    return {
        "row": row.name,
        "seed": seed,
        "recipe": row.recipe,
        "changes": list(changes),
        "kept_epoch": kept_epoch,
        "train_seconds": round(seconds, 1),
        "unknown_taxa": {
            kind: sorted(table.frame["taxon"].unique()) for kind, table in data.unknown.items()
        },
        **measure(folder, data, features=features),
        "command": command_of("open_set_study"),
        "commit": commit,
        "torch": torch.__version__,
    }


def render(name: str, results: Path) -> str:
    """Return two tables: methods by their own score, and every score by the kind of novelty."""
    found = records(name, results)
    return "\n\n".join([_by_method(name, found), _by_score(name, found)])


_FIGURES = ("TPR", "TNR", "ACC", "AUROC", "AUPR", "FPR@95", "OSCR")


def _by_method(name: str, found: list[dict[str, Any]]) -> str:
    lines = [
        "**All unknown taxa together, by the default score `max_logit`.**\n",
        f"| row | seeds | R@1 of known | {' | '.join(_FIGURES)} |",
        "| --- | ---: | ---: |" + " ---: |" * len(_FIGURES),
    ]
    for row in STUDIES[name].rows:
        runs = [record for record in found if record["row"] == row.name]
        cells = [cell([run["rank1"] for run in runs])]
        cells += [
            cell([run["scores"]["max_logit"]["kinds"][ALL][key] for run in runs])
            for key in _FIGURES
        ]
        lines.append(f"| {row.name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_score(name: str, found: list[dict[str, Any]]) -> str:
    kinds = [kind for kind in (*KINDS, ALL) if any(kind in _kinds_of(run) for run in found)]
    columns = [(figure, kind) for figure in ("AUROC", "TNR") for kind in kinds or [ALL]]
    heads = [f"{figure} {kind}" for figure, kind in columns]
    lines = [
        "**Every score, by the rank at which a taxon is new.**\n",
        f"| row | score | TPR | {' | '.join(heads)} |",
        "| --- | --- | ---: |" + " ---: |" * len(heads),
    ]
    for row in STUDIES[name].rows:
        runs = [record for record in found if record["row"] == row.name]
        for score in runs[0]["scores"] if runs else ["max_logit"]:
            of_score = [run["scores"][score]["kinds"] for run in runs]
            cells = [cell([kinds_of[ALL]["TPR"] for kinds_of in of_score])]
            cells += [cell([one[kind][figure] for one in of_score]) for figure, kind in columns]
            lines.append(f"| {row.name} | {score} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _kinds_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    kinds: Mapping[str, Any] = record["scores"]["max_logit"]["kinds"]
    return kinds


if __name__ == "__main__":
    main()
