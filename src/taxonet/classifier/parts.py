"""What a classifier is made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taxonet.classifier.decision_rule import DecisionRule
from taxonet.classifier.settings import Calibration, Preprocessing
from taxonet.inference.learned_diffusion import LearnedDiffusion
from taxonet.inference.novelty import FittedNovelty
from taxonet.models import Network, WeightsOrigin
from taxonet.recipes import Recipe
from taxonet.taxonomy import Taxonomy


@dataclass(frozen=True)
class ClassifierParts:
    """Everything that a classifier's folder holds, in memory."""

    network: Network
    taxonomy: Taxonomy
    class_nodes: NDArray[np.int64]
    """Node of each class, ascending, ``(c,)``."""
    class_counts: NDArray[np.int64]
    """Training photos of each class, ``(c,)``."""
    preprocessing: Preprocessing
    calibration: Calibration
    recipe: Recipe
    learned: LearnedDiffusion | None = None
    """A map from the probabilities of all nodes to scores of the leaves, for a rollup."""
    rule: DecisionRule | None = None
    """The policy that names; None: the threshold of the calibration does."""
    novelty: FittedNovelty | None = None
    """A novelty score fitted to embeddings of training photos; the calibration says if it rules."""
    weights_origin: WeightsOrigin | None = None
    """Where the weights came from that the backbone started at; None: not recorded."""
