"""What each setting of diffusion does to one classifier: one thing changed at a time.

    python -m benchmarks.diffusion_study CLASSIFIER IMAGES          # measure, and keep the record
    python -m benchmarks.diffusion_study --render                   # print all records

The shape is that of Figure 3 and Tables 6 to 8 of Hierarchical Classification via Diffusion on
Manifolds. Figures are those of the split `val`, since whoever reads them may choose by them.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.records import append_record, read_records
from benchmarks.run_table import RESULTS
from taxonet.classifier import TaxonClassifier
from taxonet.data.matching import match_photos
from taxonet.data.sources import open_images
from taxonet.inference.rollup_choice import Rollup, TreeScores
from taxonet.metrics import OperatingCurve
from taxonet.registry import ROLLUPS

_RECORDS = RESULTS / "diffusion-study.jsonl"
_FIGURES = ("AP", "R@90", "M-F1", "L-F1", "L-Top1")

#: Options beside the defaults: alpha 0.3, the exact limit, all levels, all nodes, after softmax.
_VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    **{f"alpha = {alpha}": {"alpha": alpha} for alpha in (0.0, 0.05, 0.1, 0.2, 0.5, 0.7, 0.9)},
    **{f"steps = {steps}": {"steps": steps} for steps in (1, 2, 5, 12)},
    **{f"top = {top}": {"top": top} for top in (1, 5, 10, 20)},
    "levels = last_two": {"levels": "last_two"},
    "levels = leaves": {"levels": "leaves"},
    "form = raw": {"form": "raw"},
    "form = raw, alpha = 0.1": {"form": "raw", "alpha": 0.1},
    "form = raw, alpha = 0.5": {"form": "raw", "alpha": 0.5},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("classifier", type=Path, nargs="?", help="classifier folder")
    parser.add_argument("images", type=Path, nargs="?", help="split.csv of its training")
    parser.add_argument("--name", help="name of its row")
    parser.add_argument("--render", action="store_true", help="print all records as Markdown")
    options = parser.parse_args()
    if options.render:
        print(render())
    elif options.images is None or options.name is None:
        parser.error("give CLASSIFIER IMAGES --name NAME, or --render")
    else:
        record = {"row": options.name, "variants": measure(options.classifier, options.images)}
        append_record(_RECORDS, record)


def measure(folder: Path, images: Path) -> dict[str, dict[str, float]]:
    """Return the figures of every variant that makes sense for the classifier's head."""
    classifier = TaxonClassifier.load(folder)
    table = open_images(images).split("val")
    matched = match_photos(table, classifier.taxonomy, classifier.class_nodes)
    known = matched.known
    named = [(known.name(row), known.source(row)) for row in range(len(known))]
    batches = list(classifier.score(named))
    assert not any(batch.broken for batch in batches)
    logits = torch.cat([batch.logits for batch in batches]) / classifier.calibration.temperature
    scores = classifier.reading.tree_scores(logits)
    truth = np.searchsorted(classifier.reading.tree_nodes.numpy(), matched.nodes)
    rollups: dict[str, Rollup] = {"no diffusion": ROLLUPS.build("bottom_up", {})}
    rollups |= {name: ROLLUPS.build("diffusion", given) for name, given in _VARIANTS.items()}
    return {
        name: _figures(rollup, scores, truth)
        for name, rollup in rollups.items()
        if rollup.why_not(scores) is None
    }


def _figures(rollup: Rollup, scores: TreeScores, truth: Any) -> dict[str, float]:
    curve = OperatingCurve(scores.taxonomy)
    curve.update(rollup(scores).clamp(0, 1), truth)
    metrics = curve.compute().metrics
    return {name: metrics[name] for name in _FIGURES}


def render() -> str:
    records = read_records(_RECORDS)
    heads = [f"{record['row']}: {name}" for record in records for name in ("AP", "L-Top1")]
    lines = [f"| diffusion | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    for variant in ("no diffusion", *_VARIANTS):
        cells = []
        for record in records:
            found = record["variants"].get(variant)
            cells += [f"{100 * found[name]:.1f}" if found else "n/a" for name in ("AP", "L-Top1")]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
