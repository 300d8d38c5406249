r"""Gaussian elimination on a tree: the limit of diffusion exactly, in time linear in the nodes.

The limit solves :math:`(I - \alpha \bar W) f = (1 - \alpha) f^0`. A tree has an order of nodes,
children before parents, in which elimination fills nothing in: every node but the root has one
entry, the weight :math:`w_i` of the edge to its parent. With the pivots

.. math:: q_i = 1 - \sum_{j \in \text{children}(i)} \frac{(\alpha w_j)^2}{q_j}

and :math:`u_i = \alpha w_i / q_i`, the passes up and down the tree are

.. math::

   g_i = f^0_i + \sum_{j \in \text{children}(i)} u_j g_j, \qquad
   f_i = \frac{1 - \alpha}{q_i} g_i + u_i f_{\text{parent}(i)}.

Pivots lie in (0, 1] for alpha in [0, 1), since no eigenvalue of :math:`\bar W` exceeds 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import tree_index

_NUMBERS_AT_ONCE = 2**20
_FEWEST_ROWS = 32


@dataclass(frozen=True, eq=False)
class Elimination:
    """What elimination on one tree with one alpha multiplies by. Get one with `elimination`.

    Attributes:
        taxonomy: The tree, of n nodes.
        pull: What a node and its parent take from each other, u (n,); 0 for the root.
        gain: What a node keeps, (1 - alpha) / q (n,).
    """

    taxonomy: Taxonomy
    pull: Tensor
    gain: Tensor


@lru_cache(maxsize=16)
def elimination(
    taxonomy: Taxonomy, alpha: float, dtype: torch.dtype, device: torch.device
) -> Elimination:
    """Return the multipliers of a tree, of a type and on a device; computed once, in float64."""
    weight = edge_weights(taxonomy)
    pivot = _pivots(taxonomy, alpha * weight)

    def tensor(values: NDArray[np.float64]) -> Tensor:
        # Made under inference mode, it could never again be part of a gradient.
        with torch.inference_mode(False):
            return torch.tensor(values, dtype=dtype, device=device)

    return Elimination(
        taxonomy=taxonomy,
        pull=tensor(alpha * weight / pivot),
        gain=tensor((1 - alpha) / pivot),
    )


def edge_weights(taxonomy: Taxonomy) -> NDArray[np.float64]:
    r"""Return the entry of each node and its parent in the normalised adjacency (n,).

    :math:`w_i = 1 / \sqrt{d_i d_{\text{parent}(i)}}`, d being the number of neighbours; 0 for the
    root (P2: Hierarchical classification via diffusion on manifolds, eq. 1).

    Examples:
        >>> edge_weights(Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")]))
        array([0.        , 0.40824829, 0.70710678, 0.57735027, 0.57735027])
    """
    below = taxonomy.parent[1:]
    neighbours = np.bincount(below, minlength=len(taxonomy)).astype(np.float64)
    neighbours[1:] += 1
    return np.concatenate(([0.0], (neighbours[1:] * neighbours[below]) ** -0.5))


def _pivots(taxonomy: Taxonomy, coupling: NDArray[np.float64]) -> NDArray[np.float64]:
    pivot = np.ones(len(taxonomy))
    for level in reversed(taxonomy.level_slices[1:]):
        np.subtract.at(pivot, taxonomy.parent[level], coupling[level] ** 2 / pivot[level])
    return pivot


def eliminate(scores: Tensor, multipliers: Elimination) -> Tensor:
    """Return the limit of every row, outside of any gradient.

    On the CPU the compiled pass serves where Numba is installed, else torch, level by level.

    Args:
        scores: Initial scores (B, n), float32 or float64, of the multipliers' type and device.
        multipliers: Those of the tree.

    Returns:
        The limits (B, n); the two ways agree within rounding.
    """
    compiled = _compiled_pass()
    if compiled is not None and scores.device.type == "cpu":
        return compiled(scores, multipliers)
    return eliminate_by_levels(scores, multipliers)


def eliminate_by_levels(scores: Tensor, multipliers: Elimination) -> Tensor:
    """Do what `eliminate` does in torch, on any device, in a few steps for every level."""
    solved = torch.empty_like(scores, memory_format=torch.contiguous_format)
    rows = len(scores)
    if scores.device.type == "cpu":  # few enough to stay in a processor's cache
        rows = max(_FEWEST_ROWS, _NUMBERS_AT_ONCE // len(multipliers.taxonomy))
    for start in range(0, len(scores), max(rows, 1)):
        part = slice(start, start + rows)
        solved[part] = _eliminate_nodes(scores[part], multipliers).t()
    return solved


def _eliminate_nodes(scores: Tensor, multipliers: Elimination) -> Tensor:
    """Return the limits, a row a node: a level, and the images of a node, lie together."""
    index = tree_index(multipliers.taxonomy, scores.device)
    nodes = scores.detach().t().clone(memory_format=torch.contiguous_format)
    levels = torch.split(nodes, index.level_sizes)
    pulls = torch.split(multipliers.pull.unsqueeze(1), index.level_sizes)
    for depth in range(len(levels) - 1, 0, -1):
        parents = index.parent_in_level[depth - 1]
        levels[depth - 1].index_add_(0, parents, levels[depth] * pulls[depth])
    nodes.mul_(multipliers.gain.unsqueeze(1))
    for depth in range(1, len(levels)):
        above = levels[depth - 1].index_select(0, index.parent_in_level[depth - 1])
        levels[depth].addcmul_(pulls[depth], above)
    return nodes


@lru_cache(maxsize=1)
def _compiled_pass() -> Callable[[Tensor, Elimination], Tensor] | None:
    try:
        from taxonet.inference.compiled import eliminate_rows
    except ImportError:  # Numba is not installed, or not for this NumPy
        return None

    def compiled(scores: Tensor, multipliers: Elimination) -> Tensor:
        solved: NDArray[np.floating[Any]] = eliminate_rows(
            scores.detach().contiguous().numpy(),
            multipliers.taxonomy.parent,
            multipliers.pull.numpy(),
            multipliers.gain.numpy(),
            threads=torch.get_num_threads(),
        )
        return torch.from_numpy(solved)

    return compiled
