"""TaxonClassifier: what training makes, and everything that prediction needs."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.classifier.folder import ClassifierParts, load_parts, save_parts
from taxonet.classifier.rows import Row, RowMaker
from taxonet.classifier.settings import Calibration
from taxonet.data.decoding import ImageSource
from taxonet.data.loading import stream_batches
from taxonet.data.transforms import normalise, plain
from taxonet.devices import pick_device
from taxonet.errors import DataError
from taxonet.registry import NOVELTY_SCORES
from taxonet.taxonomy import Taxonomy

NamedImage = tuple[str, ImageSource]


class ScoredBatch(NamedTuple):
    """What the network says of a batch; readable images only, in order."""

    names: list[str]
    """All images of the batch, unreadable ones too, in the order they were given."""
    broken: dict[int, str]
    """Position in ``names`` of each unreadable image, with the reason."""
    embedding: Tensor
    """Embeddings before normalisation, ``(G, d)``."""
    logits: Tensor
    """Scale times scores, before temperature, ``(G, c)``."""

    @property
    def readable(self) -> list[str]:
        """Names of the readable images, one a row of the tensors."""
        return [name for place, name in enumerate(self.names) if place not in self.broken]


class TaxonClassifier:
    """Names photos at the rank it can vouch for.

    A classifier is a folder on disk. Rows do not depend on the batch that an image came in.

    Args:
        parts: Network, taxonomy, classes, calibration.
        device: Where to compute: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Example:
        >>> classifier = TaxonClassifier.load("runs/demo/classifier")  # doctest: +SKIP
        >>> classifier.predict(["oak.jpg"])[["scientificName", "taxonRank"]]  # doctest: +SKIP
    """

    def __init__(self, parts: ClassifierParts, *, device: str = "auto") -> None:
        self.parts = parts
        self.device = pick_device(device)
        self.network = parts.network.eval().to(self.device)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """Read a classifier folder.

        Raises:
            CheckpointError: The folder is incomplete, changed or of another format.
        """
        return cls(load_parts(Path(folder)), device=device)

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

    def with_calibration(self, calibration: Calibration) -> "TaxonClassifier":
        """Return the same classifier with other thresholds."""
        return TaxonClassifier(
            replace(self.parts, calibration=calibration), device=str(self.device)
        )

    def predict(
        self,
        images: Iterable[ImageSource],
        *,
        top_k: int = 1,
        allowed: NDArray[np.bool_] | None = None,
        renormalise: bool = True,
        batch_size: int = 64,
    ) -> pd.DataFrame:
        """Name images: one row each, in order; an unreadable image is a row with its reason.

        Args:
            images: Paths, PIL images, uint8 arrays ``(H, W, 3)`` or the bytes of image files.
            top_k: Candidates at every rank.
            allowed: Classes that may be named, ``(c,)``; None allows all.
            renormalise: Make the allowed classes' probabilities sum to 1.
            batch_size: Images per forward pass.

        Returns:
            Columns ``image``, ``scientificName``, ``taxonRank``, ``probability``, ``rule``,
            ``noveltyScore``, ``<rank>`` and ``<rank>_probability`` for each rank, ``error``.
        """
        if isinstance(images, str | Path | bytes):
            raise DataError("predict takes a list of images, got a single one: wrap it in [ ].")
        maker = self.row_maker(top_k=top_k)
        rows = self.rows(
            _named(images),
            maker=maker,
            allowed=allowed,
            renormalise=renormalise,
            batch_size=batch_size,
        )
        return pd.DataFrame(list(rows), columns=maker.columns)

    def embed(self, images: Iterable[ImageSource], *, batch_size: int = 64) -> NDArray[np.float32]:
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

    def row_maker(self, *, top_k: int = 1) -> RowMaker:
        """Return the maker of this classifier's rows."""
        calibration = self.calibration
        return RowMaker(
            self.taxonomy,
            self.class_nodes,
            threshold_prob=calibration.threshold_prob,
            novelty_threshold=calibration.novelty_threshold,
            top_k=top_k,
        )

    def rows(
        self,
        images: Iterable[NamedImage],
        *,
        maker: RowMaker,
        allowed: NDArray[np.bool_] | None = None,
        renormalise: bool = True,
        batch_size: int = 64,
        workers: int = 0,
    ) -> Iterator[Row]:
        """Yield one row an image, in order, holding one batch in memory at a time."""
        for batch in self.score(images, batch_size=batch_size, workers=workers):
            probs = self.probabilities(batch.logits)
            if allowed is not None:
                probs = _restrict(probs, allowed, renormalise=renormalise)
            good = iter(maker.rows(batch.readable, probs, self.novelty(batch)))
            for place, name in enumerate(batch.names):
                reason = batch.broken.get(place)
                yield next(good) if reason is None else maker.unreadable(name, reason)

    @torch.inference_mode()
    def score(
        self, images: Iterable[NamedImage], *, batch_size: int = 64, workers: int = 0
    ) -> Iterator[ScoredBatch]:
        """Yield what the network says, batch by batch, on the CPU in float32."""
        preprocessing = self.parts.preprocessing
        size = preprocessing.image_size
        # Names wait here while their images are read ahead.
        names: deque[str] = deque()

        def sources() -> Iterator[ImageSource]:
            for name, source in images:
                names.append(name)
                yield source

        stream = stream_batches(
            sources(),
            plain(size, fit=preprocessing.fit),
            image_size=size,
            batch_size=batch_size,
            workers=workers,
        )
        for given, batch in stream:
            pixels = batch.images.to(self.device)
            output = self.network(normalise(pixels, preprocessing.mean, preprocessing.std))
            logits = self.network.head.scale * output.scores.float()
            yield ScoredBatch(
                names=[names.popleft() for _ in given],
                broken=dict(batch.broken),
                embedding=output.embedding.float().cpu(),
                logits=logits.cpu(),
            )

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return softmax(logits / temperature), ``(B, c)``."""
        return torch.softmax(logits / self.calibration.temperature, dim=1)

    def novelty(self, batch: ScoredBatch) -> Tensor:
        """Return the novelty score of each readable image, ``(G,)``; higher is more novel."""
        score = NOVELTY_SCORES.get(self.calibration.novelty_score)
        found: Tensor = score(batch.embedding, batch.logits, 1.0)
        return found


def _named(images: Iterable[ImageSource]) -> Iterator[NamedImage]:
    for number, image in zip(count(), images):
        is_path = isinstance(image, str | Path)
        yield (str(image) if is_path else f"image {number}"), image


def _restrict(probs: Tensor, allowed: NDArray[np.bool_], *, renormalise: bool) -> Tensor:
    kept = probs * torch.from_numpy(allowed)
    if not renormalise:
        return kept
    total = kept.sum(dim=1, keepdim=True)
    # All the allowed classes together may underflow: then none of them is more likely.
    even = torch.from_numpy(allowed / allowed.sum()).to(probs.dtype)
    return torch.where(total > 0, kept / total.clamp_min(torch.finfo(probs.dtype).tiny), even)
