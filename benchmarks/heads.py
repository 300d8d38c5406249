"""Compare heads on stored features of the pretrained default: every row, every seed, resumable.

    python -m benchmarks.heads flowers102 --data DATA          # run what is missing
    python -m benchmarks.heads flowers102 --render             # print the table as Markdown
    python -m benchmarks.heads --choose                        # which head should be the default
    python -m benchmarks.heads --render-all docs/results.md    # write all tables into the page

All rows of taxonet have the optimiser of ``quick`` (SGD at 0.1 with momentum 0.9, weight decay
5e-4, a warm-up of one epoch and half a cosine, 40 epochs, batches of 64), so that they have equally
many updates; those of a second stage come on top. Validation alone chooses the epoch, the settings
of scikit-learn's rows and the default head; test photos are only read. One seed of all rows comes
first. Records are lines of benchmarks/results/heads-SET.jsonl; a run that is in there is not run
again, also one that failed.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.head_rows import ROWS, HeadRow, best_of_scikit_learn
from benchmarks.head_sets import SETS, SetOfFeatures, features_of
from benchmarks.head_tables import Record, render, render_choice
from benchmarks.records import append_record, command_of, read_records
from benchmarks.run_table import commit_of_the_code, write_into

RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2, 3, 4)


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
        found = {name: records(name) for name in SETS}
        tables = {f"heads-{name}": render(ones) for name, ones in found.items()}
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

    from taxonet.errors import TaxonetError
    from taxonet.training import EmbeddingClassifier

    train, val, (test_features, test_labels) = (
        given.splits[split] for split in ("train", "val", "test")
    )
    changes = (*common, *row.changes, f"seed={seed}")
    record: Record = {
        "row": row.name,
        "seed": seed,
        "recipe": row.recipe,
        "changes": list(changes) if row.recipe else [],
        "commit": commit_of_the_code(),  # now: it may be another at the end
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "threads": torch.get_num_threads(),
        "command": command_of("heads"),
    }
    start = time.monotonic()
    if row.recipe:
        try:
            model: Any = EmbeddingClassifier(
                row.recipe, changes, taxonomy=given.taxonomy, device="cpu"
            ).fit(*train, val=val)
        except TaxonetError as error:
            return record | {"error": str(error)}
    else:
        record["choice"], model = best_of_scikit_learn(row.name, train, val)
    seconds = time.monotonic() - start
    return record | {
        "val_macro_recall": _figures(given, val[1], model.predict(val[0]))["macro_recall"],
        "test": _figures(given, test_labels, model.predict(test_features)),
        "seconds": round(seconds, 1),
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


if __name__ == "__main__":
    main()
