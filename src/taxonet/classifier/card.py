"""The model card: what a person should know before trusting a classifier."""

from taxonet.classifier.parts import ClassifierParts


def model_card(parts: ClassifierParts) -> str:
    """Write the card of a classifier as Markdown, from its own facts alone."""
    taxonomy, counts = parts.taxonomy, parts.class_counts
    recipe, calibration = parts.recipe, parts.calibration
    return "\n".join(
        [
            "---",
            "library_name: taxonet",
            "pipeline_tag: image-classification",
            "---",
            "# A taxonet classifier",
            "",
            f"It names {len(counts)} taxa of a taxonomy of {len(taxonomy) - 1} "
            f"({', '.join(taxonomy.ranks) or 'without ranks'}).",
            "",
            "| fact | value |",
            "| --- | --- |",
            *_training(parts),
            f"| backbone, head | {recipe.model.backbone}, {recipe.model.head} |",
            *_weights(parts),
            f"| loss | {recipe.loss.name} |",
            f"| calibration photos | {calibration.images} |",
            "",
            *_statements(parts),
            "",
            "```python",
            "from taxonet import TaxonClassifier",
            "",
            'rows = TaxonClassifier.load("path/to/this/folder").predict(["photo.jpg"])',
            "```",
            "",
        ]
    )


def _training(parts: ClassifierParts) -> list[str]:
    counts, recipe = parts.class_counts, parts.recipe
    if not counts.sum():
        return ["| training photos | none: it knows taxa by their names |"]
    return [
        f"| training photos | {int(counts.sum())} |",
        f"| photos of the commonest and the rarest taxon | {counts.max()} and {counts.min()} |",
        f"| epochs, batch size, seed | {recipe.epochs}, {recipe.batch_size}, {recipe.seed} |",
    ]


def _weights(parts: ClassifierParts) -> list[str]:
    origin = parts.weights_origin
    if origin is None:
        return []
    digest = "" if origin.sha256 is None else f"; SHA-256 {origin.sha256}"
    return [
        f"| backbone started at | {origin.source}{digest} |",
        f"| licence of these weights | {origin.licence} |",
    ]


def _naming(parts: ClassifierParts) -> str:
    calibration = parts.calibration
    if parts.rule is not None:
        return (
            f"Otherwise the policy {parts.rule.policy.kind} names a taxon (`decision.yaml`). Its "
            f"promise: {parts.rule.promise}."
        )
    return (
        "Otherwise the deepest taxon whose summed probability reaches "
        f"{calibration.threshold_prob:.4f} is named; that was chosen for "
        f"{calibration.named_right:.0%} right names on the calibration photos."
    )


def _statements(parts: ClassifierParts) -> list[str]:
    calibration = parts.calibration
    if calibration.novelty_threshold is None:
        reason = (
            f"The novelty score ({calibration.novelty_score}) has no threshold"
            if calibration.images
            else "There were no calibration photos"
        )
        return [
            f"{reason}: no photo is called unknown, and a taxon is named "
            f"where its probability reaches {calibration.threshold_prob}."
        ]
    return [
        f"A photo is called unknown where its novelty score ({calibration.novelty_score}) is above "
        f"{calibration.novelty_threshold:.4f}, which accepted {calibration.known_accepted:.0%} of "
        f"the calibration photos. {_naming(parts)} All this holds for photos like the calibration "
        "photos, not for other regions or cameras."
    ]
