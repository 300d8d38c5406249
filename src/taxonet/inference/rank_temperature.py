"""A temperature for each rank, where one for all ranks leaves some of them dishonest."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from taxonet.errors import ConfigError, DataError, TaxonomyError
from taxonet.inference.calibration import ROWS_AT_ONCE, Scores, best_temperature
from taxonet.inference.decision.truth import checked_truth
from taxonet.taxonomy import Taxonomy

IntArray = NDArray[np.int64]

_ROOT_TOLERANCE = 1e-3  # beyond rounding in any precision: other scores than node probabilities
#: What a true taxon has at least: a float32 softmax says 0 of what is e^-104 of its sum.
_LEAST_PROB = float(torch.finfo(torch.float32).tiny)


def fit_rank_temperatures(
    node_probs: Scores, target_nodes: ArrayLike, taxonomy: Taxonomy
) -> dict[str, float]:
    r"""Return for each rank the temperature T that makes its probabilities most likely.

    .. math:: q_v = \frac{p_v^{1/T}}{\sum_{u \text{ at the rank}} p_u^{1/T}}, \quad
        T = \arg\min -\frac{1}{N} \sum_i \log q_{y_i}

    with y the taxon of an image at the rank; an image that has none there is left out. One
    temperature of the classes, as `fit_temperature` gives, may leave genera too sure and species
    too doubtful, since sums of probabilities say something else than their parts. T is in
    [0.05, 20] and exactly 1 where nothing is better. A true taxon of probability 0 counts as one
    of 1.2e-38, so that single underflows cannot make every likelihood 0.

    The probabilities of the taxa are read anew for each T that is tried, 1024 images at a time:
    memory is that of so many images at one rank in float64, however many there are.

    Args:
        node_probs: Probabilities ``(N, n)`` of the nodes of calibration images, which were not
            trained on; a tensor or an array (also memory-mapped).
        target_nodes: Integers ``(N,)``, the true nodes, at any depth. They should be known taxa.
        taxonomy: The tree, n nodes, with ranks.

    Returns:
        T by rank, coarse to fine; ranks at which no image has a taxon are left out.

    Raises:
        TaxonomyError: The tree has no ranks.
        DataError: No node probabilities of this taxonomy, not one true node an image, or no image
            that has a taxon at any rank.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599, section 4.2, for
        the classes.

    Examples:
        >>> import pandas as pd
        >>> tree = Taxonomy.from_table(pd.DataFrame({"species": ["Acer rubrum", "Tilia cordata"]}))
        >>> probs = torch.tensor([[1.0, 0.9, 0.1]] * 4)
        >>> found = fit_rank_temperatures(probs, [1, 1, 1, 2], tree)
        >>> round(found["species"], 4)  # 3 of 4 right: log 9 / T = log 3
        2.0
        >>> at_rank(probs[:1], tree, rank="species", temperature=2.0)
        tensor([[0.7500, 0.2500]])
    """
    _check_shape(node_probs, taxonomy)
    truth = checked_truth(target_nodes, len(node_probs), taxonomy)
    if not taxonomy.ranks:
        raise TaxonomyError(f"Expected a taxonomy with ranks, got {taxonomy!r}.")
    found = {}
    for rank in taxonomy.ranks:
        images = _RankImages(node_probs, truth, taxonomy, rank)
        if len(images):
            found[rank] = best_temperature(images.blocks)
    if not found:
        raise DataError("Expected at least one calibration image that has a taxon at a rank.")
    return found


def at_rank(node_probs: Tensor, taxonomy: Taxonomy, *, rank: str, temperature: float) -> Tensor:
    r"""Return the probabilities of the taxa of a rank at a temperature of its own.

    .. math:: q_v = M \frac{p_v^{1/T}}{\sum_u p_u^{1/T}}, \quad M = \sum_u p_u

    over the taxa u of the rank. M is 1 where every leaf has the rank; what belongs to leaves
    without it stays theirs. T = 1 changes nothing, and no T changes which taxon is the most
    probable or makes an impossible one possible.

    At another rank another T holds, so that a genus is no longer the sum of its species, and may
    be less probable than one of them. These are probabilities to show, one rank at a time; what
    names a node (`deepest_reaching`, the decision policies) needs those that add up.

    Args:
        node_probs: Probabilities ``(B, n)`` of the nodes.
        taxonomy: The tree, n nodes.
        rank: One of its ranks.
        temperature: T > 0, as `fit_rank_temperatures` finds it.

    Returns:
        ``(B, m)``, a column for each node of ``taxonomy.at_rank(rank)``; float32, float64 for
        float64 input.

    Raises:
        ConfigError: A temperature that is not positive.
        DataError: No node probabilities of this taxonomy.
        TaxonomyError: No such rank.
    """
    if not 0 < temperature < float("inf"):
        raise ConfigError(f"Expected a temperature above 0, got {temperature}.")
    _check_shape(node_probs, taxonomy)
    nodes = torch.from_numpy(taxonomy.at_rank(rank)).to(node_probs.device)
    # Float64, since a power of a small float32 underflows.
    probs = _checked(node_probs.detach().double())[:, nodes]
    mass = probs.sum(dim=1, keepdim=True)
    # An image of which all is elsewhere has no share to divide.
    shares = torch.where(mass > 0, (probs.log() / temperature).softmax(dim=1), 0.0)
    return (mass * shares).to(torch.float64 if node_probs.dtype == torch.float64 else torch.float32)


class _RankImages:
    """The images that have a taxon at a rank, read a few at a time."""

    def __init__(self, node_probs: Scores, truth: IntArray, taxonomy: Taxonomy, rank: str) -> None:
        self._node_probs = node_probs
        self._nodes = taxonomy.at_rank(rank)
        taxon = taxonomy.ancestor_at_rank(truth, rank)
        self._rows = np.flatnonzero(taxon >= 0)
        self._place = np.searchsorted(self._nodes, taxon[self._rows])

    def __len__(self) -> int:
        return len(self._rows)

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield log probabilities ``(b, m)`` of the taxa, and the place of the true one."""
        for start in range(0, len(self._rows), ROWS_AT_ONCE):
            rows = self._rows[start : start + ROWS_AT_ONCE]
            place = torch.from_numpy(self._place[start : start + ROWS_AT_ONCE])
            values = self._node_probs[rows]
            whole = values if isinstance(values, Tensor) else torch.from_numpy(values)
            probs = _checked(whole.detach().cpu())[:, self._nodes].double()
            of_truth = probs.gather(1, place[:, None]).clamp(min=_LEAST_PROB)
            yield probs.scatter(1, place[:, None], of_truth).log(), place


def _check_shape(node_probs: Scores, taxonomy: Taxonomy) -> None:
    if node_probs.ndim != 2 or node_probs.shape[1] != len(taxonomy):
        raise DataError(
            f"Expected node probabilities (N, {len(taxonomy)}), one column a node, got shape "
            f"{tuple(node_probs.shape)}."
        )


def _checked(probs: Tensor) -> Tensor:
    """Return node probabilities, none below 0, if they are some."""
    if len(probs) and not (
        float(probs.min()) >= -_ROOT_TOLERANCE  # NaN is not
        and float((probs[:, 0].double() - 1).abs().max()) <= _ROOT_TOLERANCE
    ):
        raise DataError(
            "Expected node probabilities, not negative and with P(root) = 1 in column 0: turn "
            "scores into probabilities and sum them up the tree first."
        )
    return probs.clamp(min=0)
