"""Where each stored embedding is: sorted digests in place of a dict, 40 bytes for each entry."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from taxonet.data.features.keys import Digests

_Segment = tuple[Digests, NDArray[np.int64]]


@dataclass
class KeyIndex:
    """A map from digests to places, integers of at least 0, of which a later one supersedes.

    It is a list of sorted segments. A segment is merged into the one before it as soon as it is at
    least half as long, so that there are few, and that n additions take O(n log n) steps.

    Examples:
        >>> index = KeyIndex()
        >>> index.add(np.array([b"b", b"a"]), np.array([5, 6]))
        >>> index.add(np.array([b"a"]), np.array([7]))
        >>> index.find(np.array([b"a", b"b", b"c"])).tolist(), len(index)
        ([7, 5, -1], 2)
    """

    _segments: list[_Segment] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._merged()[0]) if self._segments else 0

    def add(self, digests: Digests, places: NDArray[np.int64]) -> None:
        """Take in the places ``(n,)`` of digests ``(n,)``; of equal digests the last one counts."""
        self._segments.append(_sorted(digests, places))
        while len(self._segments) > 1 and self._last_is_long():
            self._merge_last_two()

    def find(self, digests: Digests) -> NDArray[np.int64]:
        """Return the place of each digest, ``(n,)``; -1 where there is none."""
        found = np.full(len(digests), -1, dtype=np.int64)
        for known, places in reversed(self._segments):
            open_ = np.flatnonzero(found < 0)
            if not len(open_) or not len(known):
                continue
            wanted = digests[open_]
            at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            hits = known[at] == wanted
            found[open_[hits]] = places[at[hits]]
        return found

    def forget(self, low: int, high: int) -> None:
        """Forget the digests whose place is in ``low <= place < high``."""
        if self._segments:
            digests, places = self._merged()
            kept = (places < low) | (places >= high)
            self._segments = [(digests[kept], places[kept])]

    def _merged(self) -> _Segment:
        while len(self._segments) > 1:
            self._merge_last_two()
        return self._segments[0]

    def _last_is_long(self) -> bool:
        (before, _), (last, _) = self._segments[-2:]
        return 2 * len(last) >= len(before)

    def _merge_last_two(self) -> None:
        before, last = self._segments[-2:]
        digests = np.concatenate([before[0], last[0]])
        self._segments[-2:] = [_sorted(digests, np.concatenate([before[1], last[1]]))]


def _sorted(digests: Digests, places: NDArray[np.int64]) -> _Segment:
    order = np.argsort(digests, kind="stable")
    digests = digests[order]
    last = np.ones(len(digests), dtype=bool)
    last[:-1] = digests[1:] != digests[:-1]
    return digests[last], places[order][last]
