"""Scores of the levels of a tree: what diffusion starts from, and what its result says.

A level is a depth; a leaf that is shallower than a level stays in it, so that every level divides
the leaves among its nodes. Such a leaf is in several levels: it counts in each of them, and its
own value is that of the first, its own depth's.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from taxonet.errors import ConfigError, did_you_mean
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import check_node_values, tree_index

Levels = Literal["all", "last_two", "leaves"]
Form = Literal["raw", "softmax"]

_HALF = (torch.float16, torch.bfloat16)

#: Sums up the columns of (B, m) in (B, k), so that the last of them is what one asks for.
Summary = Callable[[Tensor], Tensor]


def initial_scores(
    node_scores: Tensor,
    taxonomy: Taxonomy,
    *,
    levels: Levels = "all",
    form: Form = "softmax",
    top: int | None = None,
) -> Tensor:
    """Return the scores that diffusion starts from: 0 for the root and for what is left out.

    P2 does not settle whether it diffuses scores before or after the softmax of each level. After
    it, 0 says "nothing" and scores of different levels are of one kind; before it, 0 is a score
    among others, so leave nodes out only of scores to which that applies (cosines, say).

    Args:
        node_scores: One score a node (B, n), logits for ``softmax``; that of the root is ignored,
            and so are those of the levels left out.
        taxonomy: The tree, of n nodes.
        levels: ``all`` but the root (P2's L1-7), the ``last_two`` levels (L67) or the ``leaves``
            (L7).
        form: ``raw`` scores as they are, or the ``softmax`` over each level.
        top: How many nodes of each level to keep, from 1; equal scores stay together. None keeps
            all (P2, Table 7).

    Returns:
        Initial scores (B, n), of the same type and device. Differentiable.

    Raises:
        TaxonomyError: ``node_scores`` is not (B, n).
        ConfigError: An option has no such value.

    Reference:
        P2 (Hierarchical classification via diffusion on manifolds), section 3.2 and B.1.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[9.0, 0.75, 0.25, 0.5, 0.125]])
        >>> initial_scores(scores, tree, form="raw")
        tensor([[0.0000, 0.7500, 0.2500, 0.5000, 0.1250]])
        >>> initial_scores(scores, tree, form="raw", levels="leaves", top=2)
        tensor([[0.0000, 0.0000, 0.2500, 0.5000, 0.0000]])
        >>> initial_scores(torch.tensor([[0.0, 3.0, 1.0, 1.0, 2.0]]).log(), tree)  # c is in both
        tensor([[0.0000, 0.7500, 0.2500, 0.2500, 0.5000]])
    """
    check_node_values(taxonomy, node_scores)
    _check_options(levels, form, top)
    if node_scores.dtype in _HALF:
        raised = node_scores.float()
        half = initial_scores(raised, taxonomy, levels=levels, form=form, top=top)
        return half.to(node_scores.dtype)
    index = tree_index(taxonomy, node_scores.device)
    deepest = len(index.level_sizes) - 1
    first = {"all": 1, "last_two": max(deepest - 1, 1), "leaves": deepest}[levels]
    level = index.depth.clamp(min=min(first, deepest))
    kept = (index.depth == level) | index.is_leaf
    kept[0] = False
    values = node_scores
    if form == "softmax":
        values = _softmax(node_scores, taxonomy, level)
    if top is not None:
        kept = kept & (node_scores >= _bars(node_scores, taxonomy, top, level))
    return torch.where(kept, values, 0)


def level_probs(diffused: Tensor, taxonomy: Taxonomy, *, form: Form = "softmax") -> Tensor:
    """Normalise diffused scores inside each level.

    Args:
        diffused: What diffusion returned (B, n).
        taxonomy: The tree, of n nodes.
        form: What the initial scores were: those after a ``softmax`` are divided by their sum
            over the level; of ``raw`` scores the softmax is taken.

    Returns:
        Probabilities (B, n) of each node in the level of its depth; 1 for the root. They sum to 1
        over a level that no leaf above it shares. A level whose scores are all 0 stays 0.

    Raises:
        TaxonomyError: ``diffused`` is not (B, n).
        ConfigError: There is no such form.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("c", "e")])
        >>> level_probs(torch.tensor([[0.5, 0.75, 0.25, 0.0, 0.5]]), tree)
        tensor([[1.0000, 0.7500, 0.2500, 0.0000, 1.0000]])
    """
    check_node_values(taxonomy, diffused)
    _check_options("all", form, None)
    if diffused.dtype in _HALF:
        return level_probs(diffused.float(), taxonomy, form=form).to(diffused.dtype)
    depth = tree_index(taxonomy, diffused.device).depth
    if form == "raw":
        probs = _softmax(diffused, taxonomy, depth)
    else:
        totals = _of_levels(diffused, taxonomy, lambda part: part.sum(1, keepdim=True), 0.0)
        probs = diffused / torch.where(totals == 0, 1, totals)[:, depth]
    return torch.cat((torch.ones_like(probs[:, :1]), probs[:, 1:]), dim=1)


def _check_options(levels: str, form: str, top: int | None) -> None:
    for option, value, kind in (("levels", levels, Levels), ("form", form, Form)):
        known = get_args(kind)
        if value not in known:
            raise ConfigError(
                f"There is no {option} {value!r}.{did_you_mean(value, known)} "
                f"Known: {', '.join(known)}."
            )
    if top is not None and top < 1:
        raise ConfigError(f"Expected top of at least 1, or None to keep all nodes, got {top}.")


def _softmax(scores: Tensor, taxonomy: Taxonomy, level: Tensor) -> Tensor:
    """Return the probability of each node (B, n) in its level (n,); 0 for a score of -inf."""
    return (scores - _finite(_of_levels(scores, taxonomy, _log_sum, -torch.inf))[:, level]).exp()


def _log_sum(part: Tensor) -> Tensor:
    """Return the log-sum-exp of each row; unlike torch's, with a gradient where all is -inf."""
    peak = _finite(part.detach().amax(dim=1, keepdim=True))
    total = (part - peak).exp().sum(dim=1, keepdim=True)
    nothing = total == 0
    return torch.where(nothing, 1, total).log().masked_fill(nothing, -torch.inf) + peak


