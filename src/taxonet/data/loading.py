"""From draws to batches of tensors; a broken image becomes a record, never a stopped run."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from taxonet.data.decoding import BrokenImage, ImageSource, load_image
from taxonet.data.sampling import Draw
from taxonet.data.table import ImageTable
from taxonet.data.transforms import Transform, keyed
from taxonet.errors import ConfigError, did_you_mean

Item = TypeVar("Item")


class Broken(NamedTuple):
    """A row whose image cannot be used, and why."""

    row: int
    reason: str


class Sample(NamedTuple):
    """A transformed image ``(3, H, W)`` uint8 of a row, and the part of the batch it is in."""

    image: Tensor
    row: int
    part: int


class Batch(NamedTuple):
    """The good images of a batch in the order of its draws, and the broken ones.

    Shapes: ``images`` ``(B, 3, H, W)`` uint8, ``rows`` and ``part`` ``(B,)`` int64.
    B may be 0.
    """

    images: Tensor
    rows: Tensor
    part: Tensor
    broken: list[Broken]

    def with_every_view(self) -> "Batch":
        """Leave out the images of which not every part of the batch could be read.

        A read may fail once and not the next time. What is left has the same images in the same
        order in every part.

        Examples:
            >>> rows, part = torch.tensor([4, 7, 4, 7, 7]), torch.tensor([0, 0, 1, 1, 2])
            >>> Batch(torch.zeros(5, 3, 1, 1), rows, part, []).with_every_view().rows.tolist()
            [7, 7, 7]
        """
        if len(self.rows) == 0:
            return self
        size = int(self.rows.max()) + 1
        counts = torch.stack(
            [
                torch.bincount(self.rows[self.part == part], minlength=size)
                for part in torch.unique(self.part)
            ]
        )
        kept = (counts == counts[0]).all(dim=0)[self.rows]
        return Batch(self.images[kept], self.rows[kept], self.part[kept], self.broken)


class BatchSource(Protocol):
    """What training and validation draw from: photos, or embeddings that a store holds."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def name(self, row: int) -> str:
        """Return the path or id of the image in a row."""

    def batches(self, plan: Iterable[Sequence[Draw]], *, workers: int = 0) -> Iterator["Batch"]:
        """Yield one `Batch` for each list of draws, in order."""


class ImageDataset(Dataset[Sample | Broken]):
    """Reads, decodes and transforms the image of a draw.

    What comes back depends on the seed, the epoch, the image's name, the view and the draw's
    number alone, so it is the same in any worker and in any order.

    Args:
        table: The images that the rows of the draws point to.
        views: Transforms to one size by name: ``train``, ``tail``, ``plain``.
        seed: Key of the transforms' randomness.
        pin_memory: Keep batches in memory from which a GPU of CUDA can copy by itself.

    Raises:
        ConfigError: There is no view, or they return images of different sizes.
    """

    def __init__(
        self,
        table: ImageTable,
        views: Mapping[str, Transform],
        *,
        seed: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.table, self.views = table, dict(views)
        self.seed, self.pin_memory = seed, pin_memory
        sizes = {view.size for view in views.values()}
        if len(sizes) != 1:
            raise ConfigError(
                f"The views of a data set must have one size, because their images are stacked, "
                f"got {sorted(sizes)}."
            )
        (self.size,) = sizes

    def __len__(self) -> int:
        return len(self.table)

    def name(self, row: int) -> str:
        """Return the path or id of the image in a row."""
        return self.table.name(row)

    def batches(self, plan: Iterable[Sequence[Draw]], *, workers: int = 0) -> Iterator[Batch]:
        """Yield one `Batch` for each list of draws, in order.

        Args:
            plan: Lists of draws, such as ``BatchPlan.batches(epoch)``; it may be a stream.
            workers: Processes that read ahead; 0 reads in this one. The batches are the same.
        """
        return iter(_loader(self, plan, workers=workers, pin_memory=self.pin_memory))

    def __getitem__(self, draw: Draw) -> Sample | Broken:
        if draw.view not in self.views:
            raise ConfigError(
                f"The data set has no view {draw.view!r}.{did_you_mean(draw.view, self.views)} "
                f"Views: {', '.join(self.views)}."
            )
        key = (self.seed, draw.epoch, self.name(draw.row), draw.view, draw.number)
        try:
            view = self.views[draw.view]
            photo = load_image(self.table.source(draw.row), at_least=view.decode_at_least)
            image = keyed(view, photo, *key)
        except BrokenImage as error:
            return Broken(draw.row, error.reason)
        return Sample(image, draw.row, draw.part)


def stream_batches(
    sources: Iterable[Item],
    transform: Transform,
    *,
    batch_size: int,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[tuple[list[Item], Batch]]:
    """Yield batches of a stream of images, in its order, holding only a few batches at a time.

    Args:
        sources: Paths, encoded bytes, PIL images or arrays, as `load_image` takes them; `Keyed`
            where the transform is random.
        transform: Applied to each image.
        batch_size: Images in a batch, broken ones included.
        workers: Processes that read ahead.
        pin_memory: Keep batches in memory from which a GPU of CUDA can copy by itself.

    Yields:
        The sources of the batch, and the batch; ``rows`` are positions among these sources.
    """
    waiting: deque[list[Item]] = deque()

    def chunks() -> Iterator[list[tuple[int, Item]]]:
        stream = iter(sources)
        while chunk := list(islice(stream, batch_size)):
            waiting.append(chunk)
            yield list(enumerate(chunk))

    stream = _Stream(transform)
    for batch in _loader(stream, chunks(), workers=workers, pin_memory=pin_memory):
        yield waiting.popleft(), batch


class Keyed(NamedTuple):
    """A source of a stream, and the key of its transform's randomness."""

    source: ImageSource
    key: tuple[int | str, ...]


class _Stream(Dataset[Sample | Broken]):
    """Reads what it is handed: the item is the source itself, with its place in the batch."""

    def __init__(self, transform: Transform) -> None:
        self.transform, self.size = transform, transform.size

    def __getitem__(self, item: tuple[int, ImageSource | Keyed]) -> Sample | Broken:
        row, source = item
        try:
            file, key = source if isinstance(source, Keyed) else (source, ())
            photo = load_image(file, at_least=self.transform.decode_at_least)
            pixels = keyed(self.transform, photo, *key) if key else self.transform(photo)
            return Sample(pixels, row, 0)
        except BrokenImage as error:
            return Broken(row, error.reason)


class _Collate:
    """Stacks what came out well and lists the rest."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, items: list[Sample | Broken]) -> Batch:
        good = [item for item in items if isinstance(item, Sample)]
        empty = torch.empty((0, 3, *self.size), dtype=torch.uint8)
        return Batch(
            images=torch.stack([sample.image for sample in good]) if good else empty,
            rows=torch.tensor([sample.row for sample in good], dtype=torch.int64),
            part=torch.tensor([sample.part for sample in good], dtype=torch.int64),
            broken=[item for item in items if isinstance(item, Broken)],
        )


def _loader(
    dataset: ImageDataset | _Stream,
    batches: Iterable[Sequence[object]],
    *,
    workers: int,
    pin_memory: bool,
) -> DataLoader[Batch]:
    # The loader's types know only samples and lists; what it yields is what is collated.
    samples: Dataset[Any] = dataset
    plan: Iterable[Any] = batches
    return DataLoader(
        samples,
        batch_sampler=plan,
        num_workers=workers,
        pin_memory=pin_memory,
        collate_fn=_Collate(dataset.size),
        # Without its own generator the loader would draw from torch's global stream.
        generator=torch.Generator(),
    )
