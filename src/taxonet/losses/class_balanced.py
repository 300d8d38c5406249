"""Class weights from the effective number of images, and cross entropy under them."""

import math

import torch
from torch import Tensor

from taxonet.losses.checks import ClassCounts, check_class_counts, check_share
from taxonet.losses.classification import CrossEntropyLoss
from taxonet.registry import LOSSES

#: The customary beta: classes of well over 10,000 images weigh the same.
CUSTOMARY_BETA = 0.9999


def class_balanced_weights(class_counts: ClassCounts, beta: float = CUSTOMARY_BETA) -> Tensor:
    """Return one weight a class, the inverse of its effective number of images.

    ``w_k = (c / Z) (1 - beta) / (1 - beta^N_k)``, where Z makes the weights sum to c. With
    beta = 0 all classes weigh the same; towards beta = 1 the weights go as ``1 / N_k``.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        beta: In [0, 1).

    Returns:
        float64 ``(c,)``, each above 0, larger for rarer classes, summing to c.

    Raises:
        ConfigError: A beta outside its range.
        DataError: Counts of a wrong form.

    Reference:
        Cui et al. 2019, Class-Balanced Loss Based on Effective Number of Samples, section 4.

    Examples:
        >>> class_balanced_weights([1, 2], beta=0.5)  # 1 and 1 / 1.5, times 2 / (5 / 3)
        tensor([1.2000, 0.8000], dtype=torch.float64)
    """
    beta = check_share("beta", beta)
    counts = check_class_counts(class_counts).double()
    log_beta = math.log(beta) if beta > 0 else -math.inf
    # 1 - beta^N would lose its digits where beta^N is near 1: a beta near 1, a count of 1.
    weights = 1 / -torch.expm1(counts * log_beta)
    return weights * (len(counts) / weights.sum())


@LOSSES.register("class_balanced")
class ClassBalancedLoss(CrossEntropyLoss):
    """Cross entropy in which an image weighs by the effective number of images of its class.

    ``L = sum_i w_{y_i} (-log softmax(l_i)_{y_i}) / sum_i w_{y_i}`` over the batch, with the
    weights of `class_balanced_weights`. Their common factor cancels there, as it does with torch's
    ``weight``; what remains is how classes weigh against each other within a batch.

    Shape:
        ``logits`` ``(B, c)``, any real numbers; ``target`` int64 ``(B,)`` in 0..c-1; a scalar
        comes back, in nats, float32 for half-precision logits.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        beta: In [0, 1): 0 weighs all classes the same, near 1 by the inverse of their counts.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1).

    Raises:
        ConfigError: An option outside its range.
        DataError: Counts, logits or targets of a wrong form.

    Reference:
        Cui et al. 2019, Class-Balanced Loss Based on Effective Number of Samples, section 4.

    Examples:
        >>> import torch
        >>> loss = ClassBalancedLoss([1, 2], beta=0.5)  # weights 1.2 and 0.8
        >>> logits = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
        >>> loss(logits, torch.tensor([0, 1]))  # (1.2 log 2 + 0.8 * 10) / 2
        tensor(4.4159)
    """

    def __init__(
        self,
        class_counts: ClassCounts,
        beta: float = CUSTOMARY_BETA,
        *,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(class_counts, label_smoothing=label_smoothing)
        self.beta = check_share("beta", beta)
        self.reweight(class_balanced_weights(class_counts, beta).float())
