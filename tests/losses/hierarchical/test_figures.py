"""Figures by hand, and what one loss must be of another."""

from math import exp, log

import pytest
import torch
from torch.nn import functional as F

from taxonet.errors import ConfigError
from taxonet.losses.hierarchical import (
    ConditionalSigmoidLoss,
    ConditionalSoftmaxLoss,
    DescendantSoftmaxLoss,
    FlatSoftmaxLoss,
    HierarchicalCrossEntropyLoss,
    HierarchicalLoss,
    LevelwiseCrossEntropyLoss,
    MultilabelFocalLoss,
    ParameterSharingSoftmaxLoss,
    RandomCutLoss,
    SoftLabelLoss,
    SoftMaxMarginLoss,
)
from taxonet.taxonomy import Taxonomy

#: a above b and c; b above d and e. Leaves c, d, e.
TREE = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
STAR = Taxonomy.from_edges([("a", name) for name in "bcdef"])
A, B, C, D, E = range(5)


def value(loss: HierarchicalLoss, scores: list[float], target: int) -> float:
    return float(loss(torch.tensor([scores], dtype=torch.float64), torch.tensor([target])))


def scores(columns: int, rows: int = 6) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(rows, columns, dtype=torch.float64, generator=draw)


# By hand


def test_hierarchical_cross_entropy_by_hand() -> None:
    # P(b) = 3/4, P(d | b) = 1/3.
    loss = HierarchicalCrossEntropyLoss(TREE, alpha=0.5)
    probs = [log(0.25), log(0.25), log(0.5)]
    assert value(loss, probs, D) == pytest.approx(log(4 / 3) + exp(-0.5) * log(3))
    assert value(loss, probs, B) == pytest.approx(log(4 / 3))
    assert value(loss, probs, C) == pytest.approx(log(4))
    assert value(loss, probs, A) == 0


def test_soft_labels_by_hand() -> None:
    # Heights: lca(d, c) = a: 2; lca(d, d): 0; lca(d, e) = b: 1; over the tree's 2.
    raw = [exp(-3.0), 1.0, exp(-1.5)]
    targets = SoftLabelLoss(TREE, beta=3.0).targets(torch.tensor([D, B]))
    assert targets[0].tolist() == pytest.approx([q / sum(raw) for q in raw])
    # A label at b: both leaves below share what is closest.
    raw = [exp(-1.5), 1.0, 1.0]
    assert targets[1].tolist() == pytest.approx([q / sum(raw) for q in raw])


def test_levelwise_by_hand() -> None:
    given = [9.0, log(3), 0.0, log(2), log(2)]  # level 1: b 3/4; level 2 c 1/5, d and e 2/5
    loss = LevelwiseCrossEntropyLoss(TREE)
    assert value(loss, given, D) == pytest.approx(log(4 / 3) + log(5 / 2))
    assert value(loss, given, C) == pytest.approx(log(4) + log(5))
    assert value(loss, given, B) == pytest.approx(log(4 / 3))
    assert value(LevelwiseCrossEntropyLoss(TREE, levels=(2,)), given, B) == 0
    only_two = LevelwiseCrossEntropyLoss(TREE, levels=(2,))
    probabilities = only_two.node_probabilities(torch.tensor([given]))
    assert probabilities[0].tolist() == pytest.approx([1, 0.8, 0.2, 0.4, 0.4])
    only_one = LevelwiseCrossEntropyLoss(TREE, levels=(1,))
    probabilities = only_one.node_probabilities(torch.tensor([given]))
    assert probabilities[0].tolist() == pytest.approx([1, 0.75, 0.25, 0, 0])


def test_levelwise_levels_may_come_in_any_order_and_leave_gaps() -> None:
    parents = [-1, 0, 0, 1, 3, 3, 4]
    tree = Taxonomy.from_parents([f"n{node}" for node in range(7)], parents)
    given = torch.zeros(1, 7)
    loss = LevelwiseCrossEntropyLoss(tree, levels=(4, 2))
    # Level 2 is node 2, a leaf above it, and node 3; level 4 is 2, 5 and 6.
    assert loss(given, torch.tensor([6])).item() == pytest.approx(log(2) + log(3))
    expected = [1, 1 / 2, 1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3]
    assert loss.node_probabilities(given)[0].tolist() == pytest.approx(expected)


