"""Fill a table of the results pages: every row, every seed, resumable, one record as each run ends.

    python -m benchmarks.run_table flowers102 --data DATA          # run what is missing
    python -m benchmarks.run_table flowers102 --render             # print it as Markdown
    python -m benchmarks.run_table --render-all docs/results.md    # write the tables of a page

One seed of all rows comes first, so that an interrupted table still compares something. Records
are lines of benchmarks/results/TABLE.jsonl; a run that is in there is not run again.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.datasets import PreparedData
from benchmarks.records import append_record, read_records
from benchmarks.tables import TABLES, Row, TableSpec

RESULTS = Path(__file__).parent / "results"
_NOT_RUN = "not run"

#: Heading of a column, and the keys that lead to its figure in a record.
Columns = dict[str, tuple[str, ...]]


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("table", nargs="?", choices=sorted(TABLES), help="table to run")
    parser.add_argument("--data", type=Path, help="folder of the real data sets")
    parser.add_argument("--work", type=Path, default=Path("runs/tables"), help="scratch folder")
    parser.add_argument("--seeds", type=int, nargs="*", help="only these seeds")
    parser.add_argument("--rows", nargs="*", help="only these rows")
    parser.add_argument("--commit", action="store_true", help="git commit each record")
    parser.add_argument("--render", action="store_true", help="print the table as Markdown")
    parser.add_argument("--render-all", type=Path, metavar="PAGE", help="write all into a page")
    options = parser.parse_args()
    if options.render_all:
        write_into(options.render_all, {name: render(table) for name, table in TABLES.items()})
    elif options.table is None:
        parser.error("name a table, or use --render-all")
    elif options.render:
        print(render(TABLES[options.table]))
    else:
        run_table(TABLES[options.table], options)


def run_table(table: TableSpec, options: argparse.Namespace) -> None:
    seeds = options.seeds if options.seeds is not None else table.seeds
    for seed in seeds:
        for row in table.rows:
            if options.rows is not None and row.name not in options.rows:
                continue
            if (row.name, seed) in {(one["row"], one["seed"]) for one in records(table)}:
                continue
            print(f"{table.name}: {row.name}, seed {seed}", file=sys.stderr, flush=True)
            record = _run(table, row, seed, options)
            append_record(_records_file(table), record)
            if options.commit:
                _commit(table, row, seed)


def records(table: TableSpec) -> list[dict[str, Any]]:
    return read_records(_records_file(table))


def _records_file(table: TableSpec) -> Path:
    return RESULTS / f"{table.name}.jsonl"


def _run(table: TableSpec, row: Row, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from taxonet.evaluation import evaluate
    from taxonet.recipes.verbs import EvaluateConfig

    work = options.work / table.name / f"seed{seed}"
    work.mkdir(parents=True, exist_ok=True)
    data = table.prepare(options.data or Path("data"), work, seed)
    common = (*table.common, *data.changes)
    changes = row.changes if row.on else (*common, *row.changes, f"seed={seed}")
    commit = commit_of_the_code()  # now: it may be another at the end
    start = time.monotonic()
    if row.on:
        classifier, kept_epoch = _refit(row, work), None
    elif row.zero_shot:
        classifier, kept_epoch = _zero_shot(row, work, data, changes), None
    else:
        classifier, kept_epoch = train_row(row, work, data, changes)
    seconds = time.monotonic() - start
    if "learned_diffusion" in table.rollups and not row.zero_shot:
        classifier = _with_learned_rollup(classifier)
    metrics = evaluate(
        EvaluateConfig(
            classifier=classifier,
            images=data.images,
            region=data.region,
            unknown=data.unknown,
            taxon_map=data.taxon_map,
        )
    ).metrics
    return {
        "row": row.name,
        "seed": seed,
        "recipe": row.recipe,
        "changes": list(changes),
        "kept_epoch": kept_epoch,
        "train_seconds": round(seconds, 1),
        "test": _slim(metrics["test"]),
        "region": _slim(metrics["region"]) if "region" in metrics else None,
        "open_set": metrics.get("open_set"),
        "commit": commit,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
    }


def train_row(
    row: Row,
    work: Path,
    data: PreparedData,
    changes: tuple[str, ...],
    *,
    base: str = "tiny",
    features: Path | None = None,
) -> tuple[Path, int]:
    """Train a row again and return its classifier and the epoch that was kept.

    A recipe that names its own backbone keeps it; any other stands on ``base``, from scratch if
    nothing else is said.
    """
    from taxonet.recipes.verbs import TrainConfig
    from taxonet.training import train

    run = _folder(work, row.name)
    shutil.rmtree(run, ignore_errors=True)
    result = train(
        TrainConfig(
            images=data.images,
            taxonomy=data.taxonomy,
            recipe=f"{base},{row.recipe}",
            features=features,
            set=changes,
            out=run,
            val_share=data.val_share,
            calibration_share=data.calibration_share,
        ),
        show_progress=True,
    )
    return result.classifier, result.kept_epoch


def _refit(row: Row, work: Path) -> Path:
    """Give the classifier of another row a new head, calibrated on the same photos."""
    from taxonet.recipes.verbs import RefitConfig
    from taxonet.training import refit

    before = _folder(work, row.on) / "classifier"
    if not before.is_dir():
        sys.exit(f"{row.name} needs the classifier of {row.on} in {before}: run that row again.")
    out = _folder(work, row.name)
    shutil.rmtree(out, ignore_errors=True)
    config = RefitConfig(
        classifier=before,
        stage=row.recipe,
        set=row.changes,
        images=before.with_name("split.csv"),
        out=out,
    )
    return refit(config).classifier


def _zero_shot(row: Row, work: Path, data: PreparedData, changes: tuple[str, ...]) -> Path:
    """Make a classifier of the names alone, with the model and the words of a recipe."""
    from taxonet.recipes import load_recipe
    from taxonet.recipes.verbs import ZeroShotConfig
    from taxonet.training import zero_shot

    recipe, out = load_recipe(row.recipe, changes), _folder(work, row.name)
    assert recipe.words is not None
    shutil.rmtree(out, ignore_errors=True)
    config = ZeroShotConfig(
        model=recipe.model.backbone,
        taxonomy=data.taxonomy,
        templates=recipe.words.templates,
        names=recipe.words.names,
        out=out,
    )
    return zero_shot(config).classifier


def _with_learned_rollup(classifier: Path) -> Path:
    from taxonet.recipes.verbs import FitDiffusionConfig
    from taxonet.training import fit_diffusion

    out = classifier.with_name("diffusion")
    shutil.rmtree(out, ignore_errors=True)
    return fit_diffusion(FitDiffusionConfig(classifier=classifier, out=out))


def _folder(work: Path, name: str) -> Path:
    return work / "".join(sign if sign.isalnum() else "-" for sign in name.lower())


def _slim(part: dict[str, Any]) -> dict[str, Any]:
    """Keep the figures; leave paths and the lists of single classes to metrics.json."""
    left_out = {"images", "per_class", "confused", "dropped", "unreadable"}
    return {key: value for key, value in part.items() if key not in left_out}


def _commit(table: TableSpec, row: Row, seed: int) -> None:
    path = str(_records_file(table))
    subprocess.run(["git", "add", path], check=False)
    message = f"Measure {table.name}: {row.name}, seed {seed}"
    subprocess.run(["git", "commit", "-q", "-m", message, "--", path], check=False)


def commit_of_the_code() -> str:
    """Return the commit, with a word where code differs from it."""
    compare = ["git", "diff", "--quiet", "HEAD", "--", "src", "benchmarks/*.py"]
    is_that = subprocess.run(compare, check=False).returncode == 0
    return _git("rev-parse", "--short", "HEAD") + ("" if is_that else ", changed")


def _git(*words: str) -> str:
    found = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def render(table: TableSpec) -> str:
    """Return the table as Markdown: mean and spread (standard deviation) over the seeds run."""
    found = records(table)
    if table.rollups:
        return "\n".join([f"**{table.caption}**", "", _rollup_lines(table, found)])
    parts = [f"**{table.caption}**", "", _markdown(table, found, _main_columns(table))]
    if table.source:
        parts[-1] = _with_published(table, parts[-1])
    if any(record["region"] for record in found):
        parts += ["", "Another region and unknown taxa:", ""]
        parts.append(_markdown(table, found, _REGION_COLUMNS))
    return "\n".join(parts)


def _main_columns(table: TableSpec) -> Columns:
    finest = table.levels[0]
    columns: Columns = {f"R@1 {finest}": ("test", "levels", finest, "rank1")}
    for level in table.levels:
        columns[f"macro recall {level}"] = ("test", "levels", level, "macro_recall")
    for group in ("many", "medium", "few"):
        columns[f"{group}-shot {finest}"] = (
            "test",
            "levels",
            finest,
            "shot_groups",
            group,
            "macro_recall",
        )
    return columns


_REGION_COLUMNS: Columns = {
    "region R@1": ("region", "levels", "class", "rank1"),
    "region macro recall": ("region", "levels", "class", "macro_recall"),
    "region genus macro recall": ("region", "levels", "genus", "macro_recall"),
    "TPR": ("open_set", "TPR"),
    "TNR": ("open_set", "TNR"),
    "ACC": ("open_set", "ACC"),
    "AUROC": ("open_set", "AUROC"),
}


def _markdown(table: TableSpec, found: list[dict[str, Any]], columns: Columns) -> str:
    lines = [
        "| row | seeds | " + " | ".join(columns) + " |",
        "| --- | ---: |" + " ---: |" * len(columns),
    ]
    for row in table.rows:
        runs = [record for record in found if record["row"] == row.name]
        cells = [cell([_value(run, path) for run in runs]) for path in columns.values()]
        lines.append(f"| {row.name} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _rollup_lines(table: TableSpec, found: list[dict[str, Any]]) -> str:
    """Return a line for each row and rollup; n/a where the two do not go together."""
    figures = ("AP", "AC", "R@90", "R@95", "M-F1", "L-F1", "L-Top1")
    heights = ("mistake_severity", "hierarchical_distance")
    lines = [
        f"| row | rollup | seeds | {' | '.join(figures)} | severity | distance |",
        "| --- | --- | ---: |" + " ---: |" * (len(figures) + len(heights)),
    ]
    for row in table.rows:
        runs = [record for record in found if record["row"] == row.name]
        if not runs:
            blank = " | ".join([_NOT_RUN] * (len(figures) + len(heights)))
            lines.append(f"| {row.name} | all | 0 | {blank} |")
            continue
        for rollup in table.rollups:
            paths = [("test", "rollups", rollup, name) for name in (*figures, *heights)]
            values = [[_value(run, path) for run in runs] for path in paths]
            shares = [cell(value) for value in values[: len(figures)]]
            edges = [cell(value, factor=1, decimals=2) for value in values[len(figures) :]]
            cells = " | ".join([*shares, *edges])
            lines.append(f"| {row.name} | {rollup} | {len(runs)} | {cells} |")
    return "\n".join(lines)


def _with_published(table: TableSpec, text: str) -> str:
    """Add a column with what the papers print: top-1 (many / medium / few)."""
    first, rule, *lines = text.splitlines()
    added = [f"{first} {table.source} |", f"{rule} ---: |"]
    for line, row in zip(lines, table.rows, strict=True):
        top1, *shots = row.published or (None,)
        groups = f" ({' / '.join(f'{share:.1f}' for share in shots)})" if shots else ""
        added.append(f"{line} {'n/a' if top1 is None else f'{top1:.1f}{groups}'} |")
    return "\n".join(added)


def _value(record: dict[str, Any], path: tuple[str, ...]) -> float | None:
    value: Any = record
    for key in path:
        value = None if value is None else value.get(key)
    return None if value is None else float(value)


def cell(values: list[float | None], *, factor: float = 100, decimals: int = 1) -> str:
    known = [factor * value for value in values if value is not None]
    if not values:
        return _NOT_RUN
    if not known:
        return "n/a"
    spread = f" ± {statistics.stdev(known):.{decimals}f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.{decimals}f}{spread}"


def write_into(page: Path, tables: Mapping[str, str]) -> None:
    """Replace what stands between the markers of each table of a page."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        start, end = f"<!-- table {name} -->", f"<!-- end {name} -->"
        if start in text and end in text:
            before, rest = text.split(start, 1)
            after = rest.split(end, 1)[1]
            text = f"{before}{start}\n{table}\n{end}{after}"
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
