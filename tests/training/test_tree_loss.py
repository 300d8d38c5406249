"""Hierarchical losses from photos to predictions, and what they do not go with."""

from pathlib import Path

import numpy as np
import pytest
import torch

from taxonet.classifier import TaxonClassifier
from taxonet.classifier.reading import TreeReading, reading_of
from taxonet.errors import ConfigError
from taxonet.evaluation import evaluate
from taxonet.recipes import PartChoice, Recipe
from taxonet.recipes.verbs import EvaluateConfig
from taxonet.training import train
from taxonet.training.tree_loss import TreeLoss, check_tree
from tests.helpers import CLASS_NODES, ragged_taxonomy
from tests.small_set import config


@pytest.mark.parametrize(
    "changes",
    [
        ("loss=conditional_softmax",),
        ("loss={name: levelwise_margin, loss: dual_margin}", "model.head=cosine"),
        ("loss=hierarchical_cross_entropy",),
        ("loss=random_cut", "mixing={name: mixup}"),
        ("loss=levelwise_cross_entropy", "contrast={loss: hierarchical_supcon}"),
        ("loss=soft_labels", "contrast={loss: supcon}"),
    ],
    ids=lambda changes: changes[0],
)
def test_from_photos_to_figures_at_every_rank(
    photos: Path, tmp_path: Path, changes: tuple[str, ...]
) -> None:
    run = train(config(photos, tmp_path / "run", *changes)).folder
    classifier = TaxonClassifier.load(run / "classifier", device="cpu")
    assert isinstance(classifier.reading, TreeReading)
    assert classifier.network.head.classes == classifier.reading.columns
    assert classifier.calibration.temperature == 1.0
    images = sorted((photos / "images").glob("*test*"))
    rows = classifier.predict(images, top_k=2)
    assert rows["error"].isna().all()
    assert set(rows["rule"]) <= {"leaf", "unknown", "rolled up to genus", "rolled up to family"}
    figures = evaluate(
        EvaluateConfig(classifier=run / "classifier", images=run / "split.csv", device="cpu")
    ).metrics["test"]
    assert {"own", "bottom_up", "diffusion"} <= set(figures["rollups"])
    for rollup in figures["rollups"].values():
        assert all(0 <= rollup[name] <= 1 for name in ("AP", "AC", "M-F1", "L-Top1"))


def test_a_saved_classifier_says_the_same(photos: Path, tmp_path: Path) -> None:
    result = train(config(photos, tmp_path / "run", "loss=parameter_sharing_softmax"))
    classifier = TaxonClassifier.load(result.classifier, device="cpu")
    again = tmp_path / "again"
    classifier.save(again)
    other = TaxonClassifier.load(again, device="cpu")
    logits = torch.randn(3, classifier.reading.columns, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(classifier.node_probs(logits), other.node_probs(logits))


def test_class_indices_stand_for_the_nodes_of_the_classes() -> None:
    recipe = Recipe(loss=PartChoice(name="conditional_softmax"))
    tree, nodes = ragged_taxonomy(), np.array(CLASS_NODES)
    reading = reading_of(recipe, tree, nodes, np.arange(1, 7))
    assert isinstance(reading, TreeReading)
    names = [tree.names[node] for node in nodes]
    here = torch.tensor([reading.tree.find(name)[0] for name in names])
    scores = torch.randn(6, reading.columns, generator=torch.Generator().manual_seed(1))
    found = TreeLoss(reading)(scores, torch.arange(6))
    torch.testing.assert_close(found, reading.loss(scores, here))


def test_weights_of_images_leave_penalties_alone() -> None:
    recipe = Recipe(loss=PartChoice(name="levelwise_margin", loss="dual_margin"))
    counts, nodes = np.array([9, 4, 3, 7, 2, 5]), np.array(CLASS_NODES)
    reading = reading_of(recipe, ragged_taxonomy(), nodes, counts)
    assert isinstance(reading, TreeReading)
    loss = TreeLoss(reading)
    penalty = reading.loss.penalty()
    assert penalty is not None
    scores = torch.rand(4, reading.columns) * 2 - 1
    target = torch.tensor([0, 3, 4, 5])
    plain = loss(scores, target)
    torch.testing.assert_close(loss(scores, target, sample_weights=torch.ones(4)), plain)
    nothing = loss(scores, target, sample_weights=torch.zeros(4))
    torch.testing.assert_close(nothing, penalty)


def test_classes_on_one_path_leave_a_loss_over_the_tree_nothing() -> None:
    recipe = Recipe(loss=PartChoice(name="flat_softmax"))
    reading = reading_of(recipe, ragged_taxonomy(), np.array([6, 10]), np.array([3, 4]))
    assert isinstance(reading, TreeReading)
    with pytest.raises(ConfigError, match="all classes lie on one path from the root"):
        check_tree(recipe, reading)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("second_stage={stage: ncm}",), "`second_stage` works with one vector a class"),
        (
            ("contrast={loss: balanced_contrastive}",),
            "'balanced_contrastive' works with one vector a class.* hierarchical_supcon or supcon",
        ),
        (("selection={keep: lowest_norm}",), "Norm-guided selection needs a loss"),
        (("reweighting={}",), "Deferred re-weighting sets the class weights"),
        (("model.head=cosine",), "takes logits, and the head 'cosine' gives cosines"),
        (("loss={name: levelwise_margin, loss: dbm}",), "set model.head to 'cosine'"),
    ],
)
def test_what_cannot_work_is_refused_before_training(
    photos: Path, tmp_path: Path, changes: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        train(config(photos, tmp_path / "run", "loss=conditional_softmax", *changes))
