"""Parameter sharing with a softmax over the frontier of a random cut of the tree: Deep RTC."""

from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from taxonet.losses.checks import check_share
from taxonet.losses.contrastive import check_temperature
from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.branches import NOTHING
from taxonet.losses.hierarchical.picked import picked_log_softmax
from taxonet.losses.hierarchical.places import places_of
from taxonet.losses.hierarchical.ragged import concatenated_ranges, segment_logsumexp
from taxonet.losses.hierarchical.shared_scores import shared_scores
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.seeds import seed_of
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to, tree_index


def frontier(taxonomy: Taxonomy, cut: Tensor) -> Tensor:
    """Return which nodes are at the end of the tree once it is cut: each leaf lies on or below one.

    Args:
        taxonomy: The tree, of n nodes.
        cut: Whether each node loses its children, bool ``(n, B)``; the root never does.

    Returns:
        bool ``(n, B)``: uncut above, and cut or a leaf itself.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> cut = torch.tensor([[False, True, False, False, False]]).T  # b
        >>> frontier(tree, cut).T
        tensor([[False,  True,  True, False, False]])
    """
    index = tree_index(taxonomy, cut.device)
    ends = cut.clone()
    ends[0] = False
    # As bytes, which torch joins several times faster than truths.
    ends.view(torch.uint8).bitwise_or_(index.is_leaf.view(torch.uint8).unsqueeze(1))
    levels = torch.split(ends, index.level_sizes)
    reached = [torch.ones_like(levels[0])]
    for own, parents in zip(levels, index.parent_in_level, strict=False):
        reached.append((reached[-1] & ~own).index_select(0, parents))
    return torch.cat(reached) & ends


@HIERARCHICAL_LOSSES.register("random_cut")
class RandomCutLoss(HierarchicalLoss):
    """Deep RTC: cross entropy over the frontier of a random cut, with shared parameters.

    Each inner node but the root is cut with a probability, anew for every image; the frontier is
    the cut nodes and leaves that no other cut is above. ``L = -log P(y)``, the mean over the batch,
    with a softmax over the frontier of ``t_v = sum of s_a over v and its ancestors but the root``
    and ``P(y)`` the probability of the one node that is y or above it, or else of those below y.
    So the scores of all ranks become comparable. ``cut_probability=0`` is
    `ParameterSharingSoftmaxLoss`.

    At prediction, ``P(v) = sigmoid(t_v / temperature)``, each node on its own: not a distribution,
    but meant for a descent that stops where the probability falls below a threshold.

    The cuts of a call follow from ``generator`` where one is given. Otherwise they are keyed by
    ``seed`` and the number of earlier such calls, which is part of the state of the loss, so that
    a resumed training draws what an uninterrupted one would have.

    Shape:
        Node scores ``(B, n)``, column 0 ignored; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes.
        cut_probability: That of a node to lose its children, in [0, 1); kept to 15 bits.
        temperature: What the shared scores are divided by at prediction, above 0.
        seed: The seed of the cuts.

    Raises:
        ConfigError: An option outside its range.
        DataError: Scores or targets of a wrong form, when called.

    Reference:
        Wu et al. 2020, Solving Long-Tailed Recognition with Deep Realistic Taxonomic Classifier,
        section 3; a cut for each image as Valmadre 2022 has it. He refuses labels at inner nodes.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[9.0, 0.5, 0.5, 0.5, 0.5]]).log()
        >>> cut = torch.tensor([[False, True, False, False, False]]).T  # b: left are b and c
        >>> loss = RandomCutLoss(tree)
        >>> loss.losses_of_cut(scores, torch.tensor([3]), cut)  # log 2
        tensor([0.6931])
        >>> loss.losses_of_cut(scores, torch.tensor([3]), ~cut & False)  # nothing cut: log 4
        tensor([1.3863])
        >>> loss.node_probabilities(20 * scores)
        tensor([[1.0000, 0.2000, 0.2000, 0.0588, 0.0588]])
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "nodes"
    calls: Tensor
    inner: Tensor

    def __init__(
        self,
        taxonomy: Taxonomy,
        *,
        cut_probability: float = 0.1,
        temperature: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__(taxonomy)
        self.cut_probability = check_share("cut_probability", cut_probability)
        self.temperature = check_temperature(temperature)
        self.seed = seed
        self.register_buffer("calls", torch.tensor(0))
        inner = torch.from_numpy(np.setdiff1d(np.arange(len(taxonomy)), taxonomy.leaves))
        self.register_buffer("inner", inner, persistent=False)

    def forward(
        self,
        scores: Tensor,
        target_nodes: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss of a batch, a scalar: the mean over its images."""
        return self.per_image(scores, target_nodes, generator=generator).mean()

    def per_image(
        self,
        scores: Tensor,
        target_nodes: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss of each image ``(B,)``, in nats, for a new cut of each."""
        scores = self.checked(scores, target_nodes)
        cut = self.draw(len(scores), generator or self._next_generator()).to(scores.device)
        return self.losses_of_cut(scores, target_nodes, cut)

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the loss of each image ``(B,)`` for the next cuts."""
        return self.per_image(scores, target_nodes)

    def draw(self, images: int, generator: torch.Generator) -> Tensor:
        """Return whether each node is cut for each image, bool ``(n, images)``."""
        count = len(self.inner) * images
        # Four draws of 15 bits in each number of 63: uniform floats would take ten times as long.
        numbers = torch.empty(-(-count // 4), dtype=torch.int64, device=generator.device)
        bits = numbers.random_(generator=generator).view(torch.int16)[:count] & 0x7FFF
        cut = torch.zeros(len(self.taxonomy), images, dtype=torch.bool, device=generator.device)
        # Compared in place, and turned to truths after, it takes a third of the time.
        drawn = bits.lt_(round(self.cut_probability * 2**15)).bool()
        cut[self.inner.to(cut.device)] = drawn.view(-1, images)
        return cut

    def losses_of_cut(self, scores: Tensor, target_nodes: Tensor, cut: Tensor) -> Tensor:
        """Return the loss of each image ``(B,)`` for the cuts of `draw`."""
        shared = shared_scores(self.taxonomy, scores)
        closed = frontier(self.taxonomy, cut).logical_not_().T.contiguous()
        # Adding bytes is several times faster than choosing where a mask says so.
        open_scores = shared.add_(closed.view(torch.uint8), alpha=NOTHING)
        node, image = self._comparable(target_nodes)
        logs = picked_log_softmax(open_scores, image, node)
        return -segment_logsumexp(logs, image, len(scores))

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the sigmoid of the shared scores over the temperature ``(B, n)``."""
        return (shared_scores(self.taxonomy, scores) / self.temperature).sigmoid()

    def _comparable(self, target_nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return all nodes above, on and below the targets, and the image of each."""
        paths, on_path = paths_to(self.taxonomy, target_nodes)
        above = on_path.clone()
        above[:, :-1] &= on_path[:, 1:]
        above[:, -1] = False
        places = places_of(self.taxonomy, target_nodes.device)
        below, image = concatenated_ranges(
            places.node_first[target_nodes], places.node_stop[target_nodes]
        )
        return (
            torch.cat((paths[above], places.node_at[below])),
            torch.cat((torch.nonzero(above)[:, 0], image)),
        )

    def _next_generator(self) -> torch.Generator:
        seed = seed_of("random cut", self.seed, int(self.calls))
        self.calls += 1
        return torch.Generator().manual_seed(seed)
