"""Which row of a head is a class's own, in flat heads and in heads over the tree."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from taxonet.classifier import TaxonClassifier
from taxonet.evaluation.head_rows import class_scores, class_vectors, remarks_on_rows, score_unit
from tests.evaluation.conftest import tree_parts
from tests.helpers import tiny_parts


def test_a_flat_head_has_a_row_a_class() -> None:
    classifier = TaxonClassifier(tiny_parts(), device="cpu")
    vectors, classes = class_vectors(classifier)
    np.testing.assert_array_equal(vectors, classifier.network.head.weight.detach())
    assert classes.tolist() == [0, 1, 2, 3, 4, 5]
    logits = torch.arange(12.0).reshape(2, 6)
    expected = logits.numpy() / classifier.network.head.scale
    np.testing.assert_array_equal(class_scores(classifier, logits), expected)
    assert score_unit(classifier) == "cosines"
    assert remarks_on_rows(classifier) == []


def test_a_head_of_nodes_has_the_row_of_the_own_node_of_every_class() -> None:
    """Without Rubus idaeus, which is no class, the nodes up to 8 keep their numbers; 10 is 9."""
    classifier = TaxonClassifier(tree_parts("levelwise_cross_entropy"), device="cpu")
    weight = classifier.network.head.weight.detach().numpy()
    assert len(weight) == 10
    vectors, classes = class_vectors(classifier)
    np.testing.assert_array_equal(vectors, weight[[1, 5, 6, 7, 8, 9]])
    assert classes.tolist() == [0, 1, 2, 3, 4, 5]
    (remark,) = remarks_on_rows(classifier)
    assert remark.startswith("The head scores the nodes of the tree.")


def test_a_head_of_leaves_has_no_row_for_a_class_above_another() -> None:
    """The leaves are Betulaceae, Rubus, the two roses, Acer rubrum; the class Acer is none."""
    classifier = TaxonClassifier(tree_parts("flat_softmax"), device="cpu")
    vectors, classes = class_vectors(classifier)
    np.testing.assert_array_equal(vectors, classifier.network.head.weight.detach())
    assert classes.tolist() == [0, 1, 3, 4, 5]
    assert "1 classes at inner nodes" in remarks_on_rows(classifier)[1]
    assert remarks_on_rows(classifier)[1].endswith("(first: Acer).")


@pytest.mark.parametrize("loss", ["levelwise_cross_entropy", "flat_softmax"])
def test_classes_of_a_tree_are_compared_by_what_prediction_says(loss: str) -> None:
    parts = tree_parts(loss)
    parts = replace(parts, calibration=parts.calibration.model_copy(update={"temperature": 2.0}))
    classifier = TaxonClassifier(parts, device="cpu")
    logits = torch.randn(3, classifier.reading.columns, generator=torch.Generator().manual_seed(0))
    scores = class_scores(classifier, logits)
    assert scores.shape == (3, 6)
    np.testing.assert_array_equal(scores, classifier.reading.class_probs(logits / 2))
    assert score_unit(classifier) == "probabilities"
