"""Any loss of classes at each level of a level-wise head, with the level's own counts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError, DataError
from taxonet.losses.base import Loss
from taxonet.losses.checks import ClassCounts
from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.levels import Level, check_levels, merge_levels, split_by_depth
from taxonet.registry import HIERARCHICAL_LOSSES, LOSSES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to, sum_up


def check_node_counts(taxonomy: Taxonomy, node_counts: ClassCounts) -> Tensor:
    """Return the number of training images on or below each node, int64 ``(n,)``.

    Args:
        taxonomy: The tree, of n nodes.
        node_counts: The number labelled with each node itself ``(n,)``, integers of at least 0.

    Raises:
        DataError: The counts are not of that form.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> check_node_counts(tree, [0, 5, 7, 2, 1])
        tensor([15,  8,  7,  2,  1])
    """
    given = node_counts.tolist() if isinstance(node_counts, Tensor) else node_counts
    counts = np.array(given)
    if counts.shape != (len(taxonomy),) or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise DataError(
            f"node_counts must be {len(taxonomy)} integers of at least 0, one for each node, but "
            f"are {counts.dtype} of shape {counts.shape}."
        )
    return sum_up(taxonomy, torch.from_numpy(counts.astype(np.int64)).unsqueeze(0))[0]


@HIERARCHICAL_LOSSES.register("levelwise_margin")
class LevelwiseMarginLoss(HierarchicalLoss):
    """A loss of classes, such as DBM or dual margin, inside each chosen level of the tree.

    ``L = sum_l L_l``, where ``L_l`` is the loss of the nodes of level l, made for the number of
    training images on or below each, so that a rare genus gets the margin of its own rarity. Its
    mean is over the whole batch; levels deeper than a label at an inner node are left out for it.
    What a loss adds whatever the images are (`Loss.penalty`) is added once for each level.

    Nodes without training images are no classes: their scores are ignored and their probability
    is 0. A level on which fewer than two nodes have images is left out.

    Shape:
        Node scores ``(B, n)``, cosines or logits as ``score_kind`` says, column 0 ignored;
        otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes.
        node_counts: Training images labelled with each node itself ``(n,)``, at least 0.
        loss: The name of a registered loss.
        options: Its options.
        levels: Depths, 1 to that of the deepest leaf; None is all of them.

    Attributes:
        score_kind: What the scores must be: ``"logits"`` or ``"cosines"``.
        norm_is_meaningful: Whether it is under the losses of the levels.
        scale: The factor on the scores inside the softmax; prediction uses the same one.

    Raises:
        ConfigError: An unknown loss or option, or no level with two classes.
        DataError: Counts, scores or targets of a wrong form, or a target without training images.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> loss = LevelwiseMarginLoss(tree, [0, 0, 7, 2, 1], loss="ldam")
        >>> [level.class_margins_cos for level in loss.level_losses()]  # b, c; then c, d, e
        [tensor([0.5000, 0.4046]), tensor([0.3074, 0.4204, 0.5000])]
        >>> loss(torch.tensor([[0.0, 0.9, 0.1, 0.8, 0.2]]), torch.tensor([3]))
        tensor(0.0049)
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "nodes"
    needs_counts: ClassVar[bool] = True

    def __init__(
        self,
        taxonomy: Taxonomy,
        node_counts: ClassCounts,
        *,
        loss: str = "dbm",
        options: Mapping[str, Any] | None = None,
        levels: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(taxonomy)
        self.loss = loss
        self.options = dict(options or {})
        self.levels = levels
        counts = check_node_counts(taxonomy, node_counts)
        chosen = [Level(taxonomy, depth) for depth in check_levels(taxonomy, levels)]
        used = [level for level in chosen if int((counts[level.nodes] > 0).sum()) > 1]
        if not used:
            raise ConfigError("No chosen level has two nodes with training images.")
        self.parts = nn.ModuleList(
            _LevelClasses(level, counts, lambda own: LOSSES.build(loss, self.options, own))
            for level in used
        )
        first = self.level_losses()[0]
        self.score_kind = first.takes
        self.norm_is_meaningful = first.norm_is_meaningful
        self.scale = first.scale

    def penalty(self) -> Tensor | None:
        """Return the sum of what the losses of the levels add, if anything."""
        added = [loss.penalty() for loss in self.level_losses()]
        found = [penalty for penalty in added if penalty is not None]
        return torch.stack(found).sum() if found else None

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the losses of the levels of each image, summed ``(B,)``, without penalties."""
        paths, _ = paths_to(self.taxonomy, target_nodes)
        by_depth = split_by_depth(self.taxonomy, scores)
        return torch.stack([part.losses(by_depth, paths) for part in self._parts()]).sum(0)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax of each node's own level ``(B, n)``."""
        by_depth = split_by_depth(self.taxonomy, scores)
        parts = self._parts()
        inside = [part.probabilities(by_depth) for part in parts]
        return merge_levels(self.taxonomy, [part.level for part in parts], inside, scores)

    def level_losses(self) -> list[Loss]:
        """Return the loss of each level that has one, from the top down."""
        return [part.loss for part in self._parts()]

    def extra_repr(self) -> str:
        """Return the options as they would be written in a call."""
        return f"loss={self.loss!r}, options={self.options!r}, levels={self.levels!r}"

    def _parts(self) -> list["_LevelClasses"]:
        return [part for part in self.parts if isinstance(part, _LevelClasses)]


class _LevelClasses(nn.Module):
    """The nodes of one level that have training images, and the loss that tells them apart."""

    kept: Tensor
    class_of: Tensor

    def __init__(self, level: Level, counts: Tensor, build: Callable[[Tensor], Loss]) -> None:
        super().__init__()
        of_level = counts[level.nodes]
        kept = torch.nonzero(of_level).flatten()
        class_of = torch.full_like(of_level, -1).index_copy(0, kept, torch.arange(len(kept)))
        self.level = level
        self.keeps_all = len(kept) == len(of_level)
        self.loss = build(of_level[kept])
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("class_of", class_of, persistent=False)

    def losses(self, by_depth: Sequence[Tensor], paths: Tensor) -> Tensor:
        place, has_one = self.level.targets(paths)
        target = self.class_of[place][has_one]
        if bool((target < 0).any()):
            nodes = self.level.nodes[place][has_one][target < 0].tolist()
            raise DataError(
                f"The nodes {sorted(set(nodes))[:10]} are targets, but have no training images."
            )
        scores = self._columns(by_depth)
        rows = torch.nonzero(has_one).flatten()
        if len(rows) == len(scores):  # as it mostly is: nothing to pick, and to put back
            return self.loss.per_image(scores, target)
        if len(rows) == 0:
            return 0 * scores[:, 0]
        losses = self.loss.per_image(scores.index_select(0, rows), target)
        return losses.new_zeros(len(scores)).index_add(0, rows, losses)

    def probabilities(self, by_depth: Sequence[Tensor]) -> Tensor:
        inside = (self.loss.scale * self._columns(by_depth)).softmax(1)
        if self.keeps_all:
            return inside
        everything = inside.new_zeros(len(inside), len(self.class_of))
        return everything.index_copy(1, self.kept, inside)

    def _columns(self, by_depth: Sequence[Tensor]) -> Tensor:
        columns = self.level.columns(by_depth)
        return columns if self.keeps_all else columns.index_select(1, self.kept)
