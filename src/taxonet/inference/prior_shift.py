"""Class probabilities where classes are more or less common than they were in training."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from taxonet.errors import ConfigError, DataError

Weights = ArrayLike | Tensor
_FARTHEST_FROM_ONE = 1e-2  # a sum of half-precision probabilities is this far from 1 at most


class EstimatedPriors(NamedTuple):
    """How common the classes are among some images, as `estimate_priors` found it."""

    priors: Tensor
    """Share of each class, float64 ``(c,)``, summing to 1."""
    iterations: int
    converged: bool
    """Whether the last iteration changed the shares by no more than the tolerance."""


def with_priors(probs: Tensor, *, source: Weights, target: Weights) -> Tensor:
    """Return class probabilities under other priors than those that they were made with.

    ``q(k|x) = w_k p(k|x) / sum_j w_j p(j|x)`` with ``w = target / source``, as Bayes' theorem has
    it where only the priors differ. A row whose probabilities are all of classes with a target of
    0 says nothing about the others, and becomes the target itself.

    Args:
        probs: Floats ``(N, c)``, rows that sum to 1.
        source: Priors behind ``probs``, ``(c,)``, all positive; only their ratios count, so that
            numbers of training images will do.
        target: The other priors, ``(c,)``, not negative, at least one positive; likewise.

    Returns:
        Rows that sum to 1, ``(N, c)``; float32 for half precision.

    Raises:
        ConfigError: Priors of another number of classes, or outside their range.
        DataError: Probabilities of another form.

    Reference:
        Saerens, Latinne, Decaestecker 2002, Adjusting the Outputs of a Classifier to New a Priori
        Probabilities, Neural Computation 14(1).

    Examples:
        >>> with_priors(torch.tensor([[0.75, 0.25]]), source=[90, 10], target=[50, 50])
        tensor([[0.2500, 0.7500]])
    """
    values = _checked(probs)
    goal = _shares("target", target, values.shape[1], positive=False).to(probs.device)
    start = _shares("source", source, values.shape[1], positive=True).to(probs.device)
    weighted = values * (goal / start)
    total = weighted.sum(dim=1, keepdim=True)
    found = torch.where(total > 0, weighted / total.clamp_min(torch.finfo(total.dtype).tiny), goal)
    return found.to(torch.promote_types(probs.dtype, torch.float32))


def estimate_priors(
    probs: Tensor, source: Weights, *, tolerance: float = 1e-5, max_iterations: int = 1000
) -> EstimatedPriors:
    """Estimate how common the classes are among images without labels, by EM.

    From ``p_t = p_s`` on, ``p_t(k) <- (1/N) sum_i w_k p(k|x_i) / sum_j w_j p(j|x_i)`` with
    ``w = p_t / p_s``. Each iteration makes the images more likely under the mixture of classes,
    towards the one maximum. It is right where images of a class look as they did in training, no
    other classes are among them, and the probabilities are calibrated.

    Args:
        probs: Floats ``(N, c)``, rows that sum to 1.
        source: Priors behind ``probs``; see `with_priors`.
        tolerance: EM ends when the shares change by no more than this in total, above 0.
        max_iterations: EM ends after this many iterations, converged or not, at least 1.

    Raises:
        ConfigError: Options or priors outside their range.
        DataError: No images, or probabilities of another form.

    Reference:
        As `with_priors`.

    Examples:
        >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> estimate_priors(rows, [50, 50]).priors
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    if tolerance <= 0 or max_iterations < 1:
        raise ConfigError(
            "Expected a tolerance above 0 and at least one iteration, got "
            f"{tolerance} and {max_iterations}."
        )
    values = _checked(probs)
    if not len(values):
        raise DataError("The shares of classes are estimated from images, and there are none.")
    start = _shares("source", source, values.shape[1], positive=True).to(probs.device)
    priors = start
    for iteration in range(1, max_iterations + 1):
        weights = priors / start
        # Rows stay apart in the denominators only, so that two products do for all of them.
        updated = weights * (values.T @ (1 / (values @ weights))) / len(values)
        change = float((updated - priors).abs().sum())
        priors = updated
        if change <= tolerance:
            return EstimatedPriors(priors, iteration, converged=True)
    return EstimatedPriors(priors, max_iterations, converged=False)


def _checked(probs: Tensor) -> Tensor:
    """Return probabilities in float64; what their rows miss to 1 cancels in both formulas."""
    if probs.ndim != 2 or not probs.is_floating_point() or probs.shape[1] == 0:
        raise DataError(
            f"Expected class probabilities (N, c), got {probs.dtype} of {tuple(probs.shape)}."
        )
    values = probs.double()
    sums = values.sum(dim=1)
    # NaN is not close to 1 either.
    wrong = ~((sums - 1).abs() <= _FARTHEST_FROM_ONE) | (values < 0).any(dim=1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"Expected rows of probabilities that sum to 1, but {int(wrong.sum())} do not (first: "
            f"row {row}, sum {float(sums[row]):g}). Give probabilities, not scores."
        )
    return values


def _shares(name: str, given: Weights, classes: int, *, positive: bool) -> Tensor:
    values = given.detach() if isinstance(given, Tensor) else torch.from_numpy(np.array(given))
    values = values.double()
    if values.shape != (classes,):
        raise ConfigError(
            f"{name} takes a number for each of the {classes} classes, got {tuple(values.shape)}."
        )
    low = values <= 0 if positive else values < 0
    if bool(low.any()) or not bool(values.isfinite().all()) or float(values.sum()) <= 0:
        sort = "positive" if positive else "not negative, and not all 0"
        raise ConfigError(f"The priors of {name} must be finite and {sort}, got {values.tolist()}.")
    return values / values.sum()
