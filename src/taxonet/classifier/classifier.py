"""TaxonClassifier: what training makes, and everything that prediction needs."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from taxonet.classifier.decision_rule import DecisionRule
from taxonet.classifier.embedder import Embedder, NamedImage, StoredPhotos
from taxonet.classifier.folder import load_parts, save_parts
from taxonet.classifier.naming import Circumstances, Naming, naming_by_rule, naming_by_threshold
from taxonet.classifier.novelty import check_novelty_score, fitted_novelty, output_novelty
from taxonet.classifier.parts import ClassifierParts
from taxonet.classifier.reading import Reading, reading_of
from taxonet.classifier.rows import Row, RowMaker, is_figure
from taxonet.classifier.scored_batch import ScoredBatch, finite_only
from taxonet.classifier.settings import Calibration
from taxonet.classifier.source_prior import PriorChange
from taxonet.data.crops import crops_of, spec_to_crop
from taxonet.data.decoding import ImageSource
from taxonet.data.loading import stream_batches
from taxonet.data.transforms import plain
from taxonet.devices import pick_batch_size, pick_device
from taxonet.errors import ConfigError, DataError
from taxonet.files import readable_path
from taxonet.inference.prior_shift import with_priors
from taxonet.inference.rollup_choice import Rollup, TreeScores
from taxonet.registry import FITTED_NOVELTY_SCORES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import class_to_node_probs

_STORED_AT_ONCE = 4096
"""Photos that are brought into a store before their scores are asked for."""

_STORED_ROWS = 64
"""Photos that neck and head see at a time, where the store has their features."""


class TaxonClassifier:
    """Names photos at the rank it can vouch for.

    A classifier is a folder on disk. Rows of one image agree to 1e-5 whatever batch it came in.

    Args:
        parts: Network, taxonomy, classes, calibration.
        device: Where to compute: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        features: Folder of a store: photos whose features it has are not looked at again, those of
            other photos are added. None: every photo is embedded whenever it is asked for.

    Raises:
        ConfigError: A store of other weights or preprocessing.

    `load` and `predict` are the usual way in::

        rows = TaxonClassifier.load("runs/demo/classifier").predict(["oak.jpg"])
    """

    def __init__(
        self, parts: ClassifierParts, *, device: str = "auto", features: str | Path | None = None
    ) -> None:
        check_novelty_score(parts.calibration, parts.novelty)
        self.parts = parts
        self.device = pick_device(device)
        self.network = parts.network.eval().to(self.device)
        self.reading: Reading = reading_of(
            parts.recipe,
            parts.taxonomy,
            parts.class_nodes,
            parts.class_counts,
            learned=parts.learned,
        )
        self.naming: Naming = _naming(parts)
        self._embedder: Embedder | None = None
        if features is not None:
            self._embedder = Embedder.open(
                Path(features),
                self.network,
                parts.preprocessing,
                model=parts.recipe.model,
                device=self.device,
            )

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str = "auto", features: str | Path | None = None
    ) -> Self:
        """Read a classifier folder; the options are those of the class.

        Raises:
            CheckpointError: The folder is incomplete, changed or of another format.
            ConfigError: A store of other weights or preprocessing.
        """
        return cls(load_parts(Path(folder)), device=device, features=features)

    def save(self, folder: str | Path) -> None:
        """Write the classifier folder, whole or not at all."""
        save_parts(self.parts, Path(folder))

    @property
    def taxonomy(self) -> Taxonomy:
        """The tree that answers are nodes of."""
        return self.parts.taxonomy

    @property
    def class_nodes(self) -> NDArray[np.int64]:
        """Node of each class, ascending, ``(c,)``."""
        return self.parts.class_nodes

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Training photos of each class, ``(c,)``."""
        return self.parts.class_counts

    @property
    def calibration(self) -> Calibration:
        """Temperature and thresholds."""
        return self.parts.calibration

    def with_calibration(
        self, calibration: Calibration, rule: DecisionRule | None = None
    ) -> "TaxonClassifier":
        """Return the same classifier with other thresholds, and the policy given, if any.

        Raises:
            ConfigError: A fitted novelty score that the classifier does not have.
        """
        return self.with_parts(replace(self.parts, calibration=calibration, rule=rule))

    def with_parts(self, parts: ClassifierParts) -> "TaxonClassifier":
        """Return a classifier of other parts, on the same device and store of features."""
        features = None if self._embedder is None else self._embedder.store.folder
        return TaxonClassifier(parts, device=str(self.device), features=features)

    def predict(
        self,
        images: Iterable[ImageSource],
        *,
        top_k: int = 1,
        rollup: Rollup | None = None,
        allowed: NDArray[np.bool_] | None = None,
        renormalise: bool = True,
        priors: PriorChange | None = None,
        batch_size: int | None = None,
    ) -> pd.DataFrame:
        """Name images: one row each, in order; an unreadable image is a row with its reason.

        Args:
            images: Paths, PIL images, uint8 arrays ``(H, W, 3)`` or the bytes of image files.
            top_k: Candidates at every rank.
            rollup: How probabilities of all taxa come from the scores, as
                ``ROLLUPS.build("diffusion", {"alpha": 0.3})`` makes it; None is the head's own way.
            allowed: Classes that may be named, ``(c,)``, as `classes_within` and `classes_listed`
                give them; None allows all.
            renormalise: Make the allowed classes' probabilities sum to 1.
            priors: How common the classes are, behind the probabilities and where the images are
                from; None: alike. Allowed are then classes that are there at all.
            batch_size: Images per forward pass; None: as the device is fastest.

        Returns:
            Columns ``image``, ``scientificName``, ``taxonRank``, ``probability``, ``rule``,
            ``noveltyScore``, ``<rank>`` and ``<rank>_probability`` for each rank, ``promise``,
            ``error``.
            Figures are float64, NaN where missing; the others hold text or None.

        Raises:
            DataError: A single image instead of a list.
            ConfigError: Options outside their range, or ``allowed`` that allows nothing.
        """
        naming = self.naming.under(
            Circumstances(
                rollup=rollup is not None,
                some_taxa=allowed is not None,
                renormalised=renormalise,
                other_shares=priors is not None,
            )
        )
        maker = self.row_maker(naming=naming, top_k=top_k)
        rows = self.rows(
            _named(images),
            maker=maker,
            rollup=rollup,
            allowed=allowed,
            renormalise=renormalise,
            priors=priors,
            batch_size=batch_size,
        )
        frame = pd.DataFrame(list(rows), columns=maker.columns, dtype=object)
        # Otherwise a column's type would depend on whether anything is in it.
        return frame.astype({column: float for column in maker.columns if is_figure(column)})

    def embed(
        self, images: Iterable[ImageSource], *, batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """Return the embeddings ``(N, d)`` of images, before normalisation.

        Raises:
            DataError: An image cannot be read.
        """
        found = []
        for batch in self.score(_named(images), batch_size=batch_size):
            for place, reason in batch.broken.items():
                raise DataError(f"{batch.names[place]} cannot be read: {reason}")
            found.append(batch.embedding.numpy())
        size = self.network.head.embedding_size
        return np.concatenate(found) if found else np.zeros((0, size), dtype=np.float32)

    def row_maker(
        self,
        *,
        naming: Naming | None = None,
        top_k: int = 1,
        node_probs_from: float | None = None,
    ) -> RowMaker:
        """Return the maker of this classifier's rows; the options are those of `RowMaker`."""
        return RowMaker(
            self.taxonomy,
            self.class_nodes,
            naming=naming or self.naming,
            top_k=top_k,
            node_probs_from=node_probs_from,
        )

    def rows(
        self,
        images: Iterable[NamedImage],
        *,
        maker: RowMaker,
        rollup: Rollup | None = None,
        allowed: NDArray[np.bool_] | None = None,
        renormalise: bool = True,
        priors: PriorChange | None = None,
        batch_size: int | None = None,
        workers: int = 0,
    ) -> Iterator[Row]:
        """Yield one row an image, in order, holding one batch in memory at a time.

        Raises:
            ConfigError: A rollup where only some taxa are allowed or priors change, whose classes
                are summed up; priors for probabilities that are not to sum to 1.
        """
        if rollup is not None and (allowed is not None or priors is not None):
            raise ConfigError(
                "A rollup is for all taxa: leave out `allowed` and `priors`, or the rollup."
            )
        if priors is not None:
            if not renormalise:
                raise ConfigError("Probabilities under other priors sum to 1: leave one out.")
            there = np.asarray(priors.target) > 0
            allowed = there if allowed is None else there & np.asarray(allowed)
        mask = None if allowed is None else self._mask(allowed)
        for batch in self.score(images, batch_size=batch_size, workers=workers):
            if mask is None:
                probs = self.node_probs(batch.logits, rollup=rollup)
            elif renormalise:
                probs = self.probabilities(batch.logits, allowed=mask)
                if priors is not None:
                    probs = with_priors(probs, source=priors.source, target=priors.target)
                probs = self._rolled_up(probs)
            else:
                probs = self._rolled_up(self.probabilities(batch.logits) * mask)
            good = iter(maker.rows(batch.readable, probs, self.novelty(batch)))
            for place, name in enumerate(batch.names):
                reason = batch.broken.get(place)
                yield next(good) if reason is None else maker.unreadable(name, reason)

    def rows_at_once(self, batch_size: int | None = None) -> int:
        """Return how many photos each batch of `score` has, but for the last one.

        Args:
            batch_size: What was asked for; None: as the device is fastest.

        Raises:
            ConfigError: A number below 1.
        """
        if self._embedder is not None and batch_size is None:
            return _STORED_ROWS
        return pick_batch_size(batch_size, self.device)

    @torch.inference_mode()
    def score(
        self, images: Iterable[NamedImage], *, batch_size: int | None = None, workers: int = 0
    ) -> Iterator[ScoredBatch]:
        """Yield what the network says, `rows_at_once` photos at a time, on the CPU in float32."""
        rows = self.rows_at_once(batch_size)
        if self._embedder is not None:
            yield from self._score_stored(
                self._embedder, images, batch_size=batch_size, workers=workers
            )
            return
        preprocessing = self.parts.preprocessing
        resize = spec_to_crop(preprocessing.resize, crops=preprocessing.test_crops)
        # Names wait here while their images are read ahead.
        names: deque[str] = deque()

        def sources() -> Iterator[ImageSource]:
            for name, source in images:
                names.append(name)
                yield source

        stream = stream_batches(
            sources(),
            plain(resize),
            batch_size=rows,
            workers=workers,
            pin_memory=self.device.type == "cuda",
        )
        for given, batch in stream:
            embedding, logits = self._look_at(batch.images)
            yield finite_only(
                ScoredBatch(
                    names=[names.popleft() for _ in given],
                    broken=dict(batch.broken),
                    embedding=embedding,
                    logits=logits,
                )
            )

    def _score_stored(
        self,
        embedder: Embedder,
        images: Iterable[NamedImage],
        *,
        batch_size: int | None,
        workers: int,
    ) -> Iterator[ScoredBatch]:
        """Yield what neck and head say of the features in a store, once all are in it."""
        network, stream = self.network.on_features(), iter(images)
        rows = self.rows_at_once(batch_size)
        while photos := list(islice(stream, _STORED_AT_ONCE)):
            stored = embedder.add(photos, batch_size=batch_size, workers=workers)
            names = [name for name, _ in photos]
            for start in range(0, len(photos), rows):
                here = slice(start, start + rows)
                digests = stored.digests[here]
                broken = {
                    place: stored.broken[start + place]
                    for place, digest in enumerate(digests)
                    if not digest
                }
                features = embedder.features(StoredPhotos(digests, broken)).to(self.device)
                embedding, scores = network(features)
                logits = network.head.scale * scores.float()
                batch = ScoredBatch(names[here], broken, embedding.float().cpu(), logits.cpu())
                yield finite_only(batch)

    def _look_at(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings and logits of uint8 images ``(G, 3, *L)``, on the CPU.

        Both are means over the crops. Scores are averaged and not probabilities: those of every
        head can be, whatever they are read as, and one temperature still fits all.
        """
        head = self.network.head
        if len(images) == 0:  # windowed transformers cannot take an empty batch
            return torch.zeros(0, head.embedding_size), torch.zeros(0, head.classes)
        preprocessing = self.parts.preprocessing
        size, crops = preprocessing.image_size, preprocessing.test_crops
        embeddings, logits = [], []
        # One crop at a time: five at once would need five times the memory.
        images = images.to(self.device, non_blocking=self.device.type == "cuda")
        for crop in crops_of(images, size=size, crops=crops):
            output = self.network(crop)
            embeddings.append(output.embedding.float())
            logits.append(head.scale * output.scores.float())
        return _mean(embeddings).cpu(), _mean(logits).cpu()

    @torch.no_grad()
    def logits_of(self, embedding: Tensor) -> Tensor:
        """Return the logits ``(B, s)`` that the head gives embeddings ``(B, d)``, on the CPU.

        With several crops those of their mean embedding, which are close to the mean logits.
        """
        head = self.network.head
        logits: Tensor = head.scale * head(embedding.to(self.device)).float()
        return logits.cpu()

    def _mask(self, allowed: NDArray[np.bool_]) -> Tensor:
        mask = np.asarray(allowed)
        if mask.dtype != bool or mask.shape != self.class_nodes.shape or not mask.any():
            raise ConfigError(
                f"`allowed` takes a bool for each of the {len(self.class_nodes)} classes, at least "
                f"one of them True, got {int(mask.astype(bool).sum())} True in {mask.dtype} of "
                f"shape {mask.shape}."
            )
        return torch.from_numpy(mask)

    def probabilities(self, logits: Tensor, *, allowed: Tensor | None = None) -> Tensor:
        """Return class probabilities ``(B, c)``, over the allowed classes ``(c,)`` if given."""
        return self.reading.class_probs(logits / self.calibration.temperature, allowed=allowed)

    def tree_scores(self, logits: Tensor) -> TreeScores:
        """Return what the head says of the tree that the classes span; rollups start from it."""
        return self.reading.tree_scores(logits / self.calibration.temperature)

    def node_probs(self, logits: Tensor, *, rollup: Rollup | None = None) -> Tensor:
        """Return the probability of each node of the tree, ``(B, n)``; see `Reading.node_probs`."""
        return self.reading.node_probs(logits / self.calibration.temperature, rollup=rollup)

    def _rolled_up(self, class_probs: Tensor) -> Tensor:
        return class_to_node_probs(self.taxonomy, self.class_nodes, class_probs)

    def novelty(self, batch: ScoredBatch) -> Tensor:
        """Return the novelty score of each readable image, ``(G,)``; higher is more novel."""
        name, fitted = self.calibration.novelty_score, self.parts.novelty
        if fitted is not None and name in FITTED_NOVELTY_SCORES.names():
            return fitted_novelty(fitted, self.reading, batch.embedding, batch.logits)
        return output_novelty(name, self.reading, batch.embedding, batch.logits)


def _naming(parts: ClassifierParts) -> Naming:
    if parts.rule is None:
        return naming_by_threshold(parts.taxonomy, parts.calibration)
    return naming_by_rule(
        parts.rule,
        parts.taxonomy,
        parts.class_nodes,
        parts.class_counts,
        novelty_threshold=parts.calibration.novelty_threshold,
    )


def _mean(of_crops: list[Tensor]) -> Tensor:
    return torch.stack(of_crops).mean(dim=0)


def _named(images: Iterable[ImageSource]) -> Iterator[NamedImage]:
    # All of these can be iterated over, or look as if they could: none is a list of images.
    is_one_array = isinstance(images, np.ndarray) and images.ndim < 4
    if is_one_array or isinstance(images, str | Path | bytes | Image.Image):
        raise DataError("Expected a list of images, got a single one: wrap it in [ ].")
    return ((_name(number, image), image) for number, image in enumerate(images))


def _name(number: int, image: ImageSource) -> str:
    return readable_path(image) if isinstance(image, str | Path) else f"image {number}"
