"""How far a named node agrees with the true one: recall, precision, F1 and correctness."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from taxonet.errors import DataError
from taxonet.metrics.arrays import Values, named_and_true
from taxonet.taxonomy.shape import TreeShape

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NodeValue = Literal["information", "depth"]


class Agreement(NamedTuple):
    """What of the truth is named, and what of the name is true; a value an image.

    Attributes:
        recall: float64 ``(B,)`` in [0, 1].
        precision: float64 ``(B,)`` in [0, 1].
        correct: Booleans ``(B,)``: the name is the truth or an ancestor of it.
    """

    recall: FloatArray
    precision: FloatArray
    correct: NDArray[np.bool_]

    @property
    def f1(self) -> FloatArray:
        """The harmonic mean of recall and precision, 0 where both are 0, float64 ``(B,)``."""
        total = self.recall + self.precision
        return np.asarray(2 * self.recall * self.precision / np.where(total > 0, total, 1.0))


def hierarchical_agreement(
    predicted_nodes: Values,
    target_nodes: Values,
    taxonomy: TreeShape,
    *,
    kind: NodeValue = "information",
) -> Agreement:
    r"""Compare named nodes with true nodes, both of any depth.

    With :math:`\ell` the lowest common ancestor of the named node p and the true node t, and I
    the information (or depth) of a node, recall is :math:`I(\ell) / I(t)` and precision
    :math:`I(\ell) / I(p)`, where 0/0 is 1. A name below the truth is cut off at the truth: it
    may be right, and nothing tells. So a truth known to the genus only does not punish a species.

    Args:
        predicted_nodes: Integers ``(B,)``, the named nodes.
        target_nodes: Integers ``(B,)``, the true nodes.
        taxonomy: The tree, n nodes.
        kind: ``information``, ``-log2(leaves below / all leaves)``, or ``depth`` in edges.

    Raises:
        DataError: Lengths that differ, a node out of range, or another kind.

    Reference:
        Valmadre, Hierarchical Classification at Multiple Operating Points, arXiv 2210.10929,
        section 3.

    Examples:
        >>> tree = TreeShape(np.array([-1, 0, 0, 1, 1, 2, 2], dtype=np.int32))
        >>> found = hierarchical_agreement([3, 1, 4, 5, 0], [3, 3, 3, 1, 3], tree)
        >>> found.recall.tolist(), found.precision.tolist()
        ([1.0, 0.5, 0.5, 0.0, 0.0], [1.0, 1.0, 0.5, 0.0, 1.0])
        >>> found.correct.tolist(), found.f1.round(3).tolist()
        ([True, True, False, False, True], [1.0, 0.667, 0.5, 0.0, 0.0])
    """
    named, truth = named_and_true(predicted_nodes, target_nodes, taxonomy.size)
    return agreement_of(named, truth, taxonomy, value=node_value(taxonomy, kind))


def node_value(taxonomy: TreeShape, kind: NodeValue) -> FloatArray:
    """Return what naming each node is worth, float64 ``(n,)``; 0 at the root.

    Raises:
        DataError: Another kind.
    """
    if kind == "information":
        return taxonomy.information
    if kind == "depth":
        return taxonomy.depth.astype(np.float64)
    raise DataError(f"Expected kind as one of {', '.join(get_args(NodeValue))}, got {kind!r}.")


def agreement_of(
    named: IntArray, truth: IntArray, taxonomy: TreeShape, *, value: FloatArray
) -> Agreement:
    """Do what `hierarchical_agreement` does, on checked nodes and with the value of each node."""
    lca = taxonomy.lca(named, truth)
    cut = np.where(lca == truth, truth, named)
    return Agreement(
        recall=_share(value[lca], value[truth]),
        precision=_share(value[lca], value[cut]),
        correct=lca == cut,
    )


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    # The value of an ancestor is no larger, so where the whole is 0 the part is.
    return np.divide(part, whole, out=np.ones_like(whole), where=whole > 0)
