"""Images against texts: the contrastive loss of CLIP, with a choice of what equal labels are."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError, DataError, did_you_mean
from taxonet.losses.contrastive import (
    check_unit_length,
    in_one_precision,
    inner_products,
    masked_mean,
)

#: What a pair is whose image and text come from two examples of one label.
Duplicates = Literal["positives", "negatives", "masked"]


def image_text_contrastive_loss(
    image_features: Tensor,
    text_features: Tensor,
    labels: Tensor,
    logit_scale: Tensor | float,
    *,
    duplicates: Duplicates = "positives",
) -> Tensor:
    """Return the image-to-text and text-to-image loss of a batch; see `ImageTextContrastiveLoss`.

    Examples:
        >>> import math, torch
        >>> features = torch.eye(2)
        >>> image_text_contrastive_loss(features, features, torch.tensor([4, 7]), math.log(3))
        tensor(0.5754)
    """
    is_labelled = labels >= 0
    images, texts = in_one_precision(image_features[is_labelled], text_features[is_labelled])
    logits = logit_scale * inner_products(images, texts)  # (n, n), a row for each image
    costs = contrast_of_logits(logits, labels[is_labelled], duplicates)
    # Without a labelled image the sum is 0, and its gradient too, where a mean would be 0 / 0.
    return costs.sum() / max(len(costs), 1)


def contrast_of_logits(logits: Tensor, labels: Tensor, duplicates: Duplicates) -> Tensor:
    """Return the image-to-text plus the text-to-image term of each pair ``(n,)``.

    Args:
        logits: ``(n, n)``, a row for each image and a column for each text.
        labels: Of the pairs ``(n,)``, none of them -1.
        duplicates: As in `ImageTextContrastiveLoss`.
    """
    positives, compared = _pairs(labels, duplicates)
    costs = _cross_entropies(logits, positives, compared)
    return costs + _cross_entropies(logits.T, positives, compared)


class ImageTextContrastiveLoss(nn.Module):
    """Symmetric contrastive loss between the images of a batch and the texts of their labels.

    ``L = mean_i [ CE(q_i, softmax_j(s v_i . t_j)) + CE(q_i, softmax_j(s v_j . t_i)) ]``, where i
    and j run over the images that have a label, ``v_i`` is the feature of image i, ``t_i`` that of
    the text of its label, s the scale, and ``CE(q, p) = -sum_j q_j log p_j``. The target ``q_i`` is

    - ``"negatives"``: 1 for the pair i itself, as if no label came twice: the paper's formula. An
      image is pushed away from another text of its own label;
    - ``"positives"``: spread evenly over all pairs of the label. A label of k images costs each of
      them the entropy of that target, log k, twice at least: in a batch of B images of one label
      the loss is 2 log B where the softmax is even, and more elsewhere;
    - ``"masked"``: 1 for the pair itself, and the other pairs of its label are left out of the
      denominators. A batch of one label has nothing to compare, and costs 0.

    Where no label comes twice, the three are one. Where the pairs of a label have the same text
    feature, ``"positives"`` and ``"negatives"`` are one, in value and in the gradient of that
    feature and of each image: what one pair pushes away, another of its label pulls. Without a
    labelled image the loss is 0, and so is its gradient.

    Called as ``loss(image_features, text_features, labels, logit_scale)``. Gradients reach whatever
    carries them, the scale too. In data-parallel training, gather the features of all processes
    first: see `taxonet.training.gathering`.

    Differs from the paper: a mean over the images, not their sum, and a scale, of which the paper
    prints none. From CLIP's loss: the sum of both directions, not half of it.

    Shape:
        ``image_features`` and ``text_features`` ``(B, D)`` of unit length, B >= 1, row i of each
        being one pair; ``labels`` int64 ``(B,)``, which two pairs have in common if they mean the
        same taxon (its node), and -1 for an image without one, which is left out; ``logit_scale``
        a number, or a tensor of no dimensions, above 0, that multiplies: e to the power of CLIP's
        parameter. A scalar comes back, in nats, float32 for half-precision features.

    Args:
        duplicates: ``"positives"``, ``"negatives"`` or ``"masked"``.

    Raises:
        ConfigError: Another treatment of duplicates.
        DataError: Features, labels or a scale of a wrong form, when called.

    Reference:
        Hierarchical Classification via Diffusion on Manifolds, section 3.3, the term of one level;
        Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision,
        section 2.3.

    Examples:
        >>> import math, torch
        >>> features, labels = torch.eye(2), torch.tensor([4, 4])
        >>> for duplicates in ("positives", "negatives", "masked"):
        ...     loss = ImageTextContrastiveLoss(duplicates)
        ...     print(f"{loss(features, features, labels, math.log(3)).item():.4f}")
        1.6740
        0.5754
        0.0000
    """

    def __init__(self, duplicates: Duplicates = "positives") -> None:
        super().__init__()
        self.duplicates: Duplicates = check_duplicates(duplicates)

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        labels: Tensor,
        logit_scale: Tensor | float,
    ) -> Tensor:
        """Return the loss of a batch, a scalar."""
        _check_features(image_features, text_features)
        _check_labels(labels, rows=len(image_features))
        _check_logit_scale(logit_scale)
        return image_text_contrastive_loss(
            image_features, text_features, labels, logit_scale, duplicates=self.duplicates
        )

    def extra_repr(self) -> str:
        """Return the options as they would be written in a call."""
        return f"duplicates={self.duplicates!r}"


def check_duplicates(duplicates: Duplicates) -> Duplicates:
    """Return a treatment of pairs of one label.

    Raises:
        ConfigError: It is none.
    """
    if duplicates not in get_args(Duplicates):
        raise ConfigError(
            "duplicates must be 'positives', 'negatives' or 'masked', but is "
            f"{duplicates!r}.{did_you_mean(str(duplicates), get_args(Duplicates))}"
        )
    return duplicates


def _pairs(labels: Tensor, duplicates: Duplicates) -> tuple[Tensor, Tensor]:
    """Return which pairs are positives of which, and which are compared, each ``(n, n)``."""
    same_label = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positives = same_label if duplicates == "positives" else itself
    compared = itself | ~same_label if duplicates == "masked" else torch.ones_like(itself)
    return positives, compared


def _cross_entropies(logits: Tensor, positives: Tensor, compared: Tensor) -> Tensor:
    """Return the cross entropy ``(n,)`` of each row of logits, between what is compared."""
    log_sums = logits.masked_fill(~compared, -math.inf).logsumexp(1, keepdim=True)
    return masked_mean(log_sums - logits, positives)


def _check_features(image_features: Tensor, text_features: Tensor) -> None:
    for features in (image_features, text_features):
        if features.ndim != 2 or not len(features) or not features.is_floating_point():
            raise DataError(
                "Features must be floating-point numbers of shape (B, D), one row for each of at "
                f"least 1 pair, but got {features.dtype} of shape {tuple(features.shape)}."
            )
    if image_features.shape != text_features.shape:
        raise DataError(
            "Images and texts must have features of one shape, row i of each being one pair, but "
            f"got {tuple(image_features.shape)} and {tuple(text_features.shape)}. Where images "
            "share a text, repeat its row for each of them."
        )
    images, texts = in_one_precision(image_features, text_features)
    check_unit_length("image_features", images)
    check_unit_length("text_features", texts)


def _check_labels(labels: Tensor, *, rows: int) -> None:
    if labels.dtype is not torch.int64 or labels.shape != (rows,):
        raise DataError(
            f"Labels must be int64 of shape ({rows},), one for each row of the features, but got "
            f"{labels.dtype} of shape {tuple(labels.shape)}."
        )
    lowest = int(labels.amin())
    if lowest < -1:
        raise DataError(
            "Labels must be at least 0, or -1 for an image without one, but the lowest is "
            f"{lowest}."
        )


def _check_logit_scale(logit_scale: Tensor | float) -> None:
    if isinstance(logit_scale, Tensor) and logit_scale.ndim:
        raise DataError(
            "logit_scale must be a number or a tensor of no dimensions, but got one of shape "
            f"{tuple(logit_scale.shape)}. Give each level its own."
        )
    value = logit_scale.item() if isinstance(logit_scale, Tensor) else logit_scale
    if not (math.isfinite(value) and value > 0):
        raise DataError(
            f"logit_scale must be a finite number above 0, but is {value}. It multiplies the inner "
            "products; a parameter that holds its logarithm is given as its exp()."
        )
