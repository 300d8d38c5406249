"""Differentiable diffusion: a linear map from the scores of all nodes to those of the leaves.

The limit of diffusion is one linear map of the scores; here it is learned, from scores that were
cached once, in place of following from the tree.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError, DataError
from taxonet.inference.diffusion_loss import diffusion_loss
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import check_node_values, logsumexp_up, paths_to, tree_index

MapForm = Literal["dense", "ancestors", "lowrank"]

#: Beyond this the dense map is refused: 2 GB of float32 weights, and Adam keeps two more of each.
_DENSE_WEIGHTS = 500_000_000

_RATES: dict[MapForm, float] = {"ancestors": 1e-2, "dense": 1e-3, "lowrank": 1e-3}

#: Logarithms of smaller probabilities are taken as that of this one.
_LEAST_PROB = 1e-12


class LearnedDiffusion(nn.Module):
    r"""A map from node scores to leaf scores that starts as "each leaf keeps its own score".

    .. math:: s = M f, \quad M \in \mathbb{R}^{c \times n}

    The root's score is never read.

    Args:
        taxonomy: The tree, of n nodes and c leaves.
        form: ``dense`` has every entry of M, c x n. ``ancestors`` has those of each leaf and of its
            ancestors, a number a node on its path: for large trees. ``lowrank`` adds to these the
            product of two thin matrices, (c, rank) and (rank, n).
        rank: Of ``lowrank``.
        seed: Key of what ``lowrank`` draws.

    Raises:
        ConfigError: A dense map of over 500 million entries, or a rank below 1.

    Reference:
        Hierarchical Classification via Diffusion on Manifolds, section 3.2, "Differentiable
        diffusion".

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> learned = LearnedDiffusion(tree, form="ancestors")
        >>> learned(torch.tensor([[9.0, 1.0, 2.0, 3.0, 4.0]])).tolist()  # of c, d, e
        [[2.0, 3.0, 4.0]]
        >>> sum(weight.numel() for weight in learned.parameters())  # c 1, d and e 2 each
        5
    """

    entry_leaf: Tensor
    entry_node: Tensor

    def __init__(
        self, taxonomy: Taxonomy, *, form: MapForm = "ancestors", rank: int = 32, seed: int = 0
    ) -> None:
        super().__init__()
        self.taxonomy, self.form, self.rank = taxonomy, form, rank
        leaves, nodes = torch.tensor(taxonomy.leaves), len(taxonomy)
        if form == "dense":
            if len(leaves) * nodes > _DENSE_WEIGHTS:
                raise ConfigError(
                    f"A dense map of {len(leaves):,} x {nodes:,} has more than {_DENSE_WEIGHTS:,} "
                    "entries: choose form='ancestors' or form='lowrank'."
                )
            start = torch.zeros(len(leaves), nodes)
            start[torch.arange(len(leaves)), leaves] = 1
            self.dense = nn.Parameter(start)
            return
        path, inside = paths_to(taxonomy, leaves)
        row, column = (inside & (path > 0)).nonzero(as_tuple=True)
        self.register_buffer("entry_leaf", row, persistent=False)
        self.register_buffer("entry_node", path[row, column], persistent=False)
        self.along_paths = nn.Parameter((path[row, column] == leaves[row]).float())
        if form == "lowrank":
            if rank < 1:
                raise ConfigError(f"rank must be at least 1, but is {rank}.")
            self.left = nn.Parameter(torch.zeros(len(leaves), rank))
            self.right = nn.Parameter(_drawn(rank, nodes, seed=seed))

    def forward(self, scores: Tensor) -> Tensor:
        """Return leaf scores ``(B, c)`` in the order of ``taxonomy.leaves``.

        Args:
            scores: Node scores ``(B, n)`` in node order, raw or probabilities.

        Raises:
            TaxonomyError: Not one column a node.
        """
        check_node_values(self.taxonomy, scores)
        if self.form == "dense":
            return scores[:, 1:] @ self.dense[:, 1:].T
        weighed = scores[:, self.entry_node] * self.along_paths
        blank = weighed.new_zeros(len(scores), len(self.taxonomy.leaves))
        found = blank.index_add(1, self.entry_leaf, weighed)
        if self.form == "lowrank":
            found = found + (scores[:, 1:] @ self.right[:, 1:].T) @ self.left.T
        return found

    def node_log_probs(self, scores: Tensor) -> Tensor:
        """Return logarithms ``(B, n)`` of node probabilities: a softmax over leaves, summed up."""
        logs = self(scores).log_softmax(dim=1)
        leaves = tree_index(self.taxonomy, logs.device).leaves
        nothing = logs.new_full((len(logs), len(self.taxonomy)), -torch.inf)
        return logsumexp_up(self.taxonomy, nothing.index_copy(1, leaves, logs))

    def node_probs(self, scores: Tensor) -> Tensor:
        """Return node probabilities ``(B, n)``."""
        return self.node_log_probs(scores).exp()


def centred_log_probs(node_probs: Tensor) -> Tensor:
    """Return node scores that suit a map: logarithms of probabilities, less their mean.

    A number added to all scores of an image says nothing of it. Left in, the many large negative
    ones add up, and training runs away with their sums. The softmax of the scores over the leaves
    is what the probabilities were there, so that this is what a map starts with.

    Args:
        node_probs: ``(B, n)``; those below 1e-12 are taken as that.

    Examples:
        >>> centred_log_probs(torch.tensor([[1.0, 0.5, 0.5, 0.125]]))
        tensor([[ 0.8664,  0.1733,  0.1733, -1.2130]])
    """
    wide = node_probs.float() if node_probs.dtype.itemsize < 4 else node_probs
    logs = wide.clamp(_LEAST_PROB, 1).log()
    return logs - logs.mean(dim=1, keepdim=True)


def fit_learned_diffusion(
    inputs: Tensor,
    target_nodes: Tensor,
    taxonomy: Taxonomy,
    *,
    scores_of: Callable[[Tensor], Tensor] | None = None,
    form: MapForm = "ancestors",
    rank: int = 32,
    restraint: Sequence[float] | None = None,
    epochs: int = 20,
    batch_size: int = 256,
    learning_rate: float | None = None,
    seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> LearnedDiffusion:
    """Learn a map from cached scores of training images, by Adam on `diffusion_loss`.

    Args:
        inputs: Node scores ``(N, n)`` in node order, on the device to compute on; or what
            ``scores_of`` makes them of, such as embeddings, where they take too much memory.
        target_nodes: Nodes ``(N,)`` at any depth.
        taxonomy: The tree, of n nodes.
        scores_of: From a batch of inputs to node scores ``(B, n)``; None: they are the scores.
        form: See `LearnedDiffusion`.
        rank: See there.
        restraint: Weights of the restraint at the levels 1, 2, ...; see `diffusion_loss`.
        epochs: Passes over the scores.
        batch_size: Images of a step.
        learning_rate: Of Adam. None: 0.01 for ``ancestors``; 0.001 for the others, whose sums have
            more terms.
        seed: Key of the order and of the map's draws.
        on_step: Called after each step with the steps done and those of the whole fit.

    Raises:
        DataError: Scores that are not finite, or not one target an image.
        ConfigError: Numbers out of range.

    Reference:
        Hierarchical Classification via Diffusion on Manifolds, appendix B.2.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[0.0, 2.0, 0.0, 1.0, 1.5], [0.0, 0.0, 1.0, 1.0, 0.5]])
        >>> learned = fit_learned_diffusion(scores, torch.tensor([4, 2]), tree, learning_rate=0.1)
        >>> learned.node_probs(scores).argmax(dim=1).tolist()  # the root is always 1
        [0, 0]
        >>> learned(scores).argmax(dim=1).tolist()  # of c, d, e
        [2, 0]
    """
    rate = _RATES[form] if learning_rate is None else learning_rate
    _check_fit(inputs, target_nodes, epochs=epochs, batch_size=batch_size, rate=rate)
    learned = LearnedDiffusion(taxonomy, form=form, rank=rank, seed=seed).to(inputs.device)
    optimiser = torch.optim.Adam(learned.parameters(), lr=rate)
    batches = -(-len(inputs) // batch_size)
    for epoch in range(epochs):
        order = generator("learned diffusion order", seed, epoch).permutation(len(inputs))
        split = torch.split(torch.from_numpy(order).to(inputs.device), batch_size)
        for step, rows in enumerate(split, start=1 + epoch * batches):
            scores = _checked(inputs[rows] if scores_of is None else scores_of(inputs[rows]))
            found = learned.node_log_probs(scores)
            loss = diffusion_loss(found, target_nodes[rows], taxonomy, restraint=restraint)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            if on_step is not None:
                on_step(step, epochs * batches)
    return learned.eval().requires_grad_(False)


def _checked(scores: Tensor) -> Tensor:
    if not bool(scores.isfinite().all()):
        raise DataError("The scores hold NaN or infinite values: the network's training failed.")
    return scores


def _check_fit(
    inputs: Tensor, target_nodes: Tensor, *, epochs: int, batch_size: int, rate: float
) -> None:
    if target_nodes.shape != inputs.shape[:1] or target_nodes.dtype is not torch.int64:
        raise DataError(
            f"Expected an int64 target for each of {len(inputs)} rows of scores, but got "
            f"{target_nodes.dtype} of shape {tuple(target_nodes.shape)}."
        )
    if len(inputs) == 0:
        raise DataError("There is no image to learn a map from.")
    for name, number in (("epochs", epochs), ("batch_size", batch_size)):
        if number < 1:
            raise ConfigError(f"{name} must be at least 1, but is {number}.")
    if not rate > 0:
        raise ConfigError(f"learning_rate must be above 0, but is {rate}.")


def _drawn(rank: int, nodes: int, *, seed: int) -> Tensor:
    """Return small numbers, so that a zero factor beside them gets gradients."""
    values = generator("learned diffusion", seed).normal(size=(rank, nodes)) / nodes**0.5
    return torch.from_numpy(values).float()
