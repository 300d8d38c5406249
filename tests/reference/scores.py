"""Batches of scores for the tests of losses: random, at the ends, in another order."""

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Scores ``(B, c)`` and the target ``(B,)`` of each row."""

    scores: Tensor
    target: Tensor


def random_batch(rows: int, classes: int, seed: int = 0, *, spread: float = 1.0) -> Batch:
    """Float64 scores drawn evenly from -spread to spread; targets go round the classes."""
    draw = torch.rand(
        rows, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return Batch(spread * (2 * draw - 1), torch.arange(rows) % classes)


def permute_classes(batch: Batch, order: Tensor) -> Batch:
    """Column j of the new scores is column ``order[j]`` of the old ones; targets follow."""
    place = torch.argsort(order)  # the new index of each old class
    return Batch(batch.scores[:, order], place[batch.target])


def extreme_batch(end: float, dtype: torch.dtype, *, classes: int = 4) -> Batch:
    """Each class as the target of four rows, all at +-end: won, lost, drawn high, drawn low."""
    target = torch.arange(classes).repeat_interleave(4)
    scores = torch.full((4 * classes, classes), -end)
    for row, y in enumerate(target.tolist()):
        won, lost = row % 4 in (0, 2), row % 4 in (1, 2)
        scores[row] = end if lost else -end
        scores[row, y] = end if won else -end
    return Batch(scores.to(dtype), target)
