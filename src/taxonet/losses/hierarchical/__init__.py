"""Losses over the nodes of a taxonomy, from leaf scores, node scores or a softmax a level.

Called as ``loss(scores, target_nodes)``; the target may be any node. See `HierarchicalLoss`.
"""

from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.conditional_sigmoid import ConditionalSigmoidLoss
from taxonet.losses.hierarchical.conditional_softmax import ConditionalSoftmaxLoss
from taxonet.losses.hierarchical.cross_entropy import HierarchicalCrossEntropyLoss
from taxonet.losses.hierarchical.descendant_softmax import DescendantSoftmaxLoss
from taxonet.losses.hierarchical.flat_softmax import FlatSoftmaxLoss
from taxonet.losses.hierarchical.image_text import HierarchicalImageTextLoss
from taxonet.losses.hierarchical.level_margins import LevelwiseMarginLoss
from taxonet.losses.hierarchical.levelwise import LevelwiseCrossEntropyLoss
from taxonet.losses.hierarchical.multilabel_focal import MultilabelFocalLoss
from taxonet.losses.hierarchical.name_contrast import NameContrastLoss
from taxonet.losses.hierarchical.parameter_sharing import ParameterSharingSoftmaxLoss
from taxonet.losses.hierarchical.random_cut import RandomCutLoss, frontier
from taxonet.losses.hierarchical.shared_scores import shared_scores
from taxonet.losses.hierarchical.soft_labels import SoftLabelLoss, relative_heights
from taxonet.losses.hierarchical.soft_max_margin import SoftMaxMarginLoss
from taxonet.losses.hierarchical.supcon import HierarchicalSupConLoss

__all__ = [
    "ConditionalSigmoidLoss",
    "ConditionalSoftmaxLoss",
    "DescendantSoftmaxLoss",
    "FlatSoftmaxLoss",
    "HierarchicalCrossEntropyLoss",
    "HierarchicalImageTextLoss",
    "HierarchicalLoss",
    "HierarchicalSupConLoss",
    "LevelwiseCrossEntropyLoss",
    "LevelwiseMarginLoss",
    "MultilabelFocalLoss",
    "NameContrastLoss",
    "ParameterSharingSoftmaxLoss",
    "RandomCutLoss",
    "SoftLabelLoss",
    "SoftMaxMarginLoss",
    "frontier",
    "relative_heights",
    "shared_scores",
]
