"""Runs a classifier over labelled photos and keeps what every figure is made from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from taxonet.classifier import ScoredBatch, TaxonClassifier, levels_with_classes
from taxonet.data.long_tail import SHOT_GROUPS, shot_groups
from taxonet.data.table import ImageTable
from taxonet.evaluation.rollups import RollupCurves
from taxonet.metrics import (
    ConfusionCounts,
    HitCounts,
    ReliabilityCounts,
    ReliabilityCurve,
    top_k_hits,
)
from taxonet.progress import Progress
from taxonet.taxonomy import Taxonomy

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
NoveltyScore = Callable[[ScoredBatch], torch.Tensor]
"""Novelty ``(G,)`` of the readable images of a batch."""

#: The level of the classes themselves, whatever their ranks.
CLASS_LEVEL = "class"
# Biology has a rank of that name too (Magnoliopsida is a class).
_RANK_CLASS_LEVEL = "rank class"
_TOP = 5


class LevelCounts:
    """What is counted at one level: a rank of the taxonomy, or the classes themselves.

    Args:
        taxonomy: The tree.
        nodes: The taxa of the level that the classifier can name, ``(m,)``.
        train_counts: Training photos below each, ``(m,)``.
    """

    def __init__(self, taxonomy: Taxonomy, nodes: IntArray, train_counts: IntArray) -> None:
        self.nodes, self.train_counts = nodes, train_counts
        self.names = [str(taxonomy.names[node]) for node in nodes]
        self.groups = [str(group) for group in shot_groups(train_counts)]
        self.confusion = ConfusionCounts(len(nodes))
        self.top5 = HitCounts(len(nodes))
        self._reliability = {group: ReliabilityCounts() for group in SHOT_GROUPS}
        self._place = np.full(len(taxonomy), -1)
        self._place[nodes] = np.arange(len(nodes))
        for level in taxonomy.level_slices[1:]:  # what has no place takes that of its parent
            here = self._place[level]
            self._place[level] = np.where(here < 0, self._place[taxonomy.parent[level]], here)

    def places_of(self, truth_nodes: IntArray) -> IntArray:
        """Return the place in ``nodes`` of each truth or its ancestor; -1 where none is there."""
        return np.where(truth_nodes < 0, -1, self._place[truth_nodes])

    def probs_of(
        self, name: str, class_probs: torch.Tensor, node_probs: torch.Tensor
    ) -> torch.Tensor:
        """Return the probabilities ``(B, m)`` of the taxa of the level of that name."""
        if name == CLASS_LEVEL:
            return class_probs
        return node_probs[:, torch.from_numpy(self.nodes)]

    def add(self, truth_places: IntArray, probs: torch.Tensor) -> None:
        """Count a batch: places of the truth, and probabilities ``(B, m)`` of the level's taxa."""
        known = truth_places >= 0
        if not known.any():
            return
        best = probs[torch.from_numpy(known)].topk(min(_TOP, probs.shape[1]), dim=1)
        ranked, truth = best.indices.numpy(), truth_places[known]
        self.confusion.update(truth, ranked[:, 0])
        self.top5.update(truth, top_k_hits(ranked, truth))
        # Sums of float32 may end a rounding beyond 1.
        stated = best.values[:, 0].clamp(0, 1).numpy()
        group_of = np.array(self.groups, dtype=object)[ranked[:, 0]]
        for group, counts in self._reliability.items():
            of_group = group_of == group
            counts.update(stated[of_group], (ranked[:, 0] == truth)[of_group])

    def reliability(self) -> ReliabilityCurve:
        """Return stated probability against found accuracy of the most probable taxon."""
        of_all = ReliabilityCounts()
        for counts in self._reliability.values():
            of_all.merge(counts)
        return of_all.compute()

    def reliability_by_group(self) -> dict[str, ReliabilityCurve]:
        """Return the same by shot group of that taxon, which a user knows, unlike the truth's."""
        return {group: counts.compute() for group, counts in self._reliability.items()}


def best_places(probs: torch.Tensor) -> torch.Tensor:
    """Return the places of the five largest probabilities (or all) of each row, the best first."""
    return probs.topk(min(_TOP, probs.shape[1]), dim=1).indices


