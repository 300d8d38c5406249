"""Supervised contrastive loss at every level of the tree."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from taxonet.errors import ConfigError, DataError
from taxonet.losses.checks import at_least_float32, check_batch, check_number
from taxonet.losses.contrastive import check_temperature, check_unit_length, supcon_loss
from taxonet.losses.hierarchical.levels import Level
from taxonet.losses.options import options_repr
from taxonet.registry import CONTRASTIVE_LOSSES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to


@CONTRASTIVE_LOSSES.register("hierarchical_supcon")
class HierarchicalSupConLoss(nn.Module):
    """SupCon at each level, so that views are drawn together the more, the closer their taxa are.

    ``L = sum_l w_l SupCon_l``, where the positives of a view at level l are the other views whose
    target lies on or below the same node of the level. A pair so counts at every level down to its
    lowest common ancestor. An image whose label is above a level takes no part in that level:
    nobody knows which of its nodes is right. A leaf above a level stays in it.

    Called as ``loss(views, target_nodes)``.

    Attributes:
        needs_tree: That it is made for a tree, and takes nodes of it in the place of classes.

    Shape:
        ``views`` ``(B, 2, D)`` of unit length, two of each of B >= 1 images; ``target_nodes``
        int64 ``(B,)`` in 0..n-1; a scalar comes back, in nats, float32 for half-precision views.

    Args:
        taxonomy: The tree, of n nodes.
        temperature: The temperature T > 0 of the inner products.
        level_weights: ``w_l >= 0`` for the depths from 1 down, one each; None weighs all levels
            of two nodes or more the same, with a sum of 1. In a level of one node all views are
            positives of one another, which would only draw strangers together.

    Raises:
        ConfigError: A temperature that is not positive, or weights that do not fit the tree.
        DataError: Views or targets of a wrong form, when called.

    Reference:
        Khosla et al. 2020, Supervised Contrastive Learning, eq. 2, at each level; weights for
        levels as in Zhang et al. 2022, Use All the Labels: A Hierarchical Multi-Label Contrastive
        Learning Framework, whose constraint between levels is left out.

    Examples:
        >>> import torch
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        >>> views = torch.stack([torch.stack([right, right]), torch.stack([up, up])])
        >>> loss = HierarchicalSupConLoss(tree, temperature=1.0)
        >>> loss(views, torch.tensor([3, 2]))  # both levels tell them apart: log((e + 2) / e)
        tensor(0.5514)
        >>> HierarchicalSupConLoss(tree, temperature=1.0, level_weights=(0.0, 1.0))(
        ...     views, torch.tensor([3, 4])
        ... )
        tensor(0.5514)
        >>> loss(views, torch.tensor([3, 4]))  # siblings: positives at level 1
        tensor(0.8848)
    """

    needs_tree: ClassVar[bool] = True

    def __init__(
        self,
        taxonomy: Taxonomy,
        *,
        temperature: float = 0.1,
        level_weights: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        self.taxonomy = taxonomy
        self.temperature = check_temperature(temperature)
        self.level_weights = level_weights
        levels = [Level(taxonomy, depth) for depth in range(1, len(taxonomy.level_slices))]
        self.weights = _checked_weights(level_weights, levels)
        self.parts = nn.ModuleList(levels)

    def forward(self, views: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        views = self._checked(views, target_nodes)
        paths, _ = paths_to(self.taxonomy, target_nodes)
        loss = 0 * views.sum()
        for weight, level in zip(self.weights, self.parts, strict=True):
            assert isinstance(level, Level)
            target, has_one = level.targets(paths)
            if weight > 0 and bool(has_one.any()):
                of_level = supcon_loss(
                    views[has_one], target[has_one], temperature=self.temperature
                )
                loss = loss + weight * of_level
        return loss

    def extra_repr(self) -> str:
        """Return the options as they would be written in a call."""
        return options_repr(self)

    def _checked(self, views: Tensor, target_nodes: Tensor) -> Tensor:
        if views.ndim != 3 or views.shape[1] != 2 or not views.is_floating_point():
            raise DataError(
                "Views must be floating-point embeddings of shape (B, 2, D), two of each image, "
                f"but got {views.dtype} of shape {tuple(views.shape)}."
            )
        check_batch(views.new_zeros(1).expand(len(views), len(self.taxonomy)), target_nodes)
        views = at_least_float32(views)
        check_unit_length("views", views)
        return views


def _checked_weights(
    weights: tuple[float, ...] | None, levels: Sequence[Level]
) -> tuple[float, ...]:
    if weights is None:
        tells_apart = [len(level.nodes) > 1 for level in levels]
        return tuple(one / max(sum(tells_apart), 1) for one in tells_apart)
    if len(weights) != len(levels):
        raise ConfigError(
            f"level_weights must be one number for each of the {len(levels)} levels below the "
            f"root, but are {list(weights)}."
        )
    return tuple(check_number("level_weights", weight, at_least=0) for weight in weights)
