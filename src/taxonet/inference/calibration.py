"""One temperature that makes the stated probabilities of a classifier honest."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from taxonet.errors import DataError

SMALLEST_TEMPERATURE = 0.05
LARGEST_TEMPERATURE = 20.0
ROWS_AT_ONCE = 1024  # float64 copies are made of this many rows at a time

Scores = Tensor | NDArray[np.floating[Any]]
#: Logits ``(b, c)`` in float64 and true classes ``(b,)``, a few images at a time.
LogitBlocks = Iterable[tuple[Tensor, Tensor]]


def fit_temperature(scaled_scores: Scores | Sequence[Scores], target: ArrayLike) -> float:
    """Return the temperature T that minimises the mean negative log-likelihood.

    ``NLL(T) = -(1/N) sum_i log softmax(z_i / T)_{y_i}``, which has one minimum in ``log T``;
    it is searched there within T in [0.05, 20], in float64. Where no T is better than 1, the
    answer is exactly 1. T > 1 softens overconfident probabilities; the order of the classes
    never changes. The value does not depend on chance, nor on how the scores are cut into parts
    but for float64 rounding.

    Args:
        scaled_scores: Floats ``(N, c)``: ``scale * scores`` of calibration images, a tensor,
            an array (also memory-mapped), or a sequence of such parts ``(n_i, c)``.
        target: Integers ``(N,)``, the true class of each image, 0 to c - 1.

    Raises:
        DataError: No images, lengths that differ, a class out of range, or scores whose
            likelihood is not finite.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599, section 4.2.

    Examples:
        >>> scores = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
        >>> round(fit_temperature(scores, [0, 0, 0, 1]), 4)  # 3 of 4 right: 4 / T = log 3
        3.641
    """
    parts = [scaled_scores] if isinstance(scaled_scores, Tensor | np.ndarray) else scaled_scores
    targets = _checked_targets(parts, target)
    return best_temperature(lambda: _blocks(parts, targets))


def best_temperature(blocks: Callable[[], LogitBlocks]) -> float:
    """Return the temperature of the least mean negative log-likelihood; see `fit_temperature`.

    Args:
        blocks: Called once for each temperature that is tried; gives the logits and classes of
            all calibration images, a few at a time.

    Raises:
        DataError: Logits whose likelihood is not finite.
    """

    def nll(log_temperature: float) -> float:
        return _mean_nll(blocks(), temperature=float(np.exp(log_temperature)))

    nll_at_one = nll(0.0)
    if not np.isfinite(nll_at_one):
        raise DataError(
            f"The calibration scores give a mean negative log-likelihood of {nll_at_one}: look "
            "for NaN or infinite scores."
        )
    found = minimize_scalar(
        nll,
        bounds=(np.log(SMALLEST_TEMPERATURE), np.log(LARGEST_TEMPERATURE)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x)) if found.fun < nll_at_one else 1.0


def _checked_targets(parts: Sequence[Scores], target: ArrayLike) -> Tensor:
    targets = torch.as_tensor(np.asarray(target))
    images = sum(len(part) for part in parts)
    if images == 0 or any(part.ndim != 2 for part in parts):
        raise DataError("Expected scores (N, c) of at least one calibration image.")
    if targets.ndim != 1 or targets.is_floating_point() or len(targets) != images:
        raise DataError(
            f"Expected the true class of each of {images} images as integers, got "
            f"{targets.dtype} of shape {tuple(targets.shape)}."
        )
    classes = parts[0].shape[1]
    if int(targets.min()) < 0 or int(targets.max()) >= classes:
        raise DataError(
            f"Expected classes from 0 to {classes - 1}, got {int(targets.min())} to "
            f"{int(targets.max())}."
        )
    return targets.long()


def _mean_nll(blocks: LogitBlocks, *, temperature: float) -> float:
    total, images = 0.0, 0
    for block, y in blocks:
        logits = block / temperature
        total += float((logits.logsumexp(dim=1) - logits.gather(1, y[:, None])[:, 0]).sum())
        images += len(y)
    return total / images


def _blocks(parts: Sequence[Scores], targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    done = 0
    for part in parts:
        for start in range(0, len(part), ROWS_AT_ONCE):
            rows = part[start : start + ROWS_AT_ONCE]
            # Copying the rows makes read-only arrays safe to wrap.
            values = rows if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))
            logits = values.detach().to(device="cpu", dtype=torch.float64)
            yield logits, targets[done : done + len(logits)]
            done += len(logits)
