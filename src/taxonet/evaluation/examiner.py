"""Judges each set of photos of one evaluation by the options that all of them share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np

from taxonet.classifier import TaxonClassifier
from taxonet.data.matching import MatchedPhotos, match_photos, open_unknown, unknown_nodes
from taxonet.data.table import ImageTable
from taxonet.devices import pick_workers
from taxonet.errors import DataError
from taxonet.evaluation.adaptation import adapt_to_photos
from taxonet.evaluation.judge import IntArray, Judgement, NoveltyScore, Watcher, judge
from taxonet.evaluation.novelty_scores import NoveltyScores, calibration_novelty
from taxonet.evaluation.novelty_strata import OTHER, novelty_strata
from taxonet.evaluation.open_set import UnknownPhotos
from taxonet.evaluation.prior_shift import PriorShift, estimate_shift
from taxonet.recipes.verbs import EvaluateConfig

Scores = Mapping[str, NoveltyScore]
_NO_SCORES: Scores = MappingProxyType({})


class Examiner:
    """A classifier, and how photos are judged by it.

    Args:
        classifier: What is judged.
        config: Of the evaluation.
        compared: Novelty scores that are compared on all photos, if any.
        shown: Show progress.
    """

    def __init__(
        self,
        classifier: TaxonClassifier,
        config: EvaluateConfig,
        *,
        compared: NoveltyScores | None,
        shown: bool,
    ) -> None:
        self.classifier, self._config, self._shown = classifier, config, shown
        self._compared = compared
        self.scores = {} if compared is None else compared.scores

    def adapted_to(self, table: ImageTable) -> Self:
        """Return the same with the batch norm statistics of photos."""
        adapted = adapt_to_photos(
            self.classifier,
            table,
            batch_size=self._config.batch_size,
            workers=self._workers(len(table)),
            shown=self._shown,
        )
        return type(self)(adapted, self._config, compared=self._compared, shown=self._shown)

    def shift_of(self, table: ImageTable) -> PriorShift:
        """Estimate how common the classes are among photos."""
        return estimate_shift(
            self.classifier,
            table,
            source=self._config.source_prior,
            batch_size=self._config.batch_size,
            workers=self._workers(len(table)),
            shown=self._shown,
        )

    def of(
        self,
        photos: MatchedPhotos,
        path: Path,
        *,
        what: str,
        scores: Scores = _NO_SCORES,
        watchers: Sequence[Watcher] = (),
    ) -> Judgement:
        """Judge photos of taxa that the classifier knows, also by other novelty scores.

        Raises:
            DataError: There is none, or none that can be read.
        """
        if not len(photos.known):
            labels = ", ".join(list(photos.dropped)[:5]) or "none"
            raise DataError(
                f"{path}: no photo is of a taxon that the classifier knows (labels: {labels}). "
                "Labels must be those of its taxonomy; --taxon-map translates those of --region, "
                "and `taxonet data match` makes such a map of two taxonomies."
            )
        judgement = self._run(photos.known, photos.nodes, what, scores, watchers)
        if not judgement.rows:
            first, reason = next(iter(judgement.unreadable.items()))
            raise DataError(
                f"{path}: none of the {len(photos.known)} photos can be read (first: {first}: "
                f"{reason}). Check the paths: they are relative to the manifest's folder."
            )
        return judgement

    def called_unknown(self, photos: MatchedPhotos) -> list[UnknownPhotos]:
        """Judge photos that a map calls unknown, if any; in their labels no taxon is looked for."""
        table = photos.unknown
        if not len(table):
            return []
        nodes = np.zeros(len(table), dtype=np.int64)
        return [self._unknown(table, nodes, [OTHER] * len(table))]

    def unknown(self, path: Path) -> UnknownPhotos:
        """Judge photos of taxa that the classifier lacks."""
        taxonomy, class_nodes = self.classifier.taxonomy, self.classifier.class_nodes
        table = open_unknown(path, taxonomy, class_nodes)
        nodes = unknown_nodes(table, taxonomy, class_nodes)
        return self._unknown(table, nodes, novelty_strata(table, self.classifier.reading))

    def _unknown(self, table: ImageTable, nodes: IntArray, strata: Sequence[str]) -> UnknownPhotos:
        # They have no true class, which is what a judgement counts.
        found = self._run(table, np.full(len(table), -1), "unknown taxa", self.scores)
        return UnknownPhotos(found, tuple(strata[row] for row in found.rows), nodes[found.rows])

    def calibration(self, images: ImageTable) -> dict[str, list[float]]:
        """Return the novelty of the calibration photos by each score; empty without a threshold.

        Photos that are judged set no threshold, and photos of unknown taxa neither.
        """
        if "calibration" not in images.split_counts() or self._config.split == "calibration":
            return {}
        photos = match_photos(
            images.split("calibration"), self.classifier.taxonomy, self.classifier.class_nodes
        )
        return calibration_novelty(
            self.classifier,
            photos.known,
            self.scores,
            batch_size=self._config.batch_size,
            workers=self._workers(len(photos.known)),
            shown=self._shown,
        )

    def _workers(self, photos: int) -> int:
        return pick_workers(self._config.workers, photos)

    def _run(
        self,
        table: ImageTable,
        nodes: IntArray,
        what: str,
        scores: Scores,
        watchers: Sequence[Watcher] = (),
    ) -> Judgement:
        return judge(
            self.classifier,
            table,
            nodes,
            novelty_scores=scores,
            batch_size=self._config.batch_size,
            workers=self._workers(len(table)),
            what=what,
            shown=self._shown,
            watchers=watchers,
        )
