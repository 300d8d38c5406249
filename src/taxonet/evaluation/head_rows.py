"""What each class has in a head: its vector, and the score that margins compare.

A flat head has one row a class. A head over the tree has one a leaf or node, and a class at an
inner node may have none.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from taxonet.classifier import TaxonClassifier
from taxonet.classifier.reading import Reading, TreeReading
from taxonet.errors import ConfigError
from taxonet.models import ExpertHeads

IntArray = NDArray[np.int64]


class ClassVectors(NamedTuple):
    """The vectors of those classes that have one."""

    vectors: NDArray[np.float32]
    """Weights or prototypes, ``(h, d)``."""
    classes: IntArray
    """The class of each, ascending, ``(h,)``."""


def class_vectors(classifier: TaxonClassifier) -> ClassVectors:
    """Return the vector of each class in a classifier's head: its weights or its prototype.

    In a head over the tree it is the row of the class's own node.

    Raises:
        ConfigError: Several experts.
    """
    head = classifier.network.head
    if isinstance(head, ExpertHeads):
        raise ConfigError(
            "`analyse` looks at one vector a class, but this classifier has the heads of "
            f"{len(head.heads)} experts. `taxonet refit CLASSIFIER --stage ncm` (or prototype, or "
            "crt) gives it one head on the embeddings of all experts, which can be analysed."
        )
    weight: NDArray[np.float32] = head.weight.detach().float().cpu().numpy()
    rows = _row_of_class(classifier.reading)
    return ClassVectors(weight[rows[rows >= 0]], np.flatnonzero(rows >= 0))


def class_scores(classifier: TaxonClassifier, logits: Tensor) -> NDArray[np.float32]:
    """Return one score a class, in the unit of `score_unit`.

    Args:
        classifier: Whose logits they are.
        logits: ``(B, s)``, as `TaxonClassifier.score` gives them.

    Returns:
        float32 ``(B, c)``.
    """
    flat = not isinstance(classifier.reading, TreeReading)
    scores = logits / classifier.network.head.scale if flat else classifier.probabilities(logits)
    found: NDArray[np.float32] = scores.numpy()
    return found


def score_unit(classifier: TaxonClassifier) -> str:
    """Return what the scores of classes are: ``logits``, ``cosines`` or ``probabilities``.

    Scores of nodes of one tree do not compare: a softmax may stand among siblings only, and a path
    may be summed up. So a head over the tree is compared by the probabilities that it ends in.
    """
    is_tree = isinstance(classifier.reading, TreeReading)
    return "probabilities" if is_tree else classifier.network.head.kind


def remarks_on_rows(classifier: TaxonClassifier) -> list[str]:
    """Return what a reader must know of a head whose rows are not the classes; else nothing."""
    reading = classifier.reading
    if not isinstance(reading, TreeReading):
        return []
    remarks = [
        f"The head scores the {reading.loss.takes} of the tree. The vector of a class is the row "
        "of its own node, whatever the loss makes of the rows above it; margins are in "
        "probabilities, because the scores of different nodes do not compare."
    ]
    without = np.flatnonzero(_row_of_class(reading) < 0)
    if without.size:
        names = ", ".join(str(reading.taxonomy.names[reading.class_nodes[k]]) for k in without[:5])
        remarks.append(
            f"{without.size} classes at inner nodes of the tree have no row in a head of leaves, "
            f"so they are left out of the figures about vectors of the head (first: {names})."
        )
    return remarks


def _row_of_class(reading: Reading) -> IntArray:
    """Return the row of the head of each class ``(c,)``, -1 for a class without one."""
    if not isinstance(reading, TreeReading):
        return np.arange(len(reading.class_nodes))
    places: IntArray = reading.class_places.numpy()
    if reading.loss.takes == "nodes":
        return places
    row_of_node: IntArray = np.full(len(reading.tree), -1)
    row_of_node[reading.tree.leaves] = np.arange(len(reading.tree.leaves))
    return row_of_node[places]
