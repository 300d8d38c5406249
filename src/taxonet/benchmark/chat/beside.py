"""The classifier that chat models are compared with, on the same photos."""

import numpy as np

from taxonet.benchmark.chat.judged import LEVELS, IntArray, JudgedPhotos
from taxonet.classifier import TaxonClassifier
from taxonet.classifier.rows import levels_with_classes
from taxonet.errors import DataError
from taxonet.progress import Progress
from taxonet.taxonomy import Taxonomy, match_labels


def classes_in_tree(classifier: TaxonClassifier, taxonomy: Taxonomy) -> IntArray:
    """Return the node of each class, ``(c,)``.

    Args:
        classifier: Has c classes.
        taxonomy: The tree that is judged by, in which all classes have to be.

    Raises:
        DataError: Classes are not in the tree.
    """
    paths = [classifier.taxonomy.path_text(node) for node in classifier.class_nodes.tolist()]
    report = match_labels(paths, taxonomy)
    if report.problems:
        raise DataError(
            f"{len(report.problems)} of {len(paths)} taxa of the classifier are not in the "
            f"taxonomy (first: {report.problems[0]}): give the one that it was made with, or "
            "leave --taxonomy out."
        )
    return np.array([match.nodes[0] for match in report.matches], dtype=np.int64)


def counts_of_classifier(
    classifier: TaxonClassifier, classes: IntArray, taxonomy: Taxonomy
) -> IntArray | None:
    """Return the training photos of each node itself, ``(n,)``.

    Args:
        classifier: Its classes have counts.
        classes: The node of each of them, ``(c,)``.
        taxonomy: The tree, n nodes.

    Returns:
        The counts; None where the classifier knows taxa by their names and has seen no photo.
    """
    if not classifier.class_counts.any():
        return None
    counts = np.zeros(len(taxonomy), dtype=np.int64)
    np.add.at(counts, classes, classifier.class_counts)
    return counts


def named_by_classifier(
    classifier: TaxonClassifier,
    photos: JudgedPhotos,
    taxonomy: Taxonomy,
    *,
    batch_size: int | None,
    show_progress: bool = False,
) -> dict[str, IntArray]:
    """Return the most probable genus and species of each photo, ``(N,)``; -1 for a broken photo.

    Args:
        classifier: Names the photos.
        photos: N photos.
        taxonomy: The tree whose nodes are returned.
        batch_size: Photos per forward pass; None: as the device is fastest.
        show_progress: Show how far it has come.
    """
    table = photos.table
    named = {rank: np.full(len(table), -1, dtype=np.int64) for rank in LEVELS}
    levels = levels_with_classes(classifier.taxonomy, classifier.class_nodes)
    columns = [(rank, levels[rank]) for rank in LEVELS if rank in levels]
    meant = {rank: _in_tree(classifier.taxonomy, nodes, taxonomy) for rank, nodes in columns}
    images = ((table.name(row), table.source(row)) for row in range(len(table)))
    first = 0
    with Progress("naming by the classifier", len(table), shown=show_progress) as progress:
        for batch in classifier.score(images, batch_size=batch_size):
            probs = classifier.node_probs(batch.logits).numpy()
            places = [first + row for row in range(len(batch.names)) if row not in batch.broken]
            for rank, nodes in columns:
                named[rank][places] = meant[rank][probs[:, nodes].argmax(axis=1)]
            first += len(batch.names)
            progress.advance(len(batch.names))
    return named


def _in_tree(own: Taxonomy, nodes: IntArray, taxonomy: Taxonomy) -> IntArray:
    """Return the nodes of another tree by their paths, ``(m,)``; -1 where it has no such taxon.

    By name alone, a genus of plants could be one of animals.
    """
    matches = match_labels([own.path_text(node) for node in nodes.tolist()], taxonomy).matches
    return np.array([match.nodes[0] if match.found else -1 for match in matches], dtype=np.int64)
