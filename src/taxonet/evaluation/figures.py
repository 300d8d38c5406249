"""From counts to the figures of ``metrics.json``."""

from dataclasses import asdict
from typing import Any

import numpy as np

from taxonet.classifier import TaxonClassifier
from taxonet.data.long_tail import SHOT_GROUPS
from taxonet.evaluation.judge import CLASS_LEVEL, Judgement, LevelCounts
from taxonet.metrics import (
    accuracy,
    class_f1,
    class_precision,
    class_recall,
    expected_calibration_error,
    macro_recall,
    most_confused,
    recall_by_group,
    summarise_recall,
)

Figures = dict[str, Any]
_PAIRS = 10


def level_figures(level: LevelCounts) -> Figures:
    """Return R@1, top-5 and the macro averages of a level, overall and by shot group."""
    return {
        **asdict(summarise_recall(level.confusion)),
        "top5": accuracy(level.top5),
        "macro_top5": macro_recall(level.top5),
        "taxa": len(level.nodes),
        "shot_groups": {
            name: asdict(group)
            for name, group in recall_by_group(
                level.confusion, level.groups, order=SHOT_GROUPS
            ).items()
        },
    }


def class_figures(level: LevelCounts) -> list[Figures]:
    """Return one record a taxon of the level: training and test photos, recall, precision, F1."""
    counts = level.confusion
    columns = zip(
        level.names,
        level.train_counts.tolist(),
        level.groups,
        counts.images.tolist(),
        _or_none(class_recall(counts)),
        _or_none(class_precision(counts)),
        _or_none(class_f1(counts)),
        strict=True,
    )
    names = ("taxon", "train_images", "shot_group", "images", "recall", "precision", "f1")
    return [dict(zip(names, row, strict=True)) for row in columns]


def confused_figures(classifier: TaxonClassifier, level: LevelCounts) -> Figures:
    """Return the most confused pairs inside one genus and across genera."""
    taxonomy = classifier.taxonomy
    genus = (
        taxonomy.ancestor_at_rank(level.nodes, "genus")
        if "genus" in taxonomy.ranks
        else np.asarray(taxonomy.parent)[level.nodes]
    )
    pairs = most_confused(level.confusion, k=_PAIRS, genus_of=genus)
    return {
        kind: [
            {
                "truth": level.names[pair.truth],
                "predicted": level.names[pair.predicted],
                "images": pair.images,
                "share": pair.share,
            }
            for pair in found
        ]
        for kind, found in (("inside_genus", pairs.inside), ("across_genera", pairs.across))
    }


def calibration_figures(judgement: Judgement) -> dict[str, Figures]:
    """Return the expected calibration error of the most probable taxon of every level.

    Shot groups are those of the taxon that is named: ``0.8`` said of a rare species should be
    right eight times in ten too.
    """
    return {
        name: {
            "ece": expected_calibration_error(level.reliability()),
            "shot_groups": {
                group: expected_calibration_error(curve)
                for group, curve in level.reliability_by_group().items()
            },
        }
        for name, level in judgement.levels.items()
    }


def all_levels(judgement: Judgement) -> dict[str, Figures]:
    """Return the figures of every level, the classes first, then fine to coarse."""
    return {name: level_figures(level) for name, level in judgement.levels.items()}


def shown_levels(judgement: Judgement) -> dict[str, LevelCounts]:
    """Leave out the class level where it says the same as a rank."""
    levels = dict(judgement.levels)
    classes = levels[CLASS_LEVEL].nodes
    others = [level.nodes for name, level in levels.items() if name != CLASS_LEVEL]
    if any(np.array_equal(classes, nodes) for nodes in others):
        del levels[CLASS_LEVEL]
    return levels


def _or_none(values: Any) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