def _finite(peak: Tensor) -> Tensor:
    return torch.where(peak == -torch.inf, 0, peak)


def _bars(scores: Tensor, taxonomy: Taxonomy, top: int, level: Tensor) -> Tensor:
    """Return what each node must reach to be among the top of a level it is in (B, n)."""

    def best(part: Tensor) -> Tensor:
        return part.topk(min(top, part.shape[1]), dim=1).values

    bars = _of_levels(scores.detach(), taxonomy, best, -torch.inf)
    # A leaf is also in the levels below its own.
    lowest = bars.flip(1).cummin(dim=1).values.flip(1)
    return torch.where(
        tree_index(taxonomy, scores.device).is_leaf, lowest[:, level], bars[:, level]
    )


def _of_levels(values: Tensor, taxonomy: Taxonomy, summary: Summary, nothing: float) -> Tensor:
    """Sum up each level, with the leaves that are shallower, in one number (B, levels).

    The leaves are summed up on the way, so that a deep tree costs no more than a shallow one.
    """
    inner = ~tree_index(taxonomy, values.device).is_leaf
    shallow = values.new_full((len(values), 1), nothing)
    found = []
    for level in taxonomy.level_slices:
        inside = values[:, level]
        found.append(summary(torch.cat((inside, shallow), dim=1))[:, -1:])
        leaves = inside.masked_fill(inner[level], nothing)
        shallow = summary(torch.cat((leaves, shallow), dim=1))
    return torch.cat(found, dim=1)
