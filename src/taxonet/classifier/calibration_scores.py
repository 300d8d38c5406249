"""What a classifier keeps of its calibration photos, so that any risk can be asked for later."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taxonet.classifier.decision_rule import DecisionRule
from taxonet.classifier.predicted_groups import PredictedGroups
from taxonet.classifier.settings import CalibrationSource
from taxonet.classifier.spanned import SpannedTree
from taxonet.errors import CheckpointError, ConfigError
from taxonet.files import atomic_file
from taxonet.inference.decision import LikelyNodes, RankThresholds, ThresholdPolicy, cut_at_truth

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class CalibrationScores:
    """The likely nodes and the truth of photos that nothing else was chosen with.

    Attributes:
        images: Name of each photo.
        truth: Its true node, ``(N,)``; of an unknown taxon the deepest ancestor that is known.
        known: Whether its taxon is known, ``(N,)``.
        best_class: Node of its most probable class, ``(N,)``.
        likely: Its nodes with a probability of at least one half.
    """

    images: list[str]
    truth: IntArray
    known: BoolArray
    best_class: IntArray
    likely: LikelyNodes

    def fit(
        self,
        policy: ThresholdPolicy | RankThresholds,
        spanned: SpannedTree,
        *,
        groups: PredictedGroups | None = None,
        source: CalibrationSource | None = None,
    ) -> DecisionRule:
        """Fit a policy that looks at likely nodes only.

        Args:
            policy: Not fitted yet.
            spanned: The tree that the classes span.
            groups: Groups in each of which it keeps its promise; None for one group.
            source: Where the photos came from.

        Raises:
            ConfigError: Groups for a policy without any.
        """
        tree, truth = spanned.tree, spanned.places(self.truth)
        likely = replace(self.likely, node=spanned.places(self.likely.node))
        likely = cut_at_truth(tree, likely, truth, known=self.known)
        if groups is None:
            return DecisionRule(policy.fit(likely, truth, tree), source=source)
        if isinstance(policy, RankThresholds):
            raise ConfigError(f"The policy {policy.kind} has no groups: leave them out.")
        best = spanned.places(self.best_class)
        policy.fit(likely, truth, tree, groups=groups.of_nodes(best))
        return DecisionRule(policy, groups.by, source)


def calibration_scores_file(classifier: Path) -> Path:
    """Return where a classifier's folder has them, if it has any."""
    return classifier / "calibration.parquet"


def write_calibration_scores(classifier: Path, scores: CalibrationScores | None) -> None:
    """Write them into a classifier's folder; nothing where there are none."""
    if scores is None:
        return
    offsets = np.searchsorted(scores.likely.image, np.arange(len(scores.images) + 1))
    table = pa.table(
        {
            "image": pa.array(scores.images, pa.string()),
            "truth": pa.array(scores.truth, pa.int32()),
            "known": pa.array(scores.known),
            "best_class": pa.array(scores.best_class, pa.int32()),
            "nodes": pa.ListArray.from_arrays(offsets, pa.array(scores.likely.node, pa.int32())),
            "probabilities": pa.ListArray.from_arrays(offsets, pa.array(scores.likely.prob)),
        }
    )
    with atomic_file(calibration_scores_file(classifier)) as path:
        pq.write_table(table, path)


def read_calibration_scores(classifier: Path, *, wanted_by: str) -> CalibrationScores:
    """Read them from a classifier's folder.

    Args:
        classifier: The folder.
        wanted_by: What needs them, for the message where there are none.

    Raises:
        CheckpointError: There are none, or the file is damaged.
    """
    path = calibration_scores_file(classifier)
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing: {wanted_by} rests on calibration photos, and this classifier has "
            "seen none. Run `taxonet calibrate` with labelled photos that it was not trained on."
        )
    try:
        table = pq.read_table(path)
        nodes = table["nodes"].combine_chunks()
        counts = nodes.value_lengths().to_numpy()
        return CalibrationScores(
            images=table["image"].to_pylist(),
            truth=table["truth"].to_numpy().astype(np.int64),
            known=table["known"].to_numpy().astype(bool),
            best_class=table["best_class"].to_numpy().astype(np.int64),
            likely=LikelyNodes(
                n_images=len(table),
                image=np.repeat(np.arange(len(table)), counts),
                node=nodes.flatten().to_numpy().astype(np.int64),
                prob=table["probabilities"].combine_chunks().flatten().to_numpy(),
            ),
        )
    except (pa.ArrowException, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be understood ({error}): run `taxonet calibrate` again."
        ) from None
