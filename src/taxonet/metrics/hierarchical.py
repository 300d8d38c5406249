"""The seven hierarchical figures of one array of node probabilities."""

from taxonet.metrics.agreement import NodeValue
from taxonet.metrics.arrays import Values
from taxonet.metrics.operating_curve import OperatingCurve
from taxonet.taxonomy.shape import TreeShape


def hierarchical_metrics(
    node_probs: Values,
    target_nodes: Values,
    taxonomy: TreeShape,
    *,
    kind: NodeValue = "information",
    min_confidence: float | None = None,
) -> dict[str, float]:
    """Return AP, AC, R@90, R@95, M-F1, L-F1 and L-Top1 of images that fit in memory at once.

    `OperatingCurve` defines the figures, takes batches, and gives the curve and intervals too.

    Args:
        node_probs: Floats ``(B, n)`` in [0, 1] in node order, NumPy or torch of any device.
        target_nodes: Integers ``(B,)``, the true nodes, at any depth.
        taxonomy: The tree, n nodes.
        kind: What a node is worth, ``information`` or ``depth``.
        min_confidence: Only nodes of more than this probability can be named on the curve; None
            is exact.

    Returns:
        Fractions in [0, 1] by name; higher is better.

    Raises:
        DataError: No images, shapes that do not fit, NaN, probabilities outside [0, 1] by over
            0.001, a node out of range, or options out of range.

    Reference:
        Valmadre, Hierarchical Classification at Multiple Operating Points, arXiv 2210.10929.

    Examples:
        >>> from taxonet.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Quercus"),
        ...                             ("Quercus", "Q. alba"), ("Quercus", "Q. rubra")])
        >>> probs = [[1, 0.75, 0.25, 0.25, 0], [1, 0.25, 0.75, 0.25, 0.5]]
        >>> found = hierarchical_metrics(probs, tree.resolve(["Acer", "Q. alba"]), tree)
        >>> list(found)
        ['AP', 'AC', 'R@90', 'R@95', 'M-F1', 'L-F1', 'L-Top1']
        >>> [round(value, 3) for value in found.values()]
        [0.685, 0.685, 0.685, 0.685, 0.77, 0.685, 0.5]
    """
    curve = OperatingCurve(taxonomy, kind=kind, min_confidence=min_confidence)
    curve.update(node_probs, target_nodes)
    return curve.compute().metrics
