from typing import Any

import pytest
import torch

from taxonet.errors import ConfigError, DataError
from taxonet.losses import DualMarginLoss, LDAMLoss
from taxonet.losses.hierarchical import LevelwiseCrossEntropyLoss, LevelwiseMarginLoss
from taxonet.registry import LOSSES
from taxonet.taxonomy import Taxonomy

#: Leaf 2 at depth 1, node 1 above 3 and 4, node 3 above leaves 5 and 6; leaf 4 at depth 2.
PARENTS = [-1, 0, 0, 1, 1, 3, 3]
TREE = Taxonomy.from_parents([f"n{node}" for node in range(7)], PARENTS)
COUNTS = [0, 4, 90, 2, 7, 30, 1]
EXTRA: dict[str, dict[str, Any]] = {"dbm": {"base": "bs"}}
every_loss = pytest.mark.parametrize("name", LOSSES.names())


def batch(rows: int = 14) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    scores = 2 * torch.rand(rows, 7, dtype=torch.float64, generator=draw) - 1
    return scores, torch.arange(rows) % 7


@every_loss
def test_it_is_the_loss_of_each_level_with_the_counts_of_the_level(name: str) -> None:
    options = EXTRA.get(name, {})
    loss = LevelwiseMarginLoss(TREE, COUNTS, loss=name, options=options).double()
    scores, target = batch()
    # Nodes of each level, their images and the place of each target's ancestor, by hand.
    levels: list[tuple[list[int], list[int], dict[int, int]]] = [
        ([1, 2], [44, 90], {1: 0, 2: 1, 3: 0, 4: 0, 5: 0, 6: 0}),
        ([2, 3, 4], [90, 33, 7], {2: 0, 3: 1, 4: 2, 5: 1, 6: 1}),
        ([2, 4, 5, 6], [90, 7, 30, 1], {2: 0, 4: 1, 5: 2, 6: 3}),
    ]
    expected = torch.zeros((), dtype=torch.float64)
    for nodes, counts, places in levels:
        own = LOSSES.build(name, options, counts).double()
        rows = [row for row, y in enumerate(target.tolist()) if y in places]
        classes = torch.tensor([places[int(target[row])] for row in rows])
        losses = own.per_image(scores[rows][:, nodes], classes)
        expected = expected + losses.sum() / len(target) + (own.penalty() or 0)
    torch.testing.assert_close(loss(scores, target), expected)
    assert loss.score_kind == LOSSES.build(name, options, [1, 2]).takes
    assert loss.scale == LOSSES.build(name, options, [1, 2]).scale


@every_loss
def test_gradients_are_those_of_the_value(name: str) -> None:
    loss = LevelwiseMarginLoss(TREE, COUNTS, loss=name).double()
    scores, target = batch()
    assert torch.autograd.gradcheck(lambda z: loss(z, target), (scores.requires_grad_(),))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_finite_at_the_ends(name: str, dtype: torch.dtype) -> None:
    loss = LevelwiseMarginLoss(TREE, COUNTS, loss=name)
    scores, target = batch()
    ends = scores.sign().to(dtype).requires_grad_()
    value = loss(ends, target)
    value.backward()
    assert value.dtype is torch.float32
    assert value.isfinite()
    assert ends.grad is not None
    assert ends.grad.isfinite().all()


def test_cross_entropy_at_each_level_is_the_levelwise_loss() -> None:
    scores, target = batch()
    margin = LevelwiseMarginLoss(TREE, COUNTS, loss="cross_entropy")
    plain = LevelwiseCrossEntropyLoss(TREE)
    torch.testing.assert_close(margin.per_image(scores, target), plain.per_image(scores, target))
    torch.testing.assert_close(margin.node_probabilities(scores), plain.node_probabilities(scores))
    only = LevelwiseMarginLoss(TREE, COUNTS, loss="cross_entropy", levels=(3,))
    torch.testing.assert_close(
        only.per_image(scores, target),
        LevelwiseCrossEntropyLoss(TREE, levels=(3,)).per_image(scores, target),
    )


