"""Photos to stored features: each is embedded once, whoever asks for it, and read ever after."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from taxonet.classifier.settings import Preprocessing
from taxonet.data.decoding import ImageSource
from taxonet.data.features import PLAIN, FeatureStore, Space, photo_digests
from taxonet.data.loading import Keyed, stream_batches
from taxonet.data.transforms import Transform, plain
from taxonet.errors import ConfigError
from taxonet.models import Network
from taxonet.progress import Progress

NamedImage = tuple[str, ImageSource]

_NOT_FINITE = "the backbone gives no finite numbers for it"
_PROBED = 8
"""Photos that are embedded to tell how long the others will take."""


@dataclass(frozen=True)
class StoredPhotos:
    """Photos whose features a store holds.

    Attributes:
        digests: SHA-256 of each photo's bytes; empty where the photo cannot be used.
        broken: Position of each photo that cannot be used, with the reason.
    """

    digests: tuple[str, ...]
    broken: Mapping[int, str]


def space_of(network: Network, preprocessing: Preprocessing, *, backbone: str) -> Space:
    """Return what decides the features of a photo: weights and preprocessing.

    Args:
        network: Its backbone and normalisation count, its neck and head do not.
        preprocessing: From a photo to the network's input.
        backbone: Name of the backbone, for messages.

    Raises:
        ConfigError: Several test crops, whose scores are averaged and not their features.
    """
    if preprocessing.test_crops != 1:
        raise ConfigError(
            f"A store holds one look at a photo, and this classifier averages the scores of "
            f"{preprocessing.test_crops} crops: leave --features out, or set model.test_crops=1."
        )
    figures = preprocessing.model_dump(mode="json", exclude={"test_crops"})
    size = network.head.embedding_size  # a neck keeps the number of dimensions
    return Space(backbone, _digest(network), figures, size)


def _digest(network: Network) -> str:
    digest = sha256()
    for name, tensor in sorted(network.backbone.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


class Embedder:
    """A frozen backbone and the store that its features go into.

    Args:
        network: Gives the features; it is put into evaluation mode.
        preprocessing: From a photo to the network's input.
        store: Of the space that both make.
        device: Where to compute.
    """

    def __init__(
        self,
        network: Network,
        preprocessing: Preprocessing,
        store: FeatureStore,
        *,
        device: torch.device,
    ) -> None:
        self.network, self.preprocessing = network, preprocessing
        self.store, self.device = store, device

    @classmethod
    def open(
        cls,
        folder: Path,
        network: Network,
        preprocessing: Preprocessing,
        *,
        backbone: str,
        device: torch.device,
    ) -> "Embedder":
        """Open a store for a network, or begin one.

        Raises:
            ConfigError: The folder is a store of other weights or preprocessing, or no store.
        """
        store = FeatureStore.open(folder, space_of(network, preprocessing, backbone=backbone))
        return cls(network, preprocessing, store, device=device)

    def add(
        self,
        photos: Sequence[NamedImage],
        *,
        view: str = PLAIN,
        transform: Transform | None = None,
        batch_size: int = 64,
        workers: int = 0,
        shown: bool = False,
    ) -> StoredPhotos:
        """Embed the photos that the store lacks, and say where each is found.

        A kill loses one shard at most; the same call then goes on with what is missing.

        Args:
            photos: Names and sources.
            view: The view's key in the store.
            transform: Of that view; None: as prediction sees a photo. Its randomness is keyed by
                the view and the photo's bytes.
            batch_size: Photos per forward pass.
            workers: Reading processes.
            shown: Say how many photos there are and how long they will take; show progress.
        """
        digests, broken = photo_digests([source for _, source in photos])
        known = self.store.broken()
        broken |= {place: known[digest] for place, digest in enumerate(digests) if digest in known}
        good = [place for place in range(len(photos)) if place not in broken]
        missing = [good[one] for one in self.store.missing([digests[p] for p in good], view)]
        if missing:
            sources = [Keyed(photos[place][1], (view, digests[place])) for place in missing]
            sight = self._transform() if transform is None else transform
            if shown:
                distinct = len({digests[place] for place in good})
                self._announce(sources, sight, known=distinct - len(missing))
            passing = self._embed(
                sources,
                sight,
                view=view,
                batch_size=batch_size,
                workers=workers,
                shown=shown,
            )
            known = passing | dict(self.store.broken())
            broken |= {place: known[digests[place]] for place in good if digests[place] in known}
        found = tuple("" if place in broken else digests[place] for place in range(len(photos)))
        return StoredPhotos(found, broken)

    def features(self, stored: StoredPhotos, *, view: str = PLAIN) -> Tensor:
        """Return the features ``(G, f)`` of the photos that can be used, in order."""
        usable = [digest for digest in stored.digests if digest]
        return torch.from_numpy(self.store.vectors(usable, view))

    def _transform(self) -> Transform:
        return plain(self.preprocessing.resize)

    def _embed(
        self,
        sources: Sequence[Keyed],
        transform: Transform,
        *,
        view: str,
        batch_size: int,
        workers: int,
        shown: bool,
    ) -> dict[str, str]:
        """Embed photos into the store; return the digests of those that changed meanwhile."""
        passing: dict[str, str] = {}
        batches = self._seen(sources, transform, batch_size=batch_size, workers=workers)
        with (
            self.store.writer() as writer,
            Progress("embedding photos", len(sources), shown=shown) as progress,
        ):
            for given, digests, features, broken in batches:
                for place, reason in broken.items():
                    # What became of the file since it was digested says nothing of its bytes.
                    if photo_digests([given[place]])[0] == [digests[place]]:
                        writer.add_broken(digests[place], reason)
                    else:
                        passing[digests[place]] = reason
                good = [digest for place, digest in enumerate(digests) if place not in broken]
                writer.add(good, view, features.numpy())
                progress.advance(len(digests))
        return passing

    @torch.inference_mode()
    def _seen(
        self, sources: Iterable[Keyed], transform: Transform, *, batch_size: int, workers: int
    ) -> Iterator[tuple[list[ImageSource], list[str], Tensor, dict[int, str]]]:
        """Yield photos, their digests, the features of the usable ones, and why others are not."""
        self.network.to(self.device).eval()
        stream = stream_batches(
            sources,
            transform,
            batch_size=batch_size,
            workers=workers,
        )
        for given, batch in stream:
            broken = dict(batch.broken)
            features = torch.zeros(0, self.store.space.embedding_size)
            if len(batch.images):
                features = self.network.features(batch.images.to(self.device)).float().cpu()
            finite = features.isfinite().all(dim=1)
            rows = batch.rows[~finite].tolist()
            yield (
                [one.source for one in given],
                [str(one.key[-1]) for one in given],
                features[finite],
                broken | dict.fromkeys(rows, _NOT_FINITE),
            )

    def _announce(self, sources: Sequence[Keyed], transform: Transform, *, known: int) -> None:
        """Say how many photos will be embedded, in how much space and time."""
        probed = sources[:_PROBED]
        start = time.perf_counter()
        for _ in self._seen(probed, transform, batch_size=_PROBED, workers=0):
            pass
        seconds = (time.perf_counter() - start) / len(probed) * len(sources)
        megabytes = self.store.bytes_for(len(sources)) / 1e6
        stored = f"{known:,} of them are stored already; " if known else ""
        sys.stderr.write(
            f"Embedding {len(sources):,} photos with {self.store.space.backbone} into "
            f"{self.store.folder}: {stored}about {_duration(seconds)} and {megabytes:.1f} MB.\n"
        )


def _duration(seconds: float) -> str:
    """Return a length of time as people say it.

    Examples:
        >>> _duration(40), _duration(200), _duration(9000)
        ('40 s', '3 min', '2.5 h')
    """
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
