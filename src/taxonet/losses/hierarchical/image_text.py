"""Images against the texts of their taxa at every level of the tree (HMCF)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError, DataError
from taxonet.losses.checks import check_number
from taxonet.losses.image_text import Duplicates, ImageTextContrastiveLoss


class HierarchicalImageTextLoss(nn.Module):
    """The weighted sum over levels of the contrast between images and the texts of their taxa.

    ``L = sum_l w_l L_l``, where ``L_l`` is `ImageTextContrastiveLoss` between the features that
    the image has at level l (one projection a level, ``V^l`` in the paper) and those of the text of
    its taxon at that level. An image without a taxon at a level takes no part in that level.

    At coarse levels most pairs of a batch share their label, so that ``duplicates`` matters there.

    Called as ``loss(image_features, text_features, labels, logit_scales)``. A level of weight 0 is
    not computed, and no gradient reaches its features: make no projection for it.

    Differs from the paper: as `ImageTextContrastiveLoss` does; the paper's weights are all 1.

    Shape:
        ``image_features`` and ``text_features``: for each of L levels ``(B, D_l)`` of unit length,
        as a sequence, or stacked ``(L, B, D)``; ``labels`` int64 ``(B, L)``, the node of each image
        at each level, or -1; ``logit_scales`` ``(L,)``, each above 0. A scalar comes back, in
        nats, float32 for half-precision features.

    Args:
        level_weights: ``w_l >= 0`` of each of the L levels, at least one above 0.
        duplicates: As in `ImageTextContrastiveLoss`.

    Raises:
        ConfigError: Weights of another form, or another treatment of duplicates.
        DataError: Features, labels or scales of a wrong form, when called.

    Reference:
        Hierarchical Classification via Diffusion on Manifolds, section 3.3 (HMCF).

    Examples:
        >>> import math, torch
        >>> genus, species = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.eye(2)
        >>> labels = torch.tensor([[1, 2], [1, 3]])  # two species of one genus
        >>> loss = HierarchicalImageTextLoss([1.0, 10.0], duplicates="masked")
        >>> scales = torch.tensor([1.0, math.log(3)])
        >>> loss([genus, species], [genus, species], labels, scales)  # 10 times 2 log(4 / 3)
        tensor(5.7536)
    """

    def __init__(
        self, level_weights: Sequence[float], *, duplicates: Duplicates = "positives"
    ) -> None:
        super().__init__()
        self.level_weights = tuple(
            check_number("level_weights", weight, at_least=0) for weight in level_weights
        )
        if not any(self.level_weights):
            raise ConfigError(
                "level_weights must be one number a level, at least one of them above 0, but are "
                f"{list(level_weights)}."
            )
        self.of_level = ImageTextContrastiveLoss(duplicates)

    def forward(
        self,
        image_features: Sequence[Tensor] | Tensor,
        text_features: Sequence[Tensor] | Tensor,
        labels: Tensor,
        logit_scales: Tensor,
    ) -> Tensor:
        """Return the loss of a batch, a scalar."""
        levels = len(self.level_weights)
        given = len(image_features), len(text_features)
        if not (given == (levels, levels) and labels.shape[1:] == logit_scales.shape == (levels,)):
            raise DataError(
                f"The loss has weights for {levels} levels and expects features of images and of "
                f"texts for each, labels (B, {levels}) and logit_scales ({levels},), but got "
                f"features for {given[0]} and {given[1]}, labels {tuple(labels.shape)} and "
                f"logit_scales {tuple(logit_scales.shape)}."
            )
        of_levels = zip(
            self.level_weights, image_features, text_features, labels.T, logit_scales, strict=True
        )
        losses = [
            weight * self.of_level(images, texts, nodes, scale)
            for weight, images, texts, nodes, scale in of_levels
            if weight > 0
        ]
        return torch.stack(losses).sum()

    def extra_repr(self) -> str:
        """Return the options as they would be written in a call."""
        return f"level_weights={self.level_weights!r}, duplicates={self.of_level.duplicates!r}"