def test_a_rare_genus_has_the_margin_of_its_own_rarity() -> None:
    loss = LevelwiseMarginLoss(TREE, COUNTS, loss="ldam")
    for own, counts in zip(loss.level_losses(), [[44, 90], [90, 33, 7]], strict=False):
        assert isinstance(own, LDAMLoss)
        assert torch.equal(own.class_margins_cos, LDAMLoss(counts).class_margins_cos)


def test_the_penalty_of_every_level_is_added_and_its_parameter_learned() -> None:
    loss = LevelwiseMarginLoss(TREE, COUNTS, loss="dual_margin")
    gammas = [own.gamma for own in loss.level_losses() if isinstance(own, DualMarginLoss)]
    assert len(gammas) == 3
    with torch.no_grad():
        for gamma in gammas:
            assert gamma is not None
            gamma.add_(0.5)
    scores, target = batch()
    penalties = [own.penalty() for own in loss.level_losses()]
    expected = loss.per_image(scores, target).mean() + sum(p for p in penalties if p is not None)
    torch.testing.assert_close(loss(scores, target), expected)
    loss(scores, target).backward()
    assert all(gamma is not None and gamma.grad is not None for gamma in gammas)


def test_nodes_without_images_are_no_classes() -> None:
    # Leaf 6 has none: level 3 is 2, 4 and 5.
    loss = LevelwiseMarginLoss(TREE, [0, 0, 9, 0, 7, 3, 0], loss="cross_entropy")
    scores, _ = batch()
    probabilities = loss.node_probabilities(scores)
    assert probabilities[:, 6].tolist() == [0.0] * 14
    expected = scores[:, [2, 4, 5]].softmax(1)[:, 2]
    torch.testing.assert_close(probabilities[:, 5], expected)
    value = loss(scores, torch.tensor([5] * 14))
    moved = scores.clone()
    moved[:, 6] += 5
    assert torch.equal(loss(moved, torch.tensor([5] * 14)), value)
    with pytest.raises(DataError, match=r"nodes \[6\] are targets, but have no training images"):
        loss(scores, torch.tensor([5] * 13 + [6]))


def test_a_level_with_one_class_is_left_out() -> None:
    tree = Taxonomy.from_parents(list("abcd"), [-1, 0, 1, 1])
    loss = LevelwiseMarginLoss(tree, [0, 0, 3, 4], loss="cross_entropy")
    assert len(loss.level_losses()) == 1
    assert loss.node_probabilities(torch.zeros(1, 4)).tolist() == [[1.0, 1.0, 0.5, 0.5]]
    with pytest.raises(ConfigError, match="No chosen level has two nodes"):
        LevelwiseMarginLoss(tree, [0, 0, 3, 4], levels=(1,))


def test_it_names_what_is_wrong() -> None:
    with pytest.raises(DataError, match="7 integers of at least 0"):
        LevelwiseMarginLoss(TREE, [1, 2, 3])
    with pytest.raises(DataError, match="7 integers of at least 0"):
        LevelwiseMarginLoss(TREE, [-1, *COUNTS[1:]])
    with pytest.raises(ConfigError, match="No loss is called 'dmb'"):
        LevelwiseMarginLoss(TREE, COUNTS, loss="dmb")
    with pytest.raises(ConfigError, match="different depths from 1 to 3"):
        LevelwiseMarginLoss(TREE, COUNTS, levels=(4,))
    with pytest.raises(DataError, match="made for 7 nodes"):
        LevelwiseMarginLoss(TREE, COUNTS)(torch.zeros(2, 6), torch.tensor([5, 5]))


def test_its_repr_names_the_loss() -> None:
    shown = repr(LevelwiseMarginLoss(TREE, COUNTS, loss="ldam", levels=(2, 3)))
    assert "loss='ldam', options={}, levels=(2, 3)" in shown
