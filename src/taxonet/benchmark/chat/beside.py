"""The classifier that chat models are compared with, on the same photos."""

import numpy as np

from taxonet.benchmark.chat.judged import LEVELS, IntArray, JudgedPhotos
from taxonet.benchmark.chat.names import RankNames
from taxonet.classifier import TaxonClassifier
from taxonet.errors import DataError
from taxonet.progress import Progress
from taxonet.taxonomy import Synonyms, Taxonomy, match_labels


def counts_of_classifier(classifier: TaxonClassifier, taxonomy: Taxonomy) -> IntArray:
    """Return the training photos of each node itself, ``(n,)``.

    Args:
        classifier: Its classes have counts.
        taxonomy: The tree that is judged by, in which all classes have to be.

    Raises:
        DataError: Classes are not in the tree.
    """
    paths = [classifier.taxonomy.path_text(node) for node in classifier.class_nodes.tolist()]
    report = match_labels(paths, taxonomy)
    if report.problems:
        raise DataError(
            f"{len(report.problems)} of {len(paths)} taxa of the classifier are not in the "
            f"taxonomy (first: {report.problems[0]}): give the one that it was trained with, or "
            "leave --taxonomy out."
        )
    counts = np.zeros(len(taxonomy), dtype=np.int64)
    nodes = [match.nodes[0] for match in report.matches]
    np.add.at(counts, nodes, classifier.class_counts)
    return counts


def named_by_classifier(
    classifier: TaxonClassifier,
    photos: JudgedPhotos,
    taxonomy: Taxonomy,
    *,
    batch_size: int,
    show_progress: bool = False,
) -> dict[str, IntArray]:
    """Return the most probable genus and species of each photo, ``(N,)``; -1 for a broken photo.

    Args:
        classifier: Names the photos.
        photos: N photos.
        taxonomy: The tree whose nodes are returned.
        batch_size: Photos per forward pass.
        show_progress: Show how far it has come.
    """
    table = photos.table
    names = {rank: RankNames(taxonomy, rank, Synonyms()) for rank in LEVELS}
    named = {rank: np.full(len(table), -1, dtype=np.int64) for rank in LEVELS}
    images = ((table.name(row), table.source(row)) for row in range(len(table)))
    rows = classifier.rows(images, maker=classifier.row_maker(), batch_size=batch_size)
    with Progress("naming by the classifier", len(table), shown=show_progress) as progress:
        for place, row in enumerate(rows):
            for rank in LEVELS:
                node = names[rank].find(row[rank]).node if row.get(rank) else None
                named[rank][place] = -1 if node is None else node
            progress.advance()
    return named
