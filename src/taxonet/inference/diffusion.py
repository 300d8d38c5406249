r"""Diffusion of scores along the edges of the tree, so that neighbours agree.

A neighbour is a parent or a child. With W the adjacency of the tree and
:math:`\bar W = D^{-1/2} W D^{-1/2}`, every node again and again gives a part :math:`\alpha` of its
score to its neighbours and takes the rest from its initial score. The limit is one linear map,
which needs no matrix: see :mod:`taxonet.inference.elimination`.

P2 is Hierarchical classification via diffusion on manifolds, section 3.2, eq. 1 to 4.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from taxonet.errors import ConfigError, DataError
from taxonet.inference.elimination import edge_weights, eliminate, elimination
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import check_node_values, tree_index

_HALF = (torch.float16, torch.bfloat16)


def diffuse(
    scores: Tensor,
    taxonomy: Taxonomy,
    *,
    alpha: float | Tensor = 0.3,
    steps: int | None = None,
) -> Tensor:
    r"""Diffuse scores over the tree, to the limit or for a number of steps.

    .. math::

       f^{t+1} = \alpha \bar W f^t + (1 - \alpha) f^0, \qquad
       f^* = (1 - \alpha) (I - \alpha \bar W)^{-1} f^0

    The limit is exact and takes O(n) for each image. The map is symmetric, so its gradient is the
    same diffusion of the gradient. Half precision is computed in float32.

    Args:
        scores: Initial scores :math:`f^0` (B, n) in node order, finite, on any device; see
            :func:`taxonet.inference.initial_scores`. They may require a gradient.
        taxonomy: The tree, of n nodes.
        alpha: The part that comes from the neighbours, in [0, 1); a number, or a tensor of no
            dimension, which may require a gradient. P2 takes 0.3.
        steps: How often to iterate, from 0; None for the limit. P2 takes 12.

    Returns:
        The diffused scores (B, n), of the scores' type and device. Differentiable any number of
        times in scores and alpha.

    Raises:
        TaxonomyError: ``scores`` is not (B, n).
        DataError: The scores are no floating-point numbers.
        ConfigError: alpha or steps are out of range.

    Reference:
        P2, eq. 2 and 4.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c")])
        >>> scores = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
        >>> diffuse(scores, tree, alpha=0.5, steps=1)  # half of b's goes to a, over sqrt(1 * 2)
        tensor([[0.3536, 0.5000, 0.0000]], dtype=torch.float64)
        >>> diffuse(scores, tree, alpha=0.5)
        tensor([[0.2357, 0.5833, 0.0833]], dtype=torch.float64)
    """
    check_node_values(taxonomy, scores)
    if not scores.is_floating_point():
        raise DataError(f"Expected scores in floating point, but got {scores.dtype}.")
    _check_alpha(alpha)
    if scores.dtype in _HALF:
        half = diffuse(scores.float(), taxonomy, alpha=alpha, steps=steps)
        return half.to(scores.dtype)
    if steps is not None:
        return _iterate(scores, taxonomy, alpha=alpha, steps=steps)
    if not isinstance(alpha, Tensor):
        alpha = torch.tensor(alpha, dtype=torch.float64)
    return _limit(scores, alpha, taxonomy)


class _Limit(torch.autograd.Function):
    """The exact limit. Its gradient is made of itself, and so is the gradient's gradient."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, alpha: Tensor, taxonomy: Taxonomy) -> Tensor:
        multipliers = elimination(taxonomy, alpha.item(), scores.dtype, scores.device)
        diffused = eliminate(scores, multipliers)
        ctx.taxonomy = taxonomy
        if ctx.needs_input_grad[1]:
            ctx.save_for_backward(alpha, scores, diffused)
        else:
            ctx.save_for_backward(alpha)
        return diffused

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        alpha, *rest = ctx.saved_tensors
        grad_scores = _limit(grads[0], alpha, ctx.taxonomy)
        if not rest:
            return grad_scores, None, None
        # (I - a W) f = (1 - a) f0, so (I - a W) df/da = W f - f0: the limit of that, / (1 - a).
        scores, diffused = rest
        change = _spread(diffused.t(), _edges(ctx.taxonomy, scores)).t() - scores
        grad_alpha = (grad_scores * change).sum().to(alpha) / (1 - alpha)
        return grad_scores, grad_alpha, None


_limit: Callable[[Tensor, Tensor, Taxonomy], Tensor] = _Limit.apply


def _iterate(scores: Tensor, taxonomy: Taxonomy, *, alpha: float | Tensor, steps: int) -> Tensor:
    if steps < 0:
        raise ConfigError(f"Expected steps of at least 0, or None for the limit, got {steps}.")
    share = alpha.to(scores) if isinstance(alpha, Tensor) else alpha
    edges = _edges(taxonomy, scores)
    initial = nodes = scores.t()  # a row a node is faster
    for _ in range(steps):
        nodes = share * _spread(nodes, edges) + (1 - share) * initial
    return nodes.t().contiguous()


class _Edges(NamedTuple):
    """For each node but the root its parent (n - 1,) and the weight of the edge (n - 1, 1)."""

    parents: Tensor
    weights: Tensor


def _edges(taxonomy: Taxonomy, scores: Tensor) -> _Edges:
    weights = torch.tensor(edge_weights(taxonomy)[1:, None])
    return _Edges(tree_index(taxonomy, scores.device).parent[1:], weights.to(scores))


def _spread(nodes: Tensor, edges: _Edges) -> Tensor:
    """Return the product of the normalised adjacency with each column (n, B)."""
    from_above = nodes[edges.parents] * edges.weights
    padded = torch.cat((torch.zeros_like(nodes[:1]), from_above))
    return padded.index_add(0, edges.parents, nodes[1:] * edges.weights)


def _check_alpha(alpha: float | Tensor) -> None:
    if isinstance(alpha, Tensor) and (alpha.ndim or not alpha.is_floating_point()):
        raise ConfigError(
            f"Expected alpha as a number or a floating-point tensor of no dimension, got "
            f"{alpha.dtype} of shape {tuple(alpha.shape)}."
        )
    value = alpha.item() if isinstance(alpha, Tensor) else alpha
    if not 0 <= value < 1:
        raise ConfigError(f"Expected alpha in [0, 1), got {value}.")
