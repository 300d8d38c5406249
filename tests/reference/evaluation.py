"""What an evaluation counts, by hand: one photo, one taxon at a time, from the definitions."""

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

from taxonet.taxonomy import Taxonomy
from tests.reference.metrics import expected_calibration_error

GROUPS = ("many", "medium", "few")


def group_of(train_images: int) -> str:
    if train_images > 100:
        return "many"
    return "medium" if train_images >= 20 else "few"


def level_figures(
    taxonomy: Taxonomy,
    taxa: Sequence[int],
    *,
    counts: Mapping[int, int],
    photos: Sequence[tuple[int, Sequence[float]]],
    summed: bool = True,
) -> dict[str, Any]:
    """Return the figures of a level.

    Args:
        taxonomy: The tree.
        taxa: The nodes of the level.
        counts: Training photos of each class, by its node; the order is that of the logits.
        photos: True node and logits of each readable photo.
        summed: Sum probabilities below each taxon; False where the taxa are the classes.
    """
    train, photos_at_level = _at_level(taxonomy, taxa, counts=counts, photos=photos, summed=summed)
    ranked = [
        (truth, sorted(taxa, key=lambda taxon: -probs[taxon])) for truth, probs in photos_at_level
    ]
    figures = _summary(ranked, list(taxa))
    return figures | {
        "top5": _share([truth in order[:5] for truth, order in ranked]),
        "macro_top5": _mean(
            [
                _share([taxon in order[:5] for truth, order in ranked if truth == taxon])
                for taxon in taxa
            ]
        ),
        "taxa": len(taxa),
        "shot_groups": {
            group: _summary(ranked, [taxon for taxon in taxa if group_of(train[taxon]) == group])
            for group in GROUPS
        },
    }


def level_calibration(
    taxonomy: Taxonomy,
    taxa: Sequence[int],
    *,
    counts: Mapping[int, int],
    photos: Sequence[tuple[int, Sequence[float]]],
    summed: bool = True,
) -> dict[str, Any]:
    """Return the calibration error of a level with 15 bins, overall and by group of the best taxon.

    The arguments are those of `level_figures`.
    """
    train, at_level = _at_level(taxonomy, taxa, counts=counts, photos=photos, summed=summed)
    said = [(max(taxa, key=lambda taxon: probs[taxon]), truth, probs) for truth, probs in at_level]
    stated = [(group_of(train[best]), probs[best], best == truth) for best, truth, probs in said]

    def error(chosen: Sequence[tuple[str, float, bool]]) -> float | None:
        if not chosen:
            return None
        return expected_calibration_error([p for _, p, _ in chosen], [r for *_, r in chosen], 15)

    groups = {name: error([one for one in stated if one[0] == name]) for name in GROUPS}
    return {"ece": error(stated), "shot_groups": groups}


def _at_level(
    taxonomy: Taxonomy,
    taxa: Sequence[int],
    *,
    counts: Mapping[int, int],
    photos: Sequence[tuple[int, Sequence[float]]],
    summed: bool,
) -> tuple[dict[int, int], list[tuple[int, dict[int, float]]]]:
    """Return training photos of each taxon; true taxon and probabilities of the photos it has."""
    above = {node: set(taxonomy.ancestors(node).tolist()) for node in counts}
    train = {taxon: _train_images(taxon, above, counts, summed=summed) for taxon in taxa}
    found = []
    for truth, logits in photos:
        true_taxon = next((node for node in taxonomy.ancestors(truth) if node in train), None)
        if not summed:
            true_taxon = truth
        if true_taxon is None:
            continue
        likely = [exp(logit) for logit in logits]
        probs = {
            taxon: sum(
                p / sum(likely)
                for p, node in zip(likely, counts, strict=True)
                if (taxon in above[node] if summed else taxon == node)
            )
            for taxon in taxa
        }
        found.append((true_taxon, probs))
    return train, found


def _train_images(
    taxon: int, above: Mapping[int, set[int]], counts: Mapping[int, int], *, summed: bool
) -> int:
    if not summed:
        return counts[taxon]
    return sum(images for node, images in counts.items() if taxon in above[node])


def _summary(ranked: Sequence[tuple[int, list[int]]], taxa: list[int]) -> dict[str, Any]:
    images = [(truth, order[0]) for truth, order in ranked if truth in taxa]
    tested = [taxon for taxon in taxa if any(truth == taxon for truth, _ in images)]
    recalls, precisions, f1s = [], [], []
    for taxon in tested:
        hits = sum(truth == said == taxon for truth, said in images)
        own = sum(truth == taxon for truth, _ in images)
        said = sum(order[0] == taxon for _, order in ranked)
        recalls.append(hits / own)
        precisions.append(hits / said if said else 0.0)
        f1s.append(2 * hits / (own + said))
    return {
        "images": len(images),
        "classes": len(tested),
        "empty_classes": len(taxa) - len(tested),
        "rank1": _share([truth == said for truth, said in images]),
        "macro_recall": _mean(recalls),
        "macro_precision": _mean(precisions),
        "macro_f1": _mean(f1s),
    }


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
