"""Batches of stored embeddings: what training draws from in the place of photos."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from taxonet.data.features.keys import PLAIN
from taxonet.data.loading import Batch, Broken
from taxonet.data.sampling import Draw
from taxonet.errors import DataError
from taxonet.seeds import seed_of

_TAIL = "tail"

Embeddings = NDArray[np.float32]


class StoredBatches:
    """A `BatchSource` of embeddings in memory; one embedding or several views for each photo.

    A draw of the view ``plain`` sees ``views[0]``. A draw of ``tail`` sees one of ``tail_views``
    where there are any. Every other draw sees one of ``views``. Which one is a function of the
    seed, the photo's name, the draw's epoch and its number: each of them is equally likely. So a
    photo is seen alike in any batch, and a resumed run draws what an uninterrupted one does.

    Args:
        names: Path or id of each photo, N of them.
        views: Arrays ``(N, d)``: the plain view, then augmented ones.
        tail_views: Arrays ``(N, d)``; only the rows of photos that tail draws show are read.
        broken: Rows of photos without embedding, with the reason; what the arrays hold there is
            never read.
        seed: Key of the choice among views.

    Raises:
        DataError: There is no view, or an array is not ``(N, d)`` float32.

    Examples:
        >>> plain = np.array([[1, 2], [3, 4], [0, 0]], dtype=np.float32)
        >>> source = StoredBatches(["a.jpg", "b.jpg", "c.jpg"], [plain], broken={2: "empty file"})
        >>> draws = [Draw(1, 0, "train"), Draw(2, 0, "train"), Draw(0, 0, "train")]
        >>> (batch,) = source.batches([draws])
        >>> batch.images.tolist(), batch.rows.tolist(), batch.broken
        ([[3.0, 4.0], [1.0, 2.0]], [1, 0], [Broken(row=2, reason='empty file')])
    """

    def __init__(
        self,
        names: Sequence[str],
        views: Sequence[Embeddings],
        *,
        tail_views: Sequence[Embeddings] = (),
        broken: Mapping[int, str] | None = None,
        seed: int = 0,
    ) -> None:
        self._names, self._views, self._tail_views = list(names), list(views), list(tail_views)
        self._reasons = dict(broken or {})
        self._require_arrays()
        self._is_broken = np.zeros(len(self._names), dtype=bool)
        self._is_broken[list(self._reasons)] = True
        self._keys = np.zeros(len(self._names), dtype=np.uint64)
        if max(len(self._views), len(self._tail_views)) > 1:
            keys = (seed_of("stored view", seed, name) for name in self._names)
            self._keys = np.fromiter(keys, dtype=np.uint64, count=len(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def name(self, row: int) -> str:
        """Return the path or id of the photo in a row."""
        return self._names[row]

    def batches(self, plan: Iterable[Sequence[Draw]], *, workers: int = 0) -> Iterator[Batch]:
        """Yield one `Batch` for each list of draws, in order; ``images`` is ``(B, d)`` float32.

        Args:
            plan: Lists of draws, such as ``BatchPlan.batches(epoch)``; it may be a stream.
            workers: Has no effect: nothing is left to be done ahead.
        """
        return map(self._batch, plan)

    def _batch(self, draws: Sequence[Draw]) -> Batch:
        figures = np.array(
            [(draw.row, draw.part, draw.epoch, draw.number) for draw in draws], dtype=np.int64
        ).reshape(len(draws), 4)
        rows, part, epochs, numbers = figures.T
        bad = self._is_broken[rows]
        good = ~bad
        choices = self._choices([draw.view for draw in draws], rows, epochs, numbers)
        return Batch(
            images=torch.from_numpy(self._gather(choices[good], rows[good])),
            rows=torch.from_numpy(rows[good]),
            part=torch.from_numpy(part[good]),
            broken=[Broken(row, self._reasons[row]) for row in rows[bad].tolist()],
        )

    def _choices(
        self,
        views: list[str],
        rows: NDArray[np.int64],
        epochs: NDArray[np.int64],
        numbers: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Return which array each draw sees, ``(B,)``: positions among all of them."""
        plain, tail = len(self._views), len(self._tail_views)
        if plain + tail == 1:
            return np.zeros(len(rows), dtype=np.int64)
        hashes = _mix(self._keys[rows] ^ epochs.astype(np.uint64))
        hashes = _mix(hashes ^ numbers.astype(np.uint64))
        is_plain = np.array([view == PLAIN for view in views], dtype=bool)
        choices = (hashes % np.uint64(plain)).astype(np.int64)
        if tail:
            is_tail = np.array([view == _TAIL for view in views], dtype=bool)
            tails = plain + (hashes % np.uint64(tail)).astype(np.int64)
            choices = np.where(is_tail, tails, choices)
        choices[is_plain] = 0
        return choices

    def _gather(self, choices: NDArray[np.int64], rows: NDArray[np.int64]) -> Embeddings:
        arrays = [*self._views, *self._tail_views]
        found = np.empty((len(rows), arrays[0].shape[1]), dtype=np.float32)
        for choice in np.unique(choices).tolist():
            here = choices == choice
            found[here] = arrays[choice][rows[here]]
        return found

    def _require_arrays(self) -> None:
        if not self._views:
            raise DataError("Batches of stored embeddings need at least the plain view, got none.")
        expected = (len(self._names), self._views[0].shape[-1])
        for array in (*self._views, *self._tail_views):
            if array.shape != expected or array.dtype != np.float32:
                raise DataError(
                    f"Each view of {len(self._names)} photos must be float32 of shape {expected}, "
                    f"got {array.dtype} of shape {array.shape}."
                )


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter 64-bit integers, ``(n,)``, so that neighbours have nothing in common.

    Reference:
        Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014): the
        finaliser of SplitMix64.
    """
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
