"""The elimination on the tree, compiled by Numba for the CPU; needs the extra ``fast``.

Eight images are worked on at once. Their scores are turned so that those of one node lie side by
side, which makes a step of the elimination one vector instruction. Nodes are breadth-first, so
the last inner node ends what has to be kept: the leaves behind it, most of a tree, are read on the
way up and again on the way down, and the rest stays in the cache.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from taxonet.inference.lanes import LANES, mix_rows, turn_block

Floats = NDArray[np.floating[Any]]

# Starting a thread costs as much as this many numbers.
_NUMBERS_A_THREAD = 2**18

_compile = njit(nogil=True, boundscheck=False, error_model="numpy")


def eliminate_rows(
    scores: Floats, parent: NDArray[np.int32], pull: Floats, gain: Floats, *, threads: int
) -> Floats:
    """Solve for every row, as :func:`taxonet.inference.elimination.eliminate` says.

    Args:
        scores: Right-hand sides (B, n), float32 or float64, contiguous.
        parent: The parent of each node (n,), -1 for the root.
        pull: What a node and its parent take from each other (n,), of the scores' type; 0 for
            the root.
        gain: What a node keeps (n,), of the scores' type.
        threads: The largest number of threads to work in.

    Returns:
        The solutions (B, n).
    """
    if len(parent) < LANES:
        return _eliminate_small(scores, parent, pull, gain)
    held = _held_nodes(parent)
    # Whole blocks of rows go straight through; what is left over is filled up with zeros.
    whole = len(scores) - len(scores) % LANES
    solved = np.empty_like(scores)
    _in_threads(scores[:whole], solved[:whole], (parent, pull, gain, held), threads)
    if rest := len(scores) - whole:
        padded = np.zeros((LANES, scores.shape[1]), scores.dtype)
        padded[:rest] = scores[whole:]
        _eliminate(padded, padded, parent, pull, gain, held)
        solved[whole:] = padded[:rest]
    return solved


def _eliminate_small(
    scores: Floats, parent: NDArray[np.int32], pull: Floats, gain: Floats
) -> Floats:
    """Hang nodes without weight below the root, until a block is full."""

    def filled(values: NDArray[Any]) -> NDArray[Any]:
        more = LANES - len(parent)
        return np.concatenate((values, np.zeros((*values.shape[:-1], more), values.dtype)), axis=-1)

    solved = eliminate_rows(filled(scores), filled(parent), filled(pull), filled(gain), threads=1)
    return np.ascontiguousarray(solved[:, : len(parent)])


def _held_nodes(parent: NDArray[np.int32]) -> int:
    """Return how many nodes to keep: all inner ones, so that whole blocks of leaves follow."""
    size = len(parent)
    fewest = max(int(parent[-1]) + 1, LANES)
    return fewest + (size - fewest) % LANES


def _in_threads(scores: Floats, solved: Floats, tree: tuple[Any, ...], threads: int) -> None:
    blocks = len(scores) // LANES
    workers = max(1, min(threads, blocks, scores.size // _NUMBERS_A_THREAD))
    if workers == 1:
        _eliminate(scores, solved, *tree)
        return
    rows = -(-blocks // workers) * LANES
    starts = range(0, len(scores), rows)
    # Threads of Python, since the compiled code lets others run: those of Numba's own parallel
    # loops allow neither a fork nor two callers at once.
    with ThreadPoolExecutor(workers) as pool:
        parts = [
            pool.submit(_eliminate, scores[at : at + rows], solved[at : at + rows], *tree)
            for at in starts
        ]
    for part in parts:
        part.result()


@_compile
def _eliminate(scores: Any, solved: Any, parent: Any, pull: Any, gain: Any, held: int) -> None:
    kept = np.empty((held, LANES), scores.dtype)
    leaves = np.empty((LANES, LANES), scores.dtype)
    for row in range(0, len(scores), LANES):
        _take_in(scores, row, kept)
        _climb(scores, row, kept, leaves, parent, pull)
        _descend(scores, solved, row, kept, leaves, parent, pull, gain)
        _give_out(kept, solved, row)


@_compile
def _take_in(scores: Any, row: int, kept: Any) -> None:
    for node in range(0, len(kept) - LANES, LANES):
        turn_block(scores, row, node, kept, node, 0)
    # The last block may overlap the one before it.
    turn_block(scores, row, len(kept) - LANES, kept, len(kept) - LANES, 0)


@_compile
def _climb(scores: Any, row: int, kept: Any, leaves: Any, parent: Any, pull: Any) -> None:
    one = pull.dtype.type(1)
    for first in range(len(kept), len(parent), LANES):
        turn_block(scores, row, first, leaves, 0, 0)
        for i in range(LANES):
            mix_rows(kept, parent[first + i], one, leaves, i, pull[first + i])
    for node in range(len(kept) - 1, 0, -1):
        mix_rows(kept, parent[node], one, kept, node, pull[node])


@_compile
def _descend(
    scores: Any,
    solved: Any,
    row: int,
    kept: Any,
    leaves: Any,
    parent: Any,
    pull: Any,
    gain: Any,
) -> None:
    mix_rows(kept, 0, gain[0], kept, 0, pull[0])  # the root is pulled by nothing
    for node in range(1, len(kept)):
        mix_rows(kept, node, gain[node], kept, parent[node], pull[node])
    for first in range(len(kept), len(parent), LANES):
        turn_block(scores, row, first, leaves, 0, 0)
        for i in range(LANES):
            mix_rows(leaves, i, gain[first + i], kept, parent[first + i], pull[first + i])
        turn_block(leaves, 0, 0, solved, row, first)


@_compile
def _give_out(kept: Any, solved: Any, row: int) -> None:
    for node in range(0, len(kept) - LANES, LANES):
        turn_block(kept, node, 0, solved, row, node)
    turn_block(kept, len(kept) - LANES, 0, solved, row, len(kept) - LANES)
