"""Photos to stored features: each is embedded once, whoever asks for it, and read ever after."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from taxonet.classifier.feature_batches import feature_batches
from taxonet.classifier.settings import Preprocessing
from taxonet.data.decoding import ImageSource, StoredPhoto
from taxonet.data.features import PLAIN, FeatureStore, Space, photo_digests
from taxonet.data.loading import Keyed
from taxonet.data.transforms import Transform, plain
from taxonet.devices import pick_batch_size
from taxonet.errors import ConfigError
from taxonet.models import Network
from taxonet.progress import Progress
from taxonet.recipes import ModelRecipe

NamedImage = tuple[str, ImageSource]
_SeenBatch = tuple[list[ImageSource | Keyed], Tensor, dict[int, str]]

_OF_TRAINING = {"drop_path_rate", "drop_rate"}
"""Options of a backbone that change nothing in evaluation."""

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


def space_of(network: Network, preprocessing: Preprocessing, *, model: ModelRecipe) -> Space:
    """Return what decides the features of a photo: backbone, weights and preprocessing.

    Args:
        network: Its backbone and normalisation count, its neck and head do not.
        preprocessing: From a photo to the network's input.
        model: Its name and options of the backbone count: the same weights compute other features
            with another activation or pooling.

    Raises:
        ConfigError: Several test crops, whose scores are averaged and not their features.
    """
    if preprocessing.test_crops != 1:
        raise ConfigError(
            f"A store holds one look at a photo, and this classifier averages the scores of "
            f"{preprocessing.test_crops} crops: leave --features out, write a .parquet table, or "
            "train with model.test_crops=1."
        )
    figures = preprocessing.model_dump(mode="json", exclude={"test_crops"})
    size = network.head.embedding_size  # a neck keeps the number of dimensions
    options = {key: one for key, one in model.options.items() if key not in _OF_TRAINING}
    return Space(model.backbone, _digest(network), figures, size, options)


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
        model: ModelRecipe,
        device: torch.device,
    ) -> "Embedder":
        """Open a store for a network, or begin one.

        Raises:
            ConfigError: The folder is a store of other weights or preprocessing, or no store.
        """
        store = FeatureStore.open(folder, space_of(network, preprocessing, model=model))
        return cls(network, preprocessing, store, device=device)

    def add(
        self,
        photos: Sequence[NamedImage],
        *,
        view: str = PLAIN,
        transform: Transform | None = None,
        batch_size: int | None = None,
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
            batch_size: Photos per forward pass; None: as the device is fastest.
            workers: Reading processes.
            shown: Say how many photos there are and how long they will take; show progress.
        """
        with Progress("reading photos", len(photos), shown=shown) as progress:
            digests, broken = photo_digests((source for _, source in photos), progress=progress)
        known = self.store.broken()
        broken |= {place: known[digest] for place, digest in enumerate(digests) if digest in known}
        good = [place for place in range(len(photos)) if place not in broken]
        missing = [good[one] for one in self.store.missing([digests[p] for p in good], view)]
        if missing:
            new = [digests[place] for place in missing]
            sources = [photos[place][1] for place in missing]
            sight = _Sight(plain(self.preprocessing.resize), sources)
            if transform is not None:
                keys = ((view, digest) for digest in new)
                sight = _Sight(transform, [Keyed(*one) for one in zip(sources, keys, strict=True)])
            if shown:
                distinct = len({digests[place] for place in good})
                self._announce(sight, known=distinct - len(missing))
            size = pick_batch_size(batch_size, self.device)
            batches = self._seen(sight, batch_size=size, workers=workers)
            changed = self._store(batches, new, view=view, shown=shown)
            known = changed | dict(self.store.broken())
            broken |= {place: known[digests[place]] for place in good if digests[place] in known}
        found = tuple("" if place in broken else digests[place] for place in range(len(photos)))
        return StoredPhotos(found, broken)

    def features(self, stored: StoredPhotos, *, view: str = PLAIN) -> Tensor:
        """Return the features ``(G, f)`` of the photos that can be used, in order."""
        usable = [digest for digest in stored.digests if digest]
        return torch.from_numpy(self.store.vectors(usable, view))

    def _store(
        self, batches: Iterable[_SeenBatch], digests: Sequence[str], *, view: str, shown: bool
    ) -> dict[str, str]:
        """Write what batches hold of photos with these digests.

        Returns:
            The digests of photos that could not be used and were others by then, with the reasons.
        """
        start, changed = 0, dict[str, str]()
        with (
            self.store.writer() as writer,
            Progress("embedding photos", len(digests), shown=shown) as progress,
        ):
            for given, features, broken in batches:
                here = digests[start : start + len(given)]
                start += len(given)
                for place, reason in broken.items():
                    source = given[place]
                    file = source.source if isinstance(source, Keyed) else source
                    # What became of a file since it was digested says nothing of its bytes, nor
                    # does what another view makes of it, or that it is not at hand.
                    is_there = not isinstance(file, StoredPhoto)
                    if view == PLAIN and is_there and photo_digests([file])[0] == [here[place]]:
                        writer.add_broken(here[place], reason)
                    else:
                        changed[here[place]] = reason
                good = [digest for place, digest in enumerate(here) if place not in broken]
                writer.add(good, view, features.numpy())
                progress.advance(len(given))
        return changed

    def _seen(self, sight: "_Sight", *, batch_size: int, workers: int) -> Iterator[_SeenBatch]:
        """Yield sources, features of the usable photos, and the reasons of the others."""
        return feature_batches(
            self.network,
            sight.sources,
            sight.transform,
            device=self.device,
            batch_size=batch_size,
            workers=workers,
        )

    def _announce(self, sight: "_Sight", *, known: int) -> None:
        """Say how many photos will be embedded, in how much space and time."""
        number = len(sight.sources)
        probed = _Sight(sight.transform, sight.sources[:_PROBED])
        start = time.perf_counter()
        for _ in self._seen(probed, batch_size=pick_batch_size(None, self.device), workers=0):
            pass
        seconds = (time.perf_counter() - start) / len(probed.sources) * number
        megabytes = self.store.bytes_for(number) / 1e6
        stored = f"{known:,} others are stored already; " if known else ""
        sys.stderr.write(
            f"Embedding {number:,} photos with {self.store.space.backbone} into "
            f"{self.store.folder}: {stored}about {_duration(seconds)} and {megabytes:.1f} MB.\n"
        )


class _Sight(NamedTuple):
    """Photos and what they are seen through; keyed where that is random, which costs time."""

    transform: Transform
    sources: Sequence[ImageSource | Keyed]


def _duration(seconds: float) -> str:
    """Return a length of time as people say it.

    Examples:
        >>> _duration(40), _duration(200), _duration(9000)
        ('40 s', '3 min', '2.5 h')
    """
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
