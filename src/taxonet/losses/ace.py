"""Experts for ever rarer classes, silent on all others: ally complementary experts (ACE)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from taxonet.errors import ConfigError, DataError
from taxonet.losses.checks import ClassCounts, check_class_counts, check_number
from taxonet.losses.experts import ExpertLoss
from taxonet.registry import EXPERT_LOSSES


def split_classes(class_counts: ClassCounts, most_images: Sequence[int]) -> Tensor:
    """Return which classes each expert is for, bool ``(experts, c)``.

    The first expert is for all classes; each further one for those with at most so many training
    images as ``most_images`` says.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        most_images: One number for each expert but the first, falling, at least one.

    Raises:
        ConfigError: Numbers that do not fall, or that leave an expert without classes.
        DataError: Counts of a wrong form.

    Examples:
        >>> split_classes([500, 60, 5], [100, 19])
        tensor([[ True,  True,  True],
                [False,  True,  True],
                [False, False,  True]])
    """
    counts = check_class_counts(class_counts)
    bounds = list(most_images)
    if not bounds or bounds != sorted(set(bounds), reverse=True):
        raise ConfigError(
            "most_images must hold one number for each expert but the first, each below the one "
            f"before, but is {tuple(bounds)}."
        )
    if bounds[-1] < counts.min():
        raise ConfigError(
            f"most_images is {tuple(bounds)}, but the rarest class has {counts.min()} training "
            "images: the last expert would be for no class. Raise the numbers, or name fewer."
        )
    return torch.stack([torch.ones_like(counts, dtype=torch.bool), *(counts <= b for b in bounds)])


@EXPERT_LOSSES.register("ace")
class ACELoss(ExpertLoss):
    """Cross entropy for each expert on its own classes, and its logits of all others held at 0.

    ``L = sum_i mean_{own images of i} [ -log softmax(l_i)_y + suppression sum_{k not in C_i}
    l_ik^2 ]``, where ``C_i`` are the classes of expert i and an image is its own if its class is
    one of them; an expert without own images in the batch costs nothing. ``C_1`` are all classes;
    by default expert 2 is for those of at most 100 training images (medium and few), expert 3 for
    those below 20 (few); see `split_classes`.

    What the loss cannot do, and the rest of ACE needs:

    - each expert's own layers take `learning_rate_factors` times the learning rate, by the linear
      scaling rule: an expert of few images sees as small a batch of its own;
    - only the first expert trains the layers that all share: the others take them detached, so that
      the same error does not correct them more than once;
    - the score of a class is the mean over the experts in whose classes it is (`expert_classes`),
      which the authors rescale by the norms of the experts' weights first.

    Differs from the authors' code, which was not at hand: this follows the paper's description.
    That the softmax runs over all classes and that the squares are summed over classes, on the
    expert's own images, is our reading of it, and ``suppression`` is our addition.

    Attributes:
        expert_classes: The classes of each expert, bool ``(experts, c)``.
        learning_rate_factors: ``(experts,)``, each in (0, 1], the share of the training images
            whose class is one of the expert's; 1 for the first.

    Shape:
        As `ExpertLoss`; logits, from one expert more than ``most_images`` has numbers.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        most_images: One number for each expert but the first, falling; see `split_classes`.
        suppression: The weight of the squared logits, at least 0.

    Raises:
        ConfigError: An option outside its range.
        DataError: Counts, scores or targets of a wrong form; another number of experts.

    Reference:
        Cai et al. 2021, ACE: Ally Complementary Experts for Solving Long-Tailed Recognition in
        One-Shot.

    Examples:
        >>> loss = ACELoss([500, 60], most_images=(100,))
        >>> scores = torch.tensor([[2.0, 2.0]])
        >>> loss([scores, scores], torch.tensor([1]))  # log 2 + log 2 + 2^2
        tensor(5.3863)
        >>> loss.learning_rate_factors
        tensor([1.0000, 0.1071])
    """

    takes: Literal["logits", "cosines"] = "logits"
    scale = 1.0
    expert_classes: Tensor
    learning_rate_factors: Tensor

    def __init__(
        self,
        class_counts: ClassCounts,
        *,
        most_images: tuple[int, ...] = (100, 19),
        suppression: float = 1.0,
    ) -> None:
        super().__init__(class_counts)
        self.most_images = most_images
        self.suppression = check_number("suppression", suppression, at_least=0)
        expert_classes = split_classes(class_counts, most_images)
        self.register_buffer("expert_classes", expert_classes)
        counts = check_class_counts(class_counts).double()
        own_images = (expert_classes * counts).sum(1)
        self.register_buffer("learning_rate_factors", (own_images / counts.sum()).float())

    @property
    def experts(self) -> int:
        """One more than there are bounds."""
        return len(self.expert_classes)

    def joint(self, scores_of_experts: Sequence[Tensor], target: Tensor) -> Tensor:
        """Return the loss of a checked batch, a scalar."""
        losses = []
        for logits, own_classes in zip(scores_of_experts, self.expert_classes, strict=True):
            others = logits.masked_fill(own_classes, 0.0).square().sum(1)
            each = F.cross_entropy(logits, target, reduction="none") + self.suppression * others
            own = own_classes[target]
            losses.append(each.where(own, 0.0).sum() / own.sum().clamp(min=1))
        return torch.stack(losses).sum()

    def check_experts(self, scores_of_experts: Sequence[Tensor] | Tensor) -> None:
        """Raise a DataError unless there are as many experts as the loss is for."""
        super().check_experts(scores_of_experts)
        if len(scores_of_experts) != len(self.expert_classes):
            raise DataError(
                f"most_images = {self.most_images} makes {len(self.expert_classes)} experts, but "
                f"the scores are those of {len(scores_of_experts)}. Give the network as many "
                "experts."
            )
