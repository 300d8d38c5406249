"""Batch plans: which images each batch holds, as a pure function of seed, epoch and step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.data.samplers import InstanceBalancedSampler, Sampler, epoch_rows, occurrences
from taxonet.errors import ConfigError, DataError
from taxonet.seeds import generator


class Draw(NamedTuple):
    """One image to be read: its row, the epoch, and the transform it is seen through.

    ``number`` tells apart repeated draws of one image in one epoch; it is 0 for the first.
    ``part`` is 0 in the batch proper and counts from 1 in what comes on top of it.
    """

    row: int
    epoch: int
    view: str
    number: int = 0
    part: int = 0


@dataclass(frozen=True, kw_only=True)
class TailExtension:
    """Now and then a batch gets extra images of tail classes: view ``tail``, part 1.

    Args:
        extra: Images added to an extended batch, b.
        probability: Chance that a batch is extended, p, in 0..1.
        tail_shots: A class with fewer training images is a tail class.

    Raises:
        ConfigError: An argument is out of range.

    Reference:
        TaxoNet, section 3.3 (norm-guided sample selection).
    """

    extra: int = 8
    probability: float = 0.1
    tail_shots: int = 100

    def __post_init__(self) -> None:
        if self.extra < 1:
            raise ConfigError(f"`extra` must be at least 1 image, got {self.extra}.")
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"`probability` must lie in 0..1, got {self.probability}.")
        if self.tail_shots < 1:
            raise ConfigError(f"`tail_shots` must be at least 1 image, got {self.tail_shots}.")


class BatchPlan:
    """The batches of every epoch, known beforehand: nothing depends on what was drawn earlier.

    Each epoch is a row of draws, by default a permutation of the images that have a class, keyed
    by seed and epoch and dealt out to the processes in turn. All processes get equally many
    batches. A trailing batch of one image, from which BatchNorm cannot learn, is dropped.

    On top of the batch proper may come images of tail classes, now and then; a twin batch of the
    same size that another sampler draws; or further views of the same images, in their order.

    Args:
        targets: Class index of each row, ``(N,)``; rows with -1 have no class and are not drawn.
        batch_size: Images in a batch, at least 2; tail images come on top.
        seed: Key of all draws.
        epochs: How many epochs there will be, for samplers that change over time.
        rank: Which process this is, from 0.
        world_size: Number of processes.
        sampler: How often each class comes; None takes each image once in an epoch.
        tail: Extension of batches by tail images, or None.
        twin: The sampler of the twin batch, whose draws are part 1, or None.
        further_views: Names of the views that each image is seen through besides ``train``; they
            are parts 1, 2 and so on.

    Raises:
        ConfigError: An argument is out of range.
        DataError: There are fewer than two images for each process.

    Examples:
        >>> plan = BatchPlan([0, 0, 1, 1, 2], batch_size=2, seed=0)
        >>> plan.steps
        2
        >>> first, second = plan.batches(epoch=0)
        >>> [second] == list(plan.batches(epoch=0, start=1))
        True
        >>> len({draw.row for draw in first + second})
        4
    """

    def __init__(
        self,
        targets: ArrayLike,
        *,
        batch_size: int,
        seed: int,
        epochs: int = 1,
        rank: int = 0,
        world_size: int = 1,
        sampler: Sampler | None = None,
        tail: TailExtension | None = None,
        twin: Sampler | None = None,
        further_views: Sequence[str] = (),
    ) -> None:
        if batch_size < 2:
            raise ConfigError(f"`batch_size` must be at least 2, got {batch_size}.")
        if not 0 <= rank < world_size:
            raise ConfigError(f"`rank` must lie in 0..{world_size - 1}, got {rank}.")
        self.batch_size, self.seed, self.epochs = batch_size, seed, epochs
        self.rank, self.world_size = rank, world_size
        self.sampler = InstanceBalancedSampler() if sampler is None else sampler
        self.tail, self.twin, self.further_views = tail, twin, tuple(further_views)
        self._rows_of_classes = _rows_of_classes(np.asarray(targets, dtype=np.int64))
        self._tail_classes = [
            rows for rows in self._rows_of_classes if tail and len(rows) < tail.tail_shots
        ]
        images = sum(map(len, self._rows_of_classes))
        # The smallest share of a process: a larger one leaves its last image for another epoch.
        self._share = images // world_size
        if self._share < 2:
            raise DataError(
                f"Training needs at least 2 labelled images for each of the {world_size} "
                f"processes, got {images} in all."
            )

    @property
    def steps(self) -> int:
        """Batches in an epoch, for each process."""
        full, rest = divmod(self._share, self.batch_size)
        return full + (rest >= 2)

    @property
    def tail_rows(self) -> NDArray[np.int64]:
        """Rows of the tail classes, ascending; empty without an extension."""
        return np.sort(np.concatenate([np.empty(0, np.int64), *self._tail_classes]))

    @property
    def has_tail(self) -> bool:
        """Whether the extension has any class to draw from."""
        return bool(self._tail_classes)

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[Draw]]:
        """Yield the batches of an epoch from step ``start`` on."""
        draws = self._draws_of(self.sampler, epoch, stream="batches")
        twins = [] if self.twin is None else self._draws_of(self.twin, epoch, stream="twin", part=1)
        for step in range(start, self.steps):
            here = slice(step * self.batch_size, (step + 1) * self.batch_size)
            batch = draws[here]
            yield [*batch, *twins[here], *self._other_views(batch), *self._extension(epoch, step)]

    def _draws_of(self, sampler: Sampler, epoch: int, *, stream: str, part: int = 0) -> list[Draw]:
        """Return this process's share of an epoch."""
        rng = generator(stream, self.seed, epoch)
        progress = epoch / max(1, self.epochs - 1)
        rows = epoch_rows(sampler, self._rows_of_classes, rng, progress=progress)
        # A twin of an image must not be seen through the same random transform.
        numbers = occurrences(rows) + part * len(rows)
        mine = slice(self.rank, None, self.world_size)
        pairs = list(zip(rows[mine].tolist(), numbers[mine].tolist(), strict=True))[: self._share]
        return [Draw(row, epoch, "train", number, part) for row, number in pairs]

    def _other_views(self, batch: list[Draw]) -> list[Draw]:
        views = self.further_views
        return [
            draw._replace(view=view, number=draw.number * len(views) + place, part=place + 1)
            for place, view in enumerate(views)
            for draw in batch
        ]

    def _extension(self, epoch: int, step: int) -> list[Draw]:
        """Draw classes evenly, then images of the class; with replacement."""
        if self.tail is None or not self.has_tail:
            return []
        # Whether to extend is the same for all ranks, so that none waits for a longer batch.
        if generator("extend", self.seed, epoch, step).random() >= self.tail.probability:
            return []
        rng = generator("tail", self.seed, epoch, step, self.rank)
        draws = []
        for i in range(self.tail.extra):
            rows = self._tail_classes[rng.integers(len(self._tail_classes))]
            row = int(rows[rng.integers(len(rows))])
            draws.append(Draw(row, epoch, "tail", number=step * self.tail.extra + i, part=1))
        return draws


def _rows_of_classes(targets: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the rows of each class that has any, by class."""
    rows = np.flatnonzero(targets >= 0)
    ordered = rows[np.argsort(targets[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(targets[ordered])) + 1
    return [rows for rows in np.split(ordered, starts) if len(rows)]


def in_order(images: int, batch_size: int) -> Iterator[list[Draw]]:
    """Yield batches over rows 0..images-1 in order, each once, through the view ``plain``.

    Examples:
        >>> [[draw.row for draw in batch] for batch in in_order(3, 2)]
        [[0, 1], [2]]
    """
    for start in range(0, images, batch_size):
        yield [Draw(row, 0, "plain") for row in range(start, min(start + batch_size, images))]
