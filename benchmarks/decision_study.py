"""What decision rules promise and what they keep, on the test photos of one classifier.

    python -m benchmarks.decision_study CLASSIFIER IMAGES --name NAME   # measure, keep the record
    python -m benchmarks.decision_study --render                        # print all records
    python -m benchmarks.decision_study --render-all docs/results.md

IMAGES is the split.csv of the training. The photos of its split `test` are divided many times
into halves, one to fit the rules on and one to judge them. Node probabilities are computed once.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.decision_rules import ALPHAS, DELTA, RULES, JudgedPhotos, areas, draws
from benchmarks.records import append_record, command_of, read_records
from benchmarks.run_table import RESULTS, commit_of_the_code, write_into
from benchmarks.scored import Scored
from taxonet.classifier import TaxonClassifier
from taxonet.classifier.folder import identity
from taxonet.data.matching import match_photos
from taxonet.data.sources import open_images
from taxonet.files import atomic_file, file_digest

_TABLE = "decision-study"
_COLUMNS = {
    "coverage": "coverage",
    "named": "named",
    "mean depth": "depth",
    "risk": "risk",
    "draws over alpha": "over",
    "silent draws": "silent",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("classifier", type=Path, nargs="?", help="classifier folder")
    parser.add_argument("images", type=Path, nargs="?", help="split.csv of its training")
    parser.add_argument("--name", help="name of its record; one that is there is not run again")
    parser.add_argument("--draws", type=int, default=200, help="how often the photos are divided")
    parser.add_argument("--seed", type=int, default=0, help="what the divisions are drawn from")
    parser.add_argument("--work", type=Path, default=Path("runs/decisions"), help="scratch folder")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--render", action="store_true", help="print all records as Markdown")
    parser.add_argument("--render-all", type=Path, metavar="PAGE", help="write them into a page")
    options = parser.parse_args()
    if options.render_all:
        write_into(options.render_all, {_TABLE: render(options.results)})
    elif options.render:
        print(render(options.results))
    elif options.images is None or options.name is None:
        parser.error("give CLASSIFIER IMAGES --name NAME, or --render")
    elif options.name in {record["row"] for record in read_records(_records_file(options.results))}:
        print(f"{options.name} has a record already.", file=sys.stderr)
    else:
        append_record(_records_file(options.results), measure(options))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the record of one classifier."""
    commit = commit_of_the_code()
    photos = judged_photos(options.classifier, options.images, work=options.work)
    return {
        "row": options.name,
        "photos": len(photos.truth),
        "leaves": len(photos.taxonomy.leaves),
        "draws": options.draws,
        "seed": options.seed,
        "delta": DELTA,
        "area": areas(photos),
        "rules": draws(photos, number=options.draws, seed=options.seed),
        "command": command_of("decision_study"),
        "commit": commit,
        "torch": torch.__version__,
    }


def judged_photos(folder: Path, images: Path, *, work: Path) -> JudgedPhotos:
    """Return what the classifier says of its readable test photos, from the cache if it is there.

    Nodes are those of the tree that the classes span: nothing else can be named.
    """
    classifier = TaxonClassifier.load(folder)
    cache = work / f"{identity(folder)}-{file_digest(images)[:16]}.npz"
    if not cache.exists():
        _store_judged(classifier, images, cache)
    stored = np.load(cache)
    return JudgedPhotos(classifier.reading.tree, torch.from_numpy(stored["probs"]), stored["truth"])


def _store_judged(classifier: TaxonClassifier, images: Path, cache: Path) -> None:
    matched = match_photos(
        open_images(images).split("test"), classifier.taxonomy, classifier.class_nodes
    )
    scored = Scored.of(classifier, matched.known)
    nodes = classifier.reading.tree_nodes
    probs = classifier.node_probs(scored.logits)[:, nodes]
    truth = np.searchsorted(nodes.numpy(), matched.nodes[scored.readable])
    cache.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(cache) as path, path.open("wb") as stream:
        np.savez_compressed(stream, probs=probs.numpy(), truth=truth)


def _records_file(results: Path) -> Path:
    return results / f"{_TABLE}.jsonl"


def render(results: Path) -> str:
    """Return a table for each classifier: a line for each rule and alpha."""
    found = read_records(_records_file(results))
    return "\n\n".join(_table(record) for record in found) if found else "not run"


def _table(record: Mapping[str, Any]) -> str:
    lines = [
        f"**{record['row']}: {record['photos']:,} test photos, {record['leaves']} leaves, "
        f"{record['draws']} divisions, delta {record['delta']:g}.**\n",
        f"| rule | alpha | {' | '.join(_COLUMNS)} | hAURC |",
        "| --- | ---: |" + " ---: |" * (len(_COLUMNS) + 1),
    ]
    for rule in RULES:
        area = record["area"][rule]
        for alpha in ALPHAS:
            values = record["rules"][rule][str(alpha)]
            cells = [_text(key, values) for key in _COLUMNS.values()]
            cells.append("n/a" if area is None else f"{area:.3f}")
            lines.append(f"| {rule} | {100 * alpha:g} % | {' | '.join(cells)} |")
    return "\n".join(lines)


def _text(key: str, values: Mapping[str, float]) -> str:
    if key == "depth":
        return f"{values[key]:.2f}"
    spread = f" ± {100 * values['risk_sd']:.1f}" if key == "risk" else ""
    return f"{100 * values[key]:.1f}{spread}"


if __name__ == "__main__":
    main()
