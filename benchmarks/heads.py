"""Compare heads on stored features of the pretrained default: every row, every seed, resumable.

    python -m benchmarks.heads flowers102 --data DATA          # run what is missing
    python -m benchmarks.heads flowers102 --render             # print the table as Markdown
    python -m benchmarks.heads --choose                        # which head should be the default
    python -m benchmarks.heads --render-all docs/results.md    # write all tables into the page

All rows of taxonet have the optimiser of ``quick`` (SGD at 0.1 with momentum 0.9, weight decay
5e-4, a warm-up of one epoch and half a cosine, 40 epochs, batches of 64), so that they have equally
many updates; validation chooses the epoch. Test photos are only read.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.head_rows import LINEAR_CE, ROWS, HeadRow, best_of_scikit_learn
from benchmarks.head_sets import SETS, SetOfFeatures, features_of
from benchmarks.records import append_record, command_of, read_records
from benchmarks.run_table import cell, commit_of_the_code, write_into

RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2, 3, 4)
Record = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("set", nargs="?", choices=sorted(SETS), help="photo set to run")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the real data")
    parser.add_argument("--work", type=Path, default=Path("runs/heads"), help="scratch folder")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="only these seeds")
    parser.add_argument("--rows", nargs="*", help="only these rows")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--commit", action="store_true", help="git commit the records of each seed")
    parser.add_argument("--render", action="store_true", help="print the table as Markdown")
    parser.add_argument("--choose", action="store_true", help="print which head validates best")
    parser.add_argument("--render-all", type=Path, metavar="PAGE", help="write all into a page")
    options = parser.parse_args()
    if options.render_all:
        tables = {f"heads-{name}": render(records(name)) for name in SETS}
        found = {name: records(name) for name in SETS}
        write_into(options.render_all, tables | {"heads-choice": render_choice(found)})
    elif options.choose:
        print(render_choice({name: records(name) for name in SETS}))
    elif options.set is None:
        parser.error("name a set, or use --choose or --render-all")
    elif options.render:
        print(render(records(options.set)))
    else:
        run(options)


def records(name: str) -> list[Record]:
    return read_records(_file(name))


def _file(name: str) -> Path:
    return RESULTS / f"heads-{name}.jsonl"


def run(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(options.threads)
    for seed in options.seeds:
        done = {(one["row"], one["seed"]) for one in records(options.set)}
        rows = [
            row
            for row in ROWS
            if (options.rows is None or row.name in options.rows) and (row.name, seed) not in done
        ]
        if not rows:
            continue
        given = features_of(options.set, data=options.data, work=options.work, seed=seed)
        for row in rows:
            print(f"{options.set}: {row.name}, seed {seed}", file=sys.stderr, flush=True)
            append_record(_file(options.set), _measured(row, given, seed, SETS[options.set][1]))
        if options.commit:
            path = str(_file(options.set))
            subprocess.run(["git", "add", path], check=False)
            message = f"Measure heads on {options.set}, seed {seed}"
            subprocess.run(["git", "commit", "-q", "-m", message, "--", path], check=False)


def _measured(row: HeadRow, given: SetOfFeatures, seed: int, common: tuple[str, ...]) -> Record:
    import sklearn
    import torch

    train, val, (test_features, test_labels) = (
        given.splits[split] for split in ("train", "val", "test")
    )
    changes = (*common, *row.changes, f"seed={seed}")
    record: Record = {"row": row.name, "seed": seed, "recipe": row.recipe, "changes": list(changes)}
    start = time.monotonic()
    if row.recipe:
        from taxonet.errors import TaxonetError
        from taxonet.training import EmbeddingClassifier

        try:
            model: Any = EmbeddingClassifier(
                row.recipe, changes, taxonomy=given.taxonomy, device="cpu"
            ).fit(*train, val=val)
        except TaxonetError as error:
            return record | {"error": str(error), "commit": commit_of_the_code()}
    else:
        record["choice"], model = best_of_scikit_learn(row.name, train, val)
    seconds = time.monotonic() - start
    predicted, validated = model.predict(test_features), model.predict(val[0])
    return record | {
        "val_macro_recall": _figures(given, val[1], validated)["macro_recall"],
        "test": _figures(given, test_labels, predicted),
        "seconds": round(seconds, 1),
        "commit": commit_of_the_code(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "threads": torch.get_num_threads(),
        "command": command_of("heads"),
    }


def _figures(
    given: SetOfFeatures, truth: NDArray[np.str_], predicted: NDArray[np.str_]
) -> dict[str, Any]:
    """Return accuracy and macro recall, by shot group and rank, and by the training shares."""
    from taxonet.data.long_tail import SHOT_GROUPS, shot_groups
    from taxonet.metrics import HitCounts, accuracy, class_recall, macro_recall
    from taxonet.metrics.groups import mean_where_defined

    labels, counts = np.unique(given.splits["train"][1], return_counts=True)
    true_class, hit = np.searchsorted(labels, truth), truth == predicted
    tally = HitCounts(len(labels))
    tally.update(true_class, hit)
    recall = class_recall(tally)
    seen = np.isfinite(recall)
    groups = shot_groups(counts)
    found: dict[str, Any] = {
        "rank1": accuracy(tally),
        "macro_recall": macro_recall(tally),
        "by_training_shares": float(np.average(recall[seen], weights=counts[seen])),
        "shot_groups": {
            group: mean_where_defined(recall[groups == group]) for group in SHOT_GROUPS
        },
    }
    nodes, named = (given.taxonomy.resolve(one.tolist()) for one in (truth, predicted))
    for rank in ("genus", "family"):
        if rank in given.taxonomy.ranks:
            true_taxon, taxon = (
                given.taxonomy.ancestor_at_rank(one, rank) for one in (nodes, named)
            )
            of_rank = HitCounts(len(given.taxonomy))
            of_rank.update(true_taxon[true_taxon >= 0], (true_taxon == taxon)[true_taxon >= 0])
            found[f"macro_recall_{rank}"] = macro_recall(of_rank)
    return found


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
        runs = [one for one in found if one["row"] == row.name]
        if not runs:
            continue
        if failed := next((one["error"] for one in runs if "error" in one), None):
            lines.append(f"| {row.name} | {len(runs)} | {failed} |{' |' * (len(head) - 3)}")
            continue
        cells = [cell([_value(one["test"], path) for one in runs]) for path in _COLUMNS.values()]
        over = "" if row.name == LINEAR_CE else _difference(found, row.name, LINEAR_CE)
        seconds = f"{np.median([one['seconds'] for one in runs]):.0f}"
        lines.append(f"| {' | '.join([row.name, str(len(runs)), *cells, over, seconds])} |")
    return "\n".join(lines)


def _value(figures: Any, path: tuple[str, ...]) -> float | None:
    for key in path:
        figures = None if figures is None else figures.get(key)
    return None if figures is None else float(figures)


def _difference(found: Sequence[Record], row: str, base: str) -> str:
    ours, theirs = (
        {one["seed"]: one["test"]["macro_recall"] for one in found if one["row"] == name}
        for name in (row, base)
    )
    seeds = sorted(ours.keys() & theirs.keys())
    mean, half = paired_interval([100 * (ours[seed] - theirs[seed]) for seed in seeds])
    return f"{mean:+.1f}" if half is None else f"{mean:+.1f} ± {half:.1f}"


def paired_interval(differences: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean of paired differences and half the width of its 95 % t-interval.

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


def render_choice(found: dict[str, list[Record]]) -> str:
    """Return the table that decides about the default head, by validation alone.

    Macro recall on the validation photos, averaged over sets and seeds. Of the heads that cannot
    be told from the best one, because the paired interval of the difference holds 0, the one of
    the fewest parts wins.
    """
    runs = {
        (row, name, one["seed"]): one["val_macro_recall"]
        for name, ones in found.items()
        for one in ones
        for row in [one["row"]]
        if "error" not in one
    }
    rows = [row for row in ROWS if any(key[0] == row.name for key in runs)]
    candidates = [row for row in rows if row.may_be_default]
    if not candidates:
        return "No records."
    places = sorted(set.intersection(*({k[1:] for k in runs if k[0] == r.name} for r in rows)))
    values = {
        row.name: np.array([100 * runs[(row.name, *place)] for place in places]) for row in rows
    }
    best = max(candidates, key=lambda row: values[row.name].mean())
    lines = [
        f"Over {len(places)} pairs of set and seed; validation macro recall in %.",
        "",
        "| row | parts | mean | under the best |",
        "| --- | ---: | ---: | ---: |",
    ]
    drawn = []
    for row in sorted(rows, key=lambda row: -values[row.name].mean()):
        mean, half = paired_interval((values[best.name] - values[row.name]).tolist())
        is_drawn = row is best or (half is not None and mean - half <= 0)
        if row.may_be_default and is_drawn:
            drawn.append(row)
        parts = str(row.parts) if row.may_be_default else "no candidate"
        under = "best" if row is best else f"{mean:.1f} ± {half or 0:.1f}"
        lines.append(f"| {row.name} | {parts} | {values[row.name].mean():.1f} | {under} |")
    chosen = min(drawn, key=lambda row: (row.parts, -values[row.name].mean()))
    return "\n".join([*lines, "", f"The default is **{chosen.name}**."])


if __name__ == "__main__":
    main()
