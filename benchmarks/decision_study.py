"""What decision rules promise and what they keep, on the test photos of one classifier.

    python -m benchmarks.decision_study CLASSIFIER IMAGES --name NAME   # measure, keep the record
    python -m benchmarks.decision_study --render                        # print all records
    python -m benchmarks.decision_study --render-all docs/results-from-scratch.md

IMAGES is the split.csv of the training. The photos of its split `test`, and with --unknown as many
of unknown taxa as there are, are divided many times into halves, one to fit the rules on and one to
judge them. Node probabilities are computed once.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.decision_curves import RuleCurve, curves
from benchmarks.decision_plot import draw_curves
from benchmarks.decision_rules import ALPHAS, DELTA, RULES, JudgedPhotos, draws
from benchmarks.records import append_record, command_of, read_records
from benchmarks.run_table import RESULTS, commit_of_the_code, write_into
from benchmarks.scored import Scored
from taxonet.classifier import TaxonClassifier
from taxonet.classifier.folder import identity
from taxonet.data.matching import match_photos, open_unknown, unknown_nodes
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
#: Where the risk of every curve is kept.
_STEPS = 40
_GRID = np.linspace(0, 1, _STEPS + 1)
_SHOWN = (0.25, 0.5, 0.75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("classifier", type=Path, nargs="?", help="classifier folder")
    parser.add_argument("images", type=Path, nargs="?", help="split.csv of its training")
    parser.add_argument("--unknown", type=Path, help="photos of taxa that the classifier lacks")
    parser.add_argument("--features", type=Path, help="store of the photos' features")
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
        found = {
            record["row"]: record["curves"]
            for record in read_records(_records_file(options.results))
        }
        if found:
            draw_curves(found, _GRID, options.render_all.parent / "figures" / "risk-coverage.svg")
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
    photos = judged_photos(
        options.classifier,
        options.images,
        options.unknown,
        work=options.work,
        features=options.features,
    )
    of_rules = curves(photos)
    shared = min(curve.end for curve in of_rules.values())
    return {
        "row": options.name,
        "photos": len(photos.truth),
        "unknown": photos.unknown,
        "leaves": len(photos.taxonomy.leaves),
        "draws": options.draws,
        "seed": options.seed,
        "delta": DELTA,
        "shared_coverage": shared,
        "curves": {name: _curve_figures(curve, shared) for name, curve in of_rules.items()},
        "rules": draws(photos, number=options.draws, seed=options.seed),
        "command": command_of("decision_study"),
        "commit": commit,
        "torch": torch.__version__,
    }


def _curve_figures(curve: RuleCurve, shared: float) -> dict[str, Any]:
    return {
        "end": curve.end,
        "area": curve.area(),
        "area_shared": curve.area(up_to=shared),
        "risk": [curve.risk_at(float(coverage)) for coverage in _GRID],
    }


def judged_photos(
    folder: Path,
    images: Path,
    unknown: Path | None = None,
    *,
    work: Path,
    features: Path | None = None,
) -> JudgedPhotos:
    """Return what the classifier says of its readable test photos, from the cache if it is there.

    Nodes are those of the tree that the classes span: nothing else can be named.
    """
    classifier = TaxonClassifier.load(folder, features=features)
    given = [images] if unknown is None else [images, unknown]
    digests = "-".join(file_digest(path)[:16] for path in given)
    cache = work / f"{identity(folder)}-{digests}.npz"
    if not cache.exists():
        _store_judged(classifier, images, unknown, cache)
    stored = np.load(cache)
    return JudgedPhotos(
        classifier.reading.tree,
        torch.from_numpy(stored["probs"]),
        stored["truth"],
        int(stored["unknown"]),
    )


def _store_judged(
    classifier: TaxonClassifier, images: Path, unknown: Path | None, cache: Path
) -> None:
    of_tree = classifier.taxonomy, classifier.class_nodes
    matched = match_photos(open_images(images).split("test"), *of_tree)
    sides = [(matched.known, matched.nodes)]
    if unknown is not None:
        table = open_unknown(unknown, *of_tree)
        sides.append((table, unknown_nodes(table, *of_tree)))
    nodes, probs, truth = classifier.reading.tree_nodes, [], []
    for table, true_nodes in sides:
        scored = Scored.of(classifier, table)
        probs.append(classifier.node_probs(scored.logits)[:, nodes].numpy())
        truth.append(np.searchsorted(nodes.numpy(), true_nodes[scored.readable]))
    cache.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(cache) as path, path.open("wb") as stream:
        np.savez_compressed(
            stream,
            probs=np.concatenate(probs),
            truth=np.concatenate(truth),
            unknown=sum(map(len, truth[1:])),
        )


def _records_file(results: Path) -> Path:
    return results / f"{_TABLE}.jsonl"


def render(results: Path) -> str:
    """Return two tables for each classifier: its rules at each alpha, and their curves."""
    found = read_records(_records_file(results))
    tables = [part for record in found for part in (_table(record), _curve_table(record))]
    return "\n\n".join(tables) if found else "not run"


def _table(record: Mapping[str, Any]) -> str:
    lines = [
        f"**{record['row']}: {record['photos']:,} test photos, {record['unknown']:,} of them of "
        f"unknown taxa, {record['leaves']} leaves, {record['draws']} divisions, "
        f"delta {record['delta']:g}.**\n",
        f"| rule | alpha | {' | '.join(_COLUMNS)} |",
        "| --- | ---: |" + " ---: |" * len(_COLUMNS),
    ]
    for rule in RULES:
        for alpha in ALPHAS if rule in record["rules"] else ():
            values = record["rules"][rule][str(alpha)]
            cells = [_text(key, values) for key in _COLUMNS.values()]
            lines.append(f"| {rule} | {100 * alpha:g} % | {' | '.join(cells)} |")
    return "\n".join(lines)


def _curve_table(record: Mapping[str, Any]) -> str:
    heads = [f"risk at {100 * coverage:g}" for coverage in _SHOWN]
    shared = f"hAURC up to {100 * record['shared_coverage']:.1f}"
    lines = [
        f"| rule | coverage reached | {' | '.join(heads)} | {shared} | hAURC |",
        "| --- |" + " ---: |" * (len(_SHOWN) + 3),
    ]
    for rule, curve in record["curves"].items():
        risks = [curve["risk"][round(coverage * _STEPS)] for coverage in _SHOWN]
        cells = [f"{100 * curve['end']:.1f}"]
        cells += ["n/a" if risk is None else f"{100 * risk:.1f}" for risk in risks]
        areas = (curve["area_shared"], curve["area"])
        cells += ["n/a" if area is None else f"{area:.3f}" for area in areas]
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _text(key: str, values: Mapping[str, float]) -> str:
    if key == "depth":
        return f"{values[key]:.2f}"
    spread = f" ± {100 * values['risk_sd']:.1f}" if key == "risk" else ""
    return f"{100 * values[key]:.1f}{spread}"


if __name__ == "__main__":
    main()
