"""Names as text: their clean form, their folded form for comparison, and near misses."""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

LEAST_SIMILARITY = 0.75
"""Names are near misses when at most a quarter of their characters have to change."""

_CELLS_AT_ONCE = 8_000_000  # similarities held in memory at a time: 32 MB of float32

# Marks without width that web pages leave in copied names: zero-width space, word joiner, BOM.
_INVISIBLE = dict.fromkeys((0x200B, 0x2060, 0xFEFF))


def clean_name(name: str) -> str:
    r"""Return a name in Unicode form NFC with single plain spaces and none at its ends.

    Case, punctuation and hybrid signs stay as they are: cleaning never makes one taxon another.

    Examples:
        >>> clean_name("  Acer\u00a0 saccharum\n")
        'Acer saccharum'
        >>> clean_name("Isoe\u0308tes") == "Iso\u00ebtes"
        True
    """
    if not name.isascii():
        name = unicodedata.normalize("NFC", name.translate(_INVISIBLE))
    return " ".join(name.split())


def fold_name(name: str) -> str:
    """Return the form in which two spellings of one name agree: for comparison, not display.

    Case is ignored, underscores are spaces, and the hybrid sign is the word ``x``.

    Examples:
        >>> fold_name("Acer_Capillipes")
        'acer capillipes'
        >>> fold_name("Quercus ×Hispanica") == fold_name("Quercus_x_hispanica")
        True
    """
    return clean_name(name.replace("_", " ").replace("×", " x ")).casefold()


def near_misses(
    names: Iterable[str], known: Iterable[str], *, limit: int = 3
) -> dict[str, tuple[str, ...]]:
    """Find for each name the known names that differ from it by a few characters.

    Similarity is ``1 - edits / length of the longer``, where an edit inserts, deletes, replaces
    or swaps neighbouring characters; names are compared as :func:`fold_name` gives them.

    Args:
        names: The names to look up.
        known: The names to suggest from.
        limit: How many suggestions to give at most.

    Returns:
        For each name, its suggestions, most similar first, ties by code point. A name without
        any has an empty tuple.

    Examples:
        >>> near_misses(["Phildelphus", "Zzz"], ["Acer", "Philadelphus"])
        {'Phildelphus': ('Philadelphus',), 'Zzz': ()}
    """
    found: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    if not found:
        return found
    choices = sorted(set(known))
    folded = [fold_name(name) for name in choices]
    by_length = np.argsort([len(name) for name in folded], kind="stable").tolist()
    choices, folded = [choices[i] for i in by_length], [folded[i] for i in by_length]
    for length, queries in _by_length(found).items():
        # Names whose lengths differ by more than a quarter cannot be similar enough.
        low = bisect_left(folded, LEAST_SIMILARITY * length, key=len)
        high = bisect_right(folded, length / LEAST_SIMILARITY, key=len)
        step = max(1, _CELLS_AT_ONCE // max(1, high - low))
        for start in range(0, len(queries), step):
            some = queries[start : start + step]
            similar = _similarities([fold_name(query) for query in some], folded[low:high])
            for query, row in zip(some, similar, strict=True):
                hits = np.flatnonzero(row)
                best = sorted(hits.tolist(), key=lambda i: (-row[i], choices[low + i]))[:limit]
                found[query] = tuple(choices[low + i] for i in best)
    return found


def _by_length(names: Iterable[str]) -> dict[int, list[str]]:
    groups: dict[int, list[str]] = {}
    for name in names:
        groups.setdefault(len(fold_name(name)), []).append(name)
    return groups


def _similarities(queries: Sequence[str], known: Sequence[str]) -> NDArray[np.float32]:
    """Compare all pairs (queries, known); 0 where they are too different to be near misses."""
    return cdist(
        queries,
        known,
        scorer=OSA.normalized_similarity,
        score_cutoff=LEAST_SIMILARITY,
        dtype=np.float32,
    )
