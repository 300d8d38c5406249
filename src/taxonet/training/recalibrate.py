"""The verb `calibrate`: thresholds and a decision policy from labelled photos, for a classifier."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taxonet.classifier import (
    DecisionRule,
    PredictedGroups,
    SpannedTree,
    TaxonClassifier,
    TrainingIndex,
    copy_beside,
    fingerprint,
    trained_on,
    with_novelty_score,
    write_calibration_scores,
)
from taxonet.data.matching import MatchedPhotos, match_photos, open_unknown, unknown_nodes
from taxonet.data.ordering import keyed_order
from taxonet.data.sources import open_images
from taxonet.data.table import ImageTable
from taxonet.devices import pick_workers
from taxonet.errors import ConfigError, DataError
from taxonet.files import atomic_folder, require_free
from taxonet.inference.decision import LeafSets, Policy, RankThresholds, ThresholdPolicy
from taxonet.recipes import read_overrides
from taxonet.recipes.verbs import CalibrateConfig
from taxonet.registry import FITTED_NOVELTY_SCORES, POLICIES
from taxonet.training.calibrate import Calibrated, CalibrationPhotos, calibrated


@dataclass(frozen=True)
class CalibrateResult:
    """What calibrating made."""

    classifier: Path
    images: int
    """Calibration photos that could be read."""
    promise: str
    """What holds for the names of photos like these."""
    notes: tuple[str, ...]


def recalibrate(config: CalibrateConfig, *, show_progress: bool = False) -> CalibrateResult:
    """Set temperature, thresholds and, if asked for, a policy; write a new classifier.

    Photos that the classifier was trained on are left out. Photos of unknown taxa take part in
    policies: to name their genus is right where the genus is known.

    Raises:
        CheckpointError: The folder is no complete classifier.
        ConfigError: Options that cannot work, or a folder that is taken.
        DataError: No photo of a known taxon that can be read, or photos given as unknown that
            are of known taxa.
    """
    require_free(config.out)
    policy = _policy(config)
    stored = TaxonClassifier.load(config.classifier, device=config.device, features=config.features)
    classifier = _with_score(stored, config)
    spanned = SpannedTree.of(classifier.taxonomy, classifier.class_nodes)
    groups = PredictedGroups.of(
        config.group_by,
        spanned.tree,
        spanned.places(classifier.class_nodes),
        classifier.class_counts,
    )
    _check_policy(policy, config, spanned)
    known, notes = _known(config, classifier)
    photos = [known]
    if config.unknown is not None:
        photos.append(_unknown(config.unknown, classifier, config, notes))
    found = calibrated(
        classifier,
        *photos,
        novelty_score=config.novelty_score,
        known_accepted=config.known_accepted,
        named_right=config.named_right,
        batch_size=config.batch_size,
        workers=pick_workers(config.workers, sum(len(one.table) for one in photos)),
        shown=show_progress,
    )
    if found.scores is None:
        raise DataError(
            f"{config.images}: none of the {len(known.table)} photos can be read. Check the paths: "
            "they are relative to the manifest's folder."
        )
    new = found.classifier
    if policy is not None:
        rule = _fitted(policy, groups, found, spanned)
        new = new.with_calibration(new.calibration, rule)
        notes += list(getattr(policy, "notes", ()))
    with atomic_folder(config.out) as folder:
        new.save(folder)
        copy_beside(config.classifier, folder, scores=False)
        write_calibration_scores(folder, found.scores)
    return CalibrateResult(config.out, new.calibration.images, new.naming.promise, tuple(notes))


def _with_score(classifier: TaxonClassifier, config: CalibrateConfig) -> TaxonClassifier:
    """Return the classifier with the novelty score asked for, fitted to its index if need be."""
    name = config.novelty_score
    index = None
    if name in FITTED_NOVELTY_SCORES.names():
        index = TrainingIndex(config.classifier, wanted_by=f"the novelty score {name}").read()
    return with_novelty_score(classifier, name, index=index)


def _policy(config: CalibrateConfig) -> Policy[Any] | None:
    if config.policy is None:
        return None
    policy: Policy[Any] = POLICIES.build(config.policy, read_overrides(config.set))
    return policy


def _check_policy(
    policy: Policy[Any] | None, config: CalibrateConfig, spanned: SpannedTree
) -> None:
    """Refuse what cannot be before the photos are read."""
    if policy is None:
        return
    if config.group_by is not None and not isinstance(policy, ThresholdPolicy):
        raise ConfigError(f"The policy {policy.kind} has no groups: leave out --group-by.")
    if isinstance(policy, RankThresholds):
        policy.check_ranks(spanned.tree)
    if config.unknown is not None and isinstance(policy, LeafSets):
        raise ConfigError(
            f"The policy {policy.kind} is about sets of leaves, and an unknown taxon is no leaf: "
            "leave out --unknown, or choose another policy."
        )


def _known(
    config: CalibrateConfig, classifier: TaxonClassifier
) -> tuple[CalibrationPhotos, list[str]]:
    table = open_images(config.images)
    split = config.split if "split" in table.frame else None
    if split is not None:
        table = table.split(split)
    matched = match_photos(table, classifier.taxonomy, classifier.class_nodes)
    notes = _left_out(matched)
    seen = trained_on(config.classifier, matched.known)
    fresh = np.ones(len(matched.known), dtype=bool) if seen is None else ~seen
    if seen is None:
        notes.append(
            "This classifier has no index of its training photos, so that nothing tells whether "
            "it was trained on these; promises are about photos that it was not trained on."
        )
    if not fresh.all():
        notes.append(f"{int((~fresh).sum())} photos were trained on and were left out.")
    if not fresh.any():
        raise DataError(
            f"{config.images}: no photo{'' if split is None else f' of the split {split!r}'} is of "
            "a taxon that the classifier knows and was not trained on. Calibrate with labelled "
            "photos that were put aside for it."
        )
    photos = CalibrationPhotos(
        matched.known.rows(fresh),
        matched.nodes[fresh],
        np.ones(int(fresh.sum()), dtype=bool),
        str(config.images),
        split,
    )
    return _of_groups(photos, config, notes), notes


def _left_out(matched: MatchedPhotos) -> list[str]:
    coarse = {label: n for label, n in matched.dropped.items() if label in matched.coarse}
    others = {label: n for label, n in matched.dropped.items() if label not in matched.coarse}
    notes = []
    if coarse:
        notes.append(
            f"{sum(coarse.values())} photos are known to a higher taxon only (first: "
            f"{next(iter(coarse))}) and were left out: which of its taxa they are of, nothing says."
        )
    if others:
        notes.append(
            f"{sum(others.values())} photos are of no taxon that the classifier knows (first: "
            f"{next(iter(others))}) and were left out; give photos of unknown taxa with --unknown."
        )
    return notes


def _unknown(
    path: Path, classifier: TaxonClassifier, config: CalibrateConfig, notes: list[str]
) -> CalibrationPhotos:
    table = open_unknown(path, classifier.taxonomy, classifier.class_nodes)
    nodes = unknown_nodes(table, classifier.taxonomy, classifier.class_nodes)
    photos = CalibrationPhotos(table, nodes, np.zeros(len(nodes), dtype=bool), str(path))
    return _of_groups(photos, config, notes)


def _of_groups(
    photos: CalibrationPhotos, config: CalibrateConfig, notes: list[str]
) -> CalibrationPhotos:
    """Return one photo of each group if that is asked for, and note what groups there are."""
    if "group" not in photos.table.frame:
        if config.one_per_group:
            raise ConfigError(
                f"{photos.origin} has no column `group`: add one that says which photos are of one "
                "observation or site, or leave out --one-per-group."
            )
        return photos
    kept = _one_of_each_group(photos.table)
    if kept.all():
        return photos
    counts = f"{len(kept)} photos of {photos.origin} are of {int(kept.sum())} groups"
    if not config.one_per_group:
        notes.append(
            f"{counts} (observations, sites): promises count every photo as independent, and hold "
            "with one photo of each (--one-per-group)."
        )
        return photos
    notes.append(f"{counts}, and one photo of each is used.")
    return CalibrationPhotos(
        photos.table.rows(kept), photos.nodes[kept], photos.known[kept], photos.origin, photos.split
    )


def _one_of_each_group(table: ImageTable) -> NDArray[np.bool_]:
    """Choose by the names of the photos; each without a group is its own."""
    order = keyed_order([table.name(row) for row in range(len(table))], "one per group")
    groups = table.frame["group"].iloc[order]
    kept = np.zeros(len(table), dtype=bool)
    kept[order] = (groups.isna() | ~groups.duplicated()).to_numpy()
    return kept


def _fitted(
    policy: Policy[Any], groups: PredictedGroups | None, found: Calibrated, spanned: SpannedTree
) -> DecisionRule:
    classifier, scores = found.classifier, found.scores
    assert scores is not None
    source = classifier.calibration.source
    if isinstance(policy, ThresholdPolicy | RankThresholds):
        rule = scores.fit(policy, spanned, groups=groups, source=source)
    else:
        probs = spanned.probs(classifier.node_probs(found.logits))
        policy.fit(probs, spanned.places(scores.truth), spanned.tree)
        rule = DecisionRule(policy, source=source)
    return replace(rule, probabilities=fingerprint(classifier.parts))