def test_conditional_sigmoid_by_hand() -> None:
    loss = ConditionalSigmoidLoss(TREE)
    given = [9.0, log(3), log(1 / 3), 0.0, log(7)]  # b 3/4, c 1/4, d 1/2, e 7/8
    # For b, d and e do not matter.
    assert value(loss, given, B) == pytest.approx(2 * log(4 / 3))
    assert value(loss, given, E) == pytest.approx(2 * log(4 / 3) + log(8 / 7) + log(2))
    probabilities = loss.node_probabilities(torch.tensor([given]))
    assert probabilities[0].tolist() == pytest.approx([1, 3 / 4, 1 / 4, 3 / 8, 21 / 32])


def test_multilabel_focal_by_hand() -> None:
    loss = MultilabelFocalLoss(TREE, alpha=0.25, gamma=1.0)
    given = [9.0, log(3), 0.0, 0.0, log(1 / 3)]  # b 3/4, c 1/2, d 1/2, e 1/4
    expected = 0.25 * (1 / 4 * log(4 / 3) + 1 / 2 * log(2))  # b and d are right
    expected += 0.75 * (1 / 2 * log(2) + 1 / 4 * log(4 / 3))  # c and e are wrong
    assert value(loss, given, D) == pytest.approx(expected)


def test_soft_max_margin_by_hand() -> None:
    # Edges from d to a, b, c, d, e: 2, 1, 3, 0, 2.
    edge = SoftMaxMarginLoss(TREE, tau=0.5)
    given = [1.0, 0.0, 0.5, 2.0, 1.0]
    terms = [exp(1 + 1), exp(0 + 0.5), exp(0.5 + 1.5), exp(2), exp(1 + 1)]
    assert value(edge, given, D) == pytest.approx(log(sum(terms)) - 2)
    # Information: a 0, b log 3/2, leaves log 3; from b to a log 3/2, to d and e log 2, to c
    # log 3/2 + log 3.
    information = SoftMaxMarginLoss(TREE, margin="information")
    terms = [1.5 * exp(1), exp(0), 4.5 * exp(0.5), 2 * exp(2), 2 * exp(1)]
    assert value(information, given, B) == pytest.approx(log(sum(terms)))


def test_descendant_softmax_by_hand() -> None:
    given = [log(2), 0.0, log(3), log(4), 0.0]  # e^s: 2, 1, 3, 4, 1; in all 11
    # Weights: a 1/3, b 1/2, d 1.
    root = DescendantSoftmaxLoss(TREE)
    expected = log(11 / 2) / 3 + log(11) / 2 + log(11 / 4)
    assert value(root, given, D) == pytest.approx(expected)
    # Against b stands c; against d stand e and c; against a nothing.
    cousin = DescendantSoftmaxLoss(TREE, form="cousin")
    assert value(cousin, given, D) == pytest.approx(log(4) / 2 + log(8 / 4))
    # Against c stands b with all below it: 6.
    assert value(cousin, given, C) == pytest.approx(log(9 / 3))
    probabilities = root.node_probabilities(torch.tensor([given]))
    assert probabilities[0].tolist() == pytest.approx([1, 6 / 11, 3 / 11, 4 / 11, 1 / 11])


# Identities