@dataclass
class Judgement:
    """Counts at every level, and a few numbers for each photo; nothing of size images x classes.

    Arrays hold the readable photos in the order they were given.
    """

    levels: dict[str, LevelCounts]
    rollups: RollupCurves
    rows: list[int] = field(default_factory=list)
    """Row of each readable photo in the table."""
    truth: list[int] = field(default_factory=list)
    """True node of each photo, -1 where unknown."""
    predicted: list[int] = field(default_factory=list)
    """Node of the most probable class."""
    prob: list[float] = field(default_factory=list)
    """Its probability."""
    named: list[int] = field(default_factory=list)
    """Node that the decision rule names; 0 for none."""
    novelty: list[float] = field(default_factory=list)
    norm: list[float] = field(default_factory=list)
    """Embedding norm before normalisation."""
    novelty_by: dict[str, list[float]] = field(default_factory=dict)
    """Novelty by each other score that was asked for."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Name and reason of each photo that could not be read."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable class of each photo is its true node."""
        found: NDArray[np.bool_] = np.array(self.truth) == np.array(self.predicted)
        return found


class Watcher(Protocol):
    """Sees what a judgement sees, a batch of readable photos at a time."""

    def add(
        self, rows: IntArray, truth: IntArray, probs: torch.Tensor, node_probs: torch.Tensor
    ) -> None:
        """Take rows of the table and true nodes ``(B,)``, probabilities ``(B, c)``, ``(B, n)``."""


def judge(
    classifier: TaxonClassifier,
    table: ImageTable,
    truth_nodes: Sequence[int] | IntArray,
    *,
    novelty_scores: Mapping[str, NoveltyScore] = MappingProxyType({}),
    batch_size: int | None = None,
    workers: int = 0,
    what: str = "judging",
    shown: bool = False,
    watchers: Sequence[Watcher] = (),
) -> Judgement:
    """Run the classifier over photos whose true node is known.

    Args:
        classifier: What is judged.
        table: Photos.
        truth_nodes: True node of each photo, ``(N,)``; -1 for a taxon outside the tree.
        novelty_scores: Scores to keep beside the classifier's own.
        batch_size: Photos per forward pass; None: as the device is fastest.
        workers: Reading processes.
        what: Word for the progress bar.
        shown: Show progress.
        watchers: Count more of the same photos in the same pass.
    """
    truth = np.asarray(truth_nodes, dtype=np.int64)
    found = Judgement(levels_of(classifier), RollupCurves(classifier))
    photos = ((table.name(row), table.source(row)) for row in range(len(table)))
    start = 0
    with Progress(what, len(table), shown=shown) as progress:
        for batch in classifier.score(photos, batch_size=batch_size, workers=workers):
            places = range(len(batch.names))
            good = [start + place for place in places if place not in batch.broken]
            found.unreadable |= {batch.names[place]: why for place, why in batch.broken.items()}
            start += len(batch.names)
            progress.advance(len(batch.names))
            if not good:
                continue
            scores = classifier.tree_scores(batch.logits)
            probs, node_probs = scores.class_probs, classifier.reading.node_probs_of(scores)
            for name, level in found.levels.items():
                at_level = level.probs_of(name, probs, node_probs)
                level.add(level.places_of(truth[good]), at_level)
            for watcher in watchers:
                watcher.add(np.array(good), truth[good], probs, node_probs)
            best = probs.max(dim=1)
            known = truth[good] >= 0
            if known.any():
                found.rollups.update(scores.rows(torch.from_numpy(known)), truth[good][known])
            found.rows += good
            found.truth += truth[good].tolist()
            found.predicted += classifier.class_nodes[best.indices.numpy()].tolist()
            found.prob += best.values.tolist()
            found.named += classifier.naming.decide(node_probs).tolist()
            found.novelty += classifier.novelty(batch).tolist()
            add_novelty(found.novelty_by, batch, novelty_scores)
            found.norm += torch.linalg.vector_norm(batch.embedding, dim=1).tolist()
    return found


def add_novelty(
    found: dict[str, list[float]], batch: ScoredBatch, scores: Mapping[str, NoveltyScore]
) -> None:
    """Append the novelty of a batch by each score."""
    for name, score in scores.items():
        found.setdefault(name, []).extend(score(batch).tolist())


def levels_of(classifier: TaxonClassifier) -> dict[str, LevelCounts]:
    """Return empty counts for the classes and for every rank, finest first."""
    taxonomy, class_nodes = classifier.taxonomy, classifier.class_nodes
    below = np.zeros(len(taxonomy), dtype=np.int64)
    below[class_nodes] = classifier.class_counts
    for node in range(len(taxonomy) - 1, 0, -1):  # children come after their parents
        below[taxonomy.parent[node]] += below[node]
    levels = {CLASS_LEVEL: LevelCounts(taxonomy, class_nodes, classifier.class_counts)}
    for rank, nodes in reversed(levels_with_classes(taxonomy, class_nodes).items()):
        name = _RANK_CLASS_LEVEL if rank == CLASS_LEVEL else rank
        levels[name] = LevelCounts(taxonomy, nodes, below[nodes])
    return levels
