"""Losses: each is a pure function and a thin module over it, registered by name.

The weights of a classifier live in its head, so a trained network predicts without its loss.
"""

from taxonet.losses.ace import ACELoss, split_classes
from taxonet.losses.angular import cos_with_margin
from taxonet.losses.arcface import ArcFaceLoss, arcface_logits
from taxonet.losses.balanced_contrastive import BalancedContrastiveLoss, balanced_contrastive_loss
from taxonet.losses.base import Loss
from taxonet.losses.checks import ClassCounts
from taxonet.losses.class_balanced import ClassBalancedLoss, class_balanced_weights
from taxonet.losses.classification import CrossEntropyLoss, cross_entropy_loss
from taxonet.losses.contrastive import ContrastiveLoss, SupConLoss, supcon_loss
from taxonet.losses.dbm import DBMLoss, dbm_logits, dbm_margins
from taxonet.losses.dro import DROLoss, dro_loss
from taxonet.losses.dual_margin import (
    DualMarginLoss,
    class_margins,
    dual_margin_loss,
    margin_regularisation,
    relative_rarity,
)
from taxonet.losses.experts import ExpertLoss
from taxonet.losses.focal import FocalLoss, focal_loss
from taxonet.losses.gaussian_mixture import GaussianMixtureLoss, mixture_log_likelihoods
from taxonet.losses.hierarchical import (
    ConditionalSigmoidLoss,
    ConditionalSoftmaxLoss,
    DescendantSoftmaxLoss,
    FlatSoftmaxLoss,
    HierarchicalCrossEntropyLoss,
    HierarchicalImageTextLoss,
    HierarchicalLoss,
    HierarchicalSupConLoss,
    LevelwiseCrossEntropyLoss,
    LevelwiseMarginLoss,
    MultilabelFocalLoss,
    ParameterSharingSoftmaxLoss,
    RandomCutLoss,
    SoftLabelLoss,
    SoftMaxMarginLoss,
)
from taxonet.losses.image_text import (
    Duplicates,
    ImageTextContrastiveLoss,
    image_text_contrastive_loss,
)
from taxonet.losses.ldam import LDAMLoss, ldam_logits, ldam_margins
from taxonet.losses.logit_adjustment import (
    BalancedSoftmaxLoss,
    LogitAdjustedLoss,
    adjust_logits,
    log_priors,
)
from taxonet.losses.margin import AMSoftmaxLoss, am_softmax_logits, am_softmax_loss
from taxonet.losses.nested_collaborative import (
    NestedCollaborativeLoss,
    hard_class_mask,
    mutual_divergence,
)
from taxonet.losses.ride import RIDELoss, expert_diversity, relative_temperatures
from taxonet.losses.sphereface import SphereFaceLoss, cos_of_multiple, sphereface_logits

__all__ = [
    "ACELoss",
    "AMSoftmaxLoss",
    "ArcFaceLoss",
    "BalancedContrastiveLoss",
    "BalancedSoftmaxLoss",
    "ClassBalancedLoss",
    "ClassCounts",
    "ConditionalSigmoidLoss",
    "ConditionalSoftmaxLoss",
    "ContrastiveLoss",
    "CrossEntropyLoss",
    "DBMLoss",
    "DROLoss",
    "DescendantSoftmaxLoss",
    "DualMarginLoss",
    "Duplicates",
    "ExpertLoss",
    "FlatSoftmaxLoss",
    "FocalLoss",
    "GaussianMixtureLoss",
    "HierarchicalCrossEntropyLoss",
    "HierarchicalImageTextLoss",
    "HierarchicalLoss",
    "HierarchicalSupConLoss",
    "ImageTextContrastiveLoss",
    "LDAMLoss",
    "LevelwiseCrossEntropyLoss",
    "LevelwiseMarginLoss",
    "LogitAdjustedLoss",
    "Loss",
    "MultilabelFocalLoss",
    "NestedCollaborativeLoss",
    "ParameterSharingSoftmaxLoss",
    "RIDELoss",
    "RandomCutLoss",
    "SoftLabelLoss",
    "SoftMaxMarginLoss",
    "SphereFaceLoss",
    "SupConLoss",
    "adjust_logits",
    "am_softmax_logits",
    "am_softmax_loss",
    "arcface_logits",
    "balanced_contrastive_loss",
    "class_balanced_weights",
    "class_margins",
    "cos_of_multiple",
    "cos_with_margin",
    "cross_entropy_loss",
    "dbm_logits",
    "dbm_margins",
    "dro_loss",
    "dual_margin_loss",
    "expert_diversity",
    "focal_loss",
    "hard_class_mask",
    "image_text_contrastive_loss",
    "ldam_logits",
    "ldam_margins",
    "log_priors",
    "margin_regularisation",
    "mixture_log_likelihoods",
    "mutual_divergence",
    "relative_rarity",
    "relative_temperatures",
    "sphereface_logits",
    "split_classes",
    "supcon_loss",
]
