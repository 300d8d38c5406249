"""Novelty scores fitted to what a classifier's index holds; no photo is read."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from taxonet.classifier.classifier import TaxonClassifier
from taxonet.classifier.index import StoredEmbeddings
from taxonet.classifier.novelty import logits_of_classes
from taxonet.classifier.settings import check_score_name
from taxonet.errors import ConfigError
from taxonet.inference.novelty import FittedNovelty, ViM
from taxonet.models import ExpertHeads, Head, LinearHead
from taxonet.registry import FITTED_NOVELTY_SCORES, NOVELTY_SCORES

_AT_ONCE = 4096


def with_novelty_score(
    classifier: TaxonClassifier,
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    index: StoredEmbeddings | None = None,
) -> TaxonClassifier:
    """Return the same classifier with another novelty score, and no threshold for it yet.

    A threshold belongs to a score and to calibration photos: set it afterwards, with
    `TaxonClassifier.with_calibration`. Until then no photo is called unknown.

    Args:
        classifier: Whose score is changed; it stays as it is.
        name: A registered score, of outputs or fitted.
        options: Of a fitted score, such as ``{"k": 5}``; defaults where left out.
        index: The embeddings of the training photos, for a fitted score: what
            `TrainingIndex.read` returns.

    Raises:
        ConfigError: No score of that name, options that it does not take, or no index for a
            fitted one.
        DataError: Embeddings that do not fit the classifier, or that the score cannot be fitted to.
    """
    check_score_name(name)
    if name in NOVELTY_SCORES.names():
        NOVELTY_SCORES.check(name, options or {})
        fitted = None
    elif index is None:
        raise ConfigError(
            f"The novelty score {name!r} is fitted to the embeddings of training photos: give the "
            "index of the classifier, TrainingIndex(folder).read()."
        )
    else:
        fitted = fit_novelty_score(classifier, name, options, index=index)
    calibration = classifier.calibration.model_copy(
        update={"novelty_score": name, "novelty_threshold": None}
    )
    parts = replace(classifier.parts, calibration=calibration, novelty=fitted)
    return classifier.with_parts(parts)


def fit_novelty_score(
    classifier: TaxonClassifier,
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    index: StoredEmbeddings,
) -> FittedNovelty:
    """Fit a registered score to the embeddings of a classifier's training photos.

    Args:
        classifier: Its head gives the logits of the embeddings, a block at a time.
        name: A fitted score.
        options: Its options; defaults where left out.
        index: What it is fitted to.

    Raises:
        ConfigError: No fitted score of that name, or options that it does not take.
        DataError: Embeddings that the score cannot be fitted to.
    """
    head = classifier.network.head
    sizes = (head.embedding_size, len(classifier.class_nodes))
    score: FittedNovelty = FITTED_NOVELTY_SCORES.build(name, options or {}, *sizes)
    affine = _affine_map(head)
    # A head of nodes has more rows than there are classes, and what ViM sees are not its logits.
    if isinstance(score, ViM) and affine is not None and head.classes <= score.classes:
        score.set_origin(*(_with_rows(part, score.classes) for part in affine))
    return score.fit(_IndexBatches(classifier, index)).eval()


class _IndexBatches:
    """Embeddings, logits and classes of the index, block by block, as often as they are asked."""

    def __init__(self, classifier: TaxonClassifier, index: StoredEmbeddings) -> None:
        self._classifier = classifier
        self._embeddings = torch.from_numpy(index.embeddings)
        self._targets = torch.from_numpy(index.targets)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        blocks = (torch.split(part, _AT_ONCE) for part in (self._embeddings, self._targets))
        for embeddings, targets in zip(*blocks, strict=True):
            logits = self._classifier.logits_of(embeddings)
            yield embeddings, logits_of_classes(self._classifier.reading, logits), targets


def _affine_map(head: Head) -> tuple[Tensor, Tensor] | None:
    """Return weight ``(s, d)`` and bias ``(s,)`` of a head that is affine; None for others."""
    if isinstance(head, LinearHead):
        return head.weight.detach(), head.bias.detach()
    if isinstance(head, ExpertHeads):
        maps = [_affine_map(one) for one in head.heads if isinstance(one, Head)]
        known = [one for one in maps if one is not None]
        if known:
            # The mean of the experts' scores, each of its own features.
            weight = torch.cat([weight for weight, _ in known], dim=1) / len(known)
            return weight, torch.stack([bias for _, bias in known]).mean(dim=0)
    return None


def _with_rows(part: Tensor, rows: int) -> Tensor:
    """Add rows of 0, for classes without a logit: the origin stays where it is."""
    return torch.cat((part, part.new_zeros(rows - len(part), *part.shape[1:])))
