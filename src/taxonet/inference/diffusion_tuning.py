"""The alpha of diffusion that does best on validation images."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from taxonet.errors import ConfigError, DataError
from taxonet.inference.diffusion import diffuse
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import tree_index

#: From diffused scores (B, n) and true nodes (B,) to a figure that is better when higher.
Metric = Callable[[Tensor, Tensor], float]

ALPHAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class TunedAlpha(NamedTuple):
    """The alpha that did best, and what the metric said of each.

    Attributes:
        alpha: The best one; of equal ones the first.
        values: The metric of each alpha that was tried.
    """

    alpha: float
    values: dict[float, float]


def tune_alpha(
    scores: Tensor,
    taxonomy: Taxonomy,
    truth: Tensor,
    *,
    alphas: Sequence[float] = ALPHAS,
    metric: Metric | None = None,
) -> TunedAlpha:
    """Choose the alpha of diffusion on validation images.

    Args:
        scores: Initial scores (N, n) of validation images, as `diffuse` takes them.
        taxonomy: The tree, of n nodes.
        truth: The true node of each image (N,), integers.
        alphas: What to try, each in [0, 1).
        metric: What to maximise. By default the macro recall of the best leaf: the share of
            images whose best leaf is the true one, averaged over the leaves that have images.

    Raises:
        ConfigError: Nothing to try, or an alpha out of range.
        DataError: Not one true node an image, or, for the default metric, one that is no leaf.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("c", "e")])
        >>> scores = torch.tensor([[0.0, 0.9, 0.1, 0.45, 0.55]])  # the level above says b
        >>> tune_alpha(scores, tree, torch.tensor([3]), alphas=[0.0, 0.3])
        TunedAlpha(alpha=0.3, values={0.0: 0.0, 0.3: 1.0})
    """
    if not alphas:
        raise ConfigError("Expected at least one alpha to try.")
    if truth.shape != (len(scores),) or truth.is_floating_point() or len(truth) == 0:
        raise DataError(
            f"Expected one true node for each of {len(scores)} images, got {truth.dtype} of "
            f"shape {tuple(truth.shape)}."
        )
    judge = metric or _leaf_recall(taxonomy, truth)
    values = {
        alpha: float(judge(diffuse(scores, taxonomy, alpha=alpha), truth)) for alpha in alphas
    }
    return TunedAlpha(max(values, key=values.__getitem__), values)


def _leaf_recall(taxonomy: Taxonomy, truth: Tensor) -> Metric:
    leaves = tree_index(taxonomy, truth.device).leaves
    if bool((~torch.isin(truth, leaves)).any()):
        raise DataError(
            "Some true nodes are no leaves: give a metric that can judge them, or leave them out."
        )

    def recall(diffused: Tensor, truth: Tensor) -> float:
        hit = leaves[diffused[:, leaves].argmax(dim=1)] == truth
        images = torch.bincount(truth)
        hits = torch.bincount(truth[hit], minlength=len(images))
        seen = images > 0
        return float((hits[seen] / images[seen]).mean())

    return recall
