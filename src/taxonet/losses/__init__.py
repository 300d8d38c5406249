"""Losses: each is a pure function and a thin module over it, registered by name.

The weights of a classifier live in its head, so a trained network predicts without its loss.
"""

from taxonet.losses.base import Loss
from taxonet.losses.checks import ClassCounts
from taxonet.losses.classification import CrossEntropyLoss, cross_entropy_loss
from taxonet.losses.dual_margin import (
    DualMarginLoss,
    class_margins,
    dual_margin_loss,
    margin_regularisation,
    relative_rarity,
)
from taxonet.losses.margin import AMSoftmaxLoss, am_softmax_logits, am_softmax_loss

__all__ = [
    "AMSoftmaxLoss",
    "ClassCounts",
    "CrossEntropyLoss",
    "DualMarginLoss",
    "Loss",
    "am_softmax_logits",
    "am_softmax_loss",
    "class_margins",
    "cross_entropy_loss",
    "dual_margin_loss",
    "margin_regularisation",
    "relative_rarity",
]
