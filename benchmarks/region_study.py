"""What another region costs a classifier, and what its unlabelled photos give back.

    python -m benchmarks.region_study CLASSIFIER IMAGES --region PHOTOS --name NAME
    python -m benchmarks.region_study --render                # print all records
    python -m benchmarks.region_study --render-all docs/results-from-scratch.md

IMAGES is the split.csv of the training, REGION labelled photos from elsewhere. The photos from
elsewhere are judged as they are, with probabilities under their own estimated shares of the taxa,
with batch norm statistics of theirs, and with both. Their labels are used to judge, and for
nothing else.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.records import append_record, command_of, read_records
from benchmarks.run_table import RESULTS, commit_of_the_code, write_into
from taxonet.evaluation import evaluate
from taxonet.evaluation.judge import CLASS_LEVEL
from taxonet.recipes.verbs import EvaluateConfig

_TABLE = "region-study"
_HOME = "test photos from home"
_WAYS = ("as it is", "prior correction", "batch norm of its photos", "both")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("classifier", type=Path, nargs="?", help="classifier folder")
    parser.add_argument("images", type=Path, nargs="?", help="split.csv of its training")
    parser.add_argument("--region", type=Path, help="labelled photos from elsewhere")
    parser.add_argument("--taxon-map", type=Path, help="what their labels mean")
    parser.add_argument("--name", help="name of its record; one that is there is not run again")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--render", action="store_true", help="print all records as Markdown")
    parser.add_argument("--render-all", type=Path, metavar="PAGE", help="write them into a page")
    options = parser.parse_args()
    path = options.results / f"{_TABLE}.jsonl"
    if options.render_all:
        write_into(options.render_all, {_TABLE: render(options.results)})
    elif options.render:
        print(render(options.results))
    elif None in (options.images, options.region, options.name):
        parser.error("give CLASSIFIER IMAGES --region PHOTOS --name NAME, or --render")
    elif options.name in {record["row"] for record in read_records(path)}:
        print(f"{options.name} has a record already.", file=sys.stderr)
    else:
        append_record(path, measure(options))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the record of one classifier and region."""
    commit = commit_of_the_code()
    asked = {
        "classifier": options.classifier,
        "images": options.images,
        "region": options.region,
        "taxon_map": options.taxon_map,
        "prior_shift": True,
    }
    own, adapted = (
        evaluate(EvaluateConfig.model_validate(asked | {"batch_norm": statistics})).metrics
        for statistics in ("own", "target")
    )
    home, there, normed = own["test"], own["region"], adapted["region"]
    shift = there["prior_shift"]
    found = [
        {name: _recalls(level) for name, level in shift["levels"][CLASS_LEVEL].items()},
        {name: _recalls(level) for name, level in _corrected(normed)[CLASS_LEVEL].items()},
    ]
    return {
        "row": options.name,
        "photos": {_HOME: home["matched_images"], "region": there["matched_images"]},
        "taxa": {_HOME: home["matched_taxa"], "region": there["matched_taxa"]},
        "dropped_photos": there["dropped_images"],
        "source_prior": shift["source"],
        "total_variation": shift["priors"]["total_variation"],
        "iterations": shift["iterations"],
        "figures": {
            _HOME: _recalls(home["levels"][CLASS_LEVEL]),
            _WAYS[0]: found[0]["without"],
            _WAYS[1]: found[0]["with"],
            _WAYS[2]: found[1]["without"],
            _WAYS[3]: found[1]["with"],
        },
        "command": command_of("region_study"),
        "commit": commit,
        "torch": torch.__version__,
    }


def render(results: Path) -> str:
    """Return a table with a line for each classifier and way to judge it."""
    found = read_records(results / f"{_TABLE}.jsonl")
    if not found:
        return "not run"
    lines = [
        "| row | judged on | photos | R@1 | macro recall |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for record in found:
        for way in (_HOME, *_WAYS):
            figures = record["figures"][way]
            cells = [f"{100 * figures[key]:.1f}" for key in ("rank1", "macro_recall")]
            photos = record["photos"][_HOME if way == _HOME else "region"]
            place = way if way == _HOME else f"elsewhere, {way}"
            lines.append(f"| {record['row']} | {place} | {photos:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _corrected(region: Mapping[str, Any]) -> Mapping[str, Any]:
    levels: Mapping[str, Any] = region["prior_shift"]["levels"]
    return levels


def _recalls(level: Mapping[str, Any]) -> dict[str, float]:
    return {key: level[key] for key in ("rank1", "macro_recall")}


if __name__ == "__main__":
    main()
