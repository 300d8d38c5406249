"""Differentiable diffusion: its loss against a loop over levels, and what the map learns."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError, DataError, TaxonomyError
from taxonet.inference.diffusion_loss import default_restraint, diffusion_loss
from taxonet.inference.learned_diffusion import (
    LearnedDiffusion,
    MapForm,
    centred_log_probs,
    fit_learned_diffusion,
)
from taxonet.inference.rollup import bottom_up
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy

RAGGED = [-1, 0, 0, 0, 1, 1, 3, 4, 4, 4, 6]  # a leaf below the root, chains 0-3-6-10
FORMS: list[MapForm] = ["dense", "ancestors", "lowrank"]


@st.composite
def trees(draw: st.DrawFn) -> Taxonomy:
    size = draw(st.integers(2, 14))
    parents = [-1, *(draw(st.integers(0, node - 1)) for node in range(1, size))]
    return Taxonomy.from_parents([f"n{node:02}" for node in range(size)], parents)


def ragged() -> Taxonomy:
    return Taxonomy.from_parents([f"n{node:02}" for node in range(len(RAGGED))], RAGGED)


def drawn(*shape: int) -> torch.Tensor:
    return torch.from_numpy(generator("learned diffusion", *shape).normal(size=shape))


def slow_loss(
    tree: Taxonomy, probs: torch.Tensor, targets: Sequence[int], weights: Sequence[float]
) -> float:
    """Go through levels as lists of nodes, as the equations have them."""
    total = 0.0
    leaves = set(tree.leaves.tolist())
    for row, target in enumerate(targets):
        above = set(tree.ancestors(target).tolist())
        for level in range(1, len(tree.level_slices)):
            nodes = tree.level(level).tolist()
            true = [node for node in nodes if node in above]
            if target not in leaves and tree.depth[target] < level:
                continue
            total -= math.log(float(probs[row, true[0]]))
            wrong = [float(probs[row, node]) for node in nodes if node not in true]
            if wrong and level <= len(weights):
                total -= weights[level - 1] * min(math.log(1 - p) for p in wrong)
    return total / len(targets)


@given(trees(), st.data())
def test_the_loss_is_that_of_the_levels_one_by_one(tree: Taxonomy, data: st.DataObject) -> None:
    targets = data.draw(st.lists(st.integers(1, len(tree) - 1), min_size=1, max_size=4))
    probs = bottom_up(drawn(len(targets), len(tree.leaves)).softmax(1), tree)
    levels = len(tree.level_slices) - 1
    weights = data.draw(st.lists(st.floats(0, 10), max_size=levels))
    found = diffusion_loss(probs.log(), torch.tensor(targets), tree, restraint=weights)
    # A chain alone has a probability of 1, which both sides hold to be a little less.
    assert float(found) == pytest.approx(slow_loss(tree, probs, targets, weights), abs=1e-5)


def test_the_restraint_is_not_0_as_printed() -> None:
    tree = ragged()
    probs = bottom_up(drawn(3, 6).softmax(1), tree)
    targets = torch.tensor([4, 2, 10])
    without = diffusion_loss(probs.log(), targets, tree, restraint=())
    assert float(diffusion_loss(probs.log(), targets, tree)) > float(without) + 0.1


def test_the_default_weights_are_the_printed_ones() -> None:
    chain = Taxonomy.from_parents(list("abcdefgh"), range(-1, 7))
    assert default_restraint(chain) == (10, 5, 3, 1, 0.5, 0.2)
    longer = Taxonomy.from_parents(list("abcdefghij"), range(-1, 9))
    assert default_restraint(longer) == (10, 5, 3, 1, 0.5, 0.2, 0.2, 0.2)
    assert default_restraint(Taxonomy.from_parents(["a", "b"], [-1, 0])) == ()


def test_gradients_of_loss_and_map() -> None:
    tree = ragged()
    logits = drawn(3, 6).requires_grad_()
    targets = torch.tensor([7, 3, 2])
    assert torch.autograd.gradcheck(
        lambda x: diffusion_loss(bottom_up(x.softmax(1), tree).log(), targets, tree), [logits]
    )
    learned = LearnedDiffusion(tree, form="lowrank", rank=2).double()
    scores = drawn(3, len(tree)).requires_grad_()
    assert torch.autograd.gradcheck(learned, [scores])


@pytest.mark.parametrize("certain", [0, 3])
def test_certain_probabilities_give_finite_losses_and_gradients(certain: int) -> None:
    tree = ragged()
    logits = torch.full((1, 6), -1e4)
    logits[0, certain] = 1e4
    logits.requires_grad_()
    targets = torch.tensor([int(tree.leaves[3])])
    logs = LearnedDiffusion(tree).node_log_probs(
        torch.zeros(1, 11).index_copy(1, torch.tensor(tree.leaves), logits)
    )
    loss = diffusion_loss(logs, targets, tree)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert bool(loss.isfinite())
    assert bool(gradient.isfinite().all())
    # What is certain and wrong must be able to be unlearned.
    assert (float(gradient.abs().max()) > 0.5) == (certain != 3)
    assert (float(loss.detach()) < 1e-4) == (certain == 3)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tree", [ragged(), Taxonomy.from_parents(["a"], [-1])])
def test_every_map_starts_with_each_leafs_own_score(form: MapForm, tree: Taxonomy) -> None:
    scores = drawn(4, len(tree)).float()
    found = LearnedDiffusion(tree, form=form)(scores)
    expected = scores[:, tree.leaves.tolist()] if len(tree) > 1 else torch.zeros(4, 1)
    torch.testing.assert_close(found, expected)


def test_the_map_of_ancestors_is_the_dense_map_without_its_other_entries() -> None:
    tree = ragged()
    sparse, dense = (LearnedDiffusion(tree, form=form) for form in ("ancestors", "dense"))
    weights = drawn(len(sparse.along_paths)).float()
    with torch.no_grad():
        sparse.along_paths.copy_(weights)
        dense.dense.zero_()
        for leaf, node, weight in zip(sparse.entry_leaf, sparse.entry_node, weights, strict=True):
            assert int(node) in tree.ancestors(int(tree.leaves[leaf]))
            dense.dense[leaf, node] = weight
    scores = drawn(4, len(tree)).float()
    torch.testing.assert_close(sparse(scores), dense(scores))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_scores_for_a_map_are_finite_and_keep_the_softmax(dtype: torch.dtype) -> None:
    probs = [[1.0, 0.75, 0.25, 0.5, 0.25, 0.0], [1.0, 1.0, 0.5, 0.25, 0.25, 0.25]]
    scores = centred_log_probs(torch.tensor(probs, dtype=dtype))
    assert bool(scores.isfinite().all())
    torch.testing.assert_close(scores.mean(1), torch.zeros(2, dtype=scores.dtype))
    leaves = scores[:, 2:5].softmax(1)
    expected = torch.tensor([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]], dtype=scores.dtype)
    torch.testing.assert_close(leaves, expected)


@pytest.mark.parametrize("form", FORMS)
def test_it_learns_to_mend_scores_of_leaves_from_those_above(form: MapForm) -> None:
    """Scores of leaves are noise but for their genus; those of inner nodes tell the genus."""
    tree = Taxonomy.from_parents(
        ["root", *"abc", *[f"{genus}{k}" for genus in "abc" for k in range(3)]],
        [-1, 0, 0, 0, *[1] * 3, *[2] * 3, *[3] * 3],
    )
    draw = generator("mending")
    targets = torch.from_numpy(draw.integers(4, 13, 600))
    scores = torch.from_numpy(draw.normal(size=(600, 13))).float()
    scores[torch.arange(600), targets] += 1.5
    scores[torch.arange(600), 1 + (targets - 4) // 3] += 6
    train, test = slice(0, 400), slice(400, 600)
    learned = fit_learned_diffusion(
        scores[train], targets[train], tree, form=form, rank=4, learning_rate=0.05
    )

    def right(leaf_scores: torch.Tensor) -> float:
        return float((leaf_scores.argmax(1) + 4 == targets[test]).float().mean())

    before, after = right(scores[test, 4:]), right(learned(scores[test]))
    assert after > before + 0.1
    again = fit_learned_diffusion(
        scores[train], targets[train], tree, form=form, rank=4, learning_rate=0.05
    )
    assert torch.equal(again(scores), learned(scores))


def test_what_cannot_be_fitted_is_refused() -> None:
    tree = ragged()
    scores, targets = torch.ones(2, 11), torch.tensor([4, 5])
    with pytest.raises(TaxonomyError, match=r"values \(B, 11\)"):
        LearnedDiffusion(tree)(torch.ones(2, 6))
    with pytest.raises(DataError, match="int64 target for each of 2 rows"):
        fit_learned_diffusion(scores, targets[:1], tree)
    with pytest.raises(DataError, match=r"but got torch\.float32 of shape \(2,\)"):
        fit_learned_diffusion(scores, targets.float(), tree)
    with pytest.raises(DataError, match="no image to learn a map from"):
        fit_learned_diffusion(scores[:0], targets[:0], tree)
    with pytest.raises(DataError, match="NaN or infinite"):
        fit_learned_diffusion(scores / 0, targets, tree)
    with pytest.raises(ConfigError, match="epochs must be at least 1, but is 0"):
        fit_learned_diffusion(scores, targets, tree, epochs=0)
    with pytest.raises(ConfigError, match="learning_rate must be above 0"):
        fit_learned_diffusion(scores, targets, tree, learning_rate=-1)
    with pytest.raises(ConfigError, match="rank must be at least 1"):
        LearnedDiffusion(tree, form="lowrank", rank=0)
    with pytest.raises(ConfigError, match="up to 3 weights"):
        diffusion_loss(torch.ones(2, 11), targets, tree, restraint=(1, 1, 1, 1))
    star = Taxonomy.from_parents([f"{k:06}" for k in range(23_000)], [-1] + [0] * 22_999)
    with pytest.raises(ConfigError, match="22,999 x 23,000 has more than 500,000,000"):
        LearnedDiffusion(star, form="dense")