@pytest.mark.parametrize(
    "loss",
    [
        FlatSoftmaxLoss(STAR),
        HierarchicalCrossEntropyLoss(STAR, alpha=0.7),
        SoftLabelLoss(STAR, beta=1e3),
        LevelwiseCrossEntropyLoss(STAR),
        ConditionalSoftmaxLoss(STAR),
        ParameterSharingSoftmaxLoss(STAR),
        RandomCutLoss(STAR, cut_probability=0.9),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_on_a_star_it_is_cross_entropy(loss: HierarchicalLoss) -> None:
    given, target = scores(loss.columns), torch.tensor([1, 2, 3, 4, 5, 5])
    leaves = given if loss.takes == "leaves" else given[:, 1:]
    expected = F.cross_entropy(leaves, target - 1)
    torch.testing.assert_close(loss(given, target), expected)
    probabilities = loss.node_probabilities(given)
    if not isinstance(loss, RandomCutLoss):
        torch.testing.assert_close(probabilities[:, 1:], leaves.softmax(1))
    # The gradients as well.
    given.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(given, target), given)
    leaves = leaves.detach().requires_grad_()
    (flat,) = torch.autograd.grad(F.cross_entropy(leaves, target - 1), leaves)
    torch.testing.assert_close(gradient if loss.takes == "leaves" else gradient[:, 1:], flat)


def test_without_a_decay_hierarchical_cross_entropy_is_flat() -> None:
    given, target = scores(3, 5), torch.arange(5)
    torch.testing.assert_close(
        HierarchicalCrossEntropyLoss(TREE, alpha=0.0).per_image(given, target),
        FlatSoftmaxLoss(TREE).per_image(given, target),
    )


def test_steep_soft_labels_are_cross_entropy_and_flat_ones_ask_for_all_leaves() -> None:
    given, target = scores(3), torch.tensor([2, 3, 4, 2, 3, 4])
    torch.testing.assert_close(
        SoftLabelLoss(TREE, beta=1e3)(given, target), F.cross_entropy(given, target - 2)
    )
    torch.testing.assert_close(
        SoftLabelLoss(TREE, beta=0.0)(given, target), -given.log_softmax(1).mean()
    )


def test_margins_of_0_leave_cross_entropy_over_all_nodes() -> None:
    given, target = scores(5, 5), torch.arange(5)
    torch.testing.assert_close(
        SoftMaxMarginLoss(TREE, tau=0.0)(given, target), F.cross_entropy(given, target)
    )


@pytest.mark.parametrize("margin", ["edge", "information"])
def test_a_wider_margin_costs_more(margin: str) -> None:
    given, target = scores(5, 5), torch.arange(5)
    losses = [
        SoftMaxMarginLoss(TREE, margin=margin, tau=tau)(given, target)  # type: ignore[arg-type]
        for tau in (0.0, 0.5, 5.0, 50.0)
    ]
    assert losses == sorted(losses)
    assert losses[0] < losses[-1]


def test_parameter_sharing_with_scores_of_leaves_only_is_flat() -> None:
    leaves = scores(3, 5)
    nodes = torch.zeros(5, 5, dtype=torch.float64)
    nodes[:, 2:] = leaves
    torch.testing.assert_close(
        ParameterSharingSoftmaxLoss(TREE).per_image(nodes, torch.arange(5)),
        FlatSoftmaxLoss(TREE).per_image(leaves, torch.arange(5)),
    )


def test_conditional_scores_that_are_the_logs_of_flat_probabilities_give_the_flat_loss() -> None:
    leaves = scores(3, 5)
    flat = FlatSoftmaxLoss(TREE)
    logs = flat.node_probabilities(leaves).log()
    torch.testing.assert_close(
        ConditionalSoftmaxLoss(TREE).per_image(logs, torch.arange(5)),
        flat.per_image(leaves, torch.arange(5)),
    )


def test_a_small_loss_keeps_its_digits() -> None:
    # 1 - P is about e^-40 and e^-50: less than float32 can tell from 0 in 1 - P.
    hxe = HierarchicalCrossEntropyLoss(TREE, alpha=0.0)
    given = torch.tensor([[0.0, 50.0, 10.0]])
    expected = exp(-40) + exp(-50)
    assert hxe(given, torch.tensor([D])).item() == pytest.approx(expected, rel=1e-4)
    sigmoid = ConditionalSigmoidLoss(TREE)
    given = torch.tensor([[0.0, 40.0, -40.0, 0.0, 0.0]])
    assert sigmoid(given, torch.tensor([B])).item() == pytest.approx(2 * exp(-40), rel=1e-4)


# Options


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf")])
def test_a_wrong_decay_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="alpha must be a finite number of at least 0"):
        HierarchicalCrossEntropyLoss(TREE, alpha=alpha)
    with pytest.raises(ConfigError, match="beta must be a finite number of at least 0"):
        SoftLabelLoss(TREE, beta=alpha)
    with pytest.raises(ConfigError, match="tau must be a finite number of at least 0"):
        SoftMaxMarginLoss(TREE, tau=alpha)
    with pytest.raises(ConfigError, match="gamma must be a finite number of at least 0"):
        MultilabelFocalLoss(TREE, gamma=alpha)
    with pytest.raises(ConfigError, match=r"alpha must be a share in \[0, 1\]"):
        MultilabelFocalLoss(TREE, alpha=alpha)


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(ConfigError, match="margin must be 'edge' or 'information'"):
        SoftMaxMarginLoss(TREE, margin="depth")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="form must be 'root' or 'cousin'"):
        DescendantSoftmaxLoss(TREE, form="aunt")  # type: ignore[arg-type]


@pytest.mark.parametrize("levels", [(), (0,), (3,), (1, 1), (-3,), (-1, 2)])
def test_levels_that_the_tree_has_not_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="different depths from 1 to 2"):
        LevelwiseCrossEntropyLoss(TREE, levels=levels)
