"""The promises, on a population whose true risk at every threshold is known.

Calibration images are drawn with replacement from 4,000 images, which so are the population: the
risk of a threshold is a share of them. Their probabilities are overconfident, and a part of them
are of unknown species, whose truth is the genus.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from taxonet.inference import Climbing, LeafSets, MeanRiskControlled, RiskControlled, bottom_up
from taxonet.inference.decision import is_on_path
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy

IntArray = NDArray[np.int64]

TREE = Taxonomy.from_edges(
    [
        *(("root", f"f{f}") for f in range(3)),
        *((f"f{f}", f"g{f}{g}") for f in range(3) for g in range(2)),
        *((f"g{f}{g}", f"s{f}{g}{s}") for f in range(3) for g in range(2) for s in range(3)),
    ]
)
SIZE, DRAWS = 4000, 600


class Population(NamedTuple):
    """Node probabilities, true nodes, and the family of the most probable leaf."""

    probs: torch.Tensor
    truth: IntArray
    family: IntArray


@cache
def population() -> Population:
    rng = generator("population", 0)
    leaves = TREE.leaves
    logits = rng.normal(size=(SIZE, len(leaves))) * 2.5
    logits += rng.normal(size=(SIZE, 3)).repeat(6, axis=1) * 2
    probs = torch.softmax(torch.from_numpy(logits), dim=1)
    family = TREE.ancestor_at_depth(leaves[logits.argmax(axis=1)], 1)
    # Each family is overconfident in its own measure.
    truth_logits = logits / np.array([1.2, 1.6, 2.4])[family - 1][:, None]
    leaf = leaves[(truth_logits + rng.gumbel(size=logits.shape)).argmax(axis=1)]
    unknown = rng.random(SIZE) < 0.1
    truth = np.where(unknown, TREE.parent[leaf], leaf)
    return Population(bottom_up(probs, TREE), truth, family)


def wrong_names(named: IntArray) -> NDArray[np.bool_]:
    return ~is_on_path(TREE, named, population().truth)


def draws(images: int) -> list[IntArray]:
    return [generator("draw", i).integers(0, SIZE, images) for i in range(DRAWS)]


def assert_at_most(violations: int, delta: float) -> None:
    """More violations than delta allows are no chance; far fewer would be a wasteful bound."""
    assert binom.sf(violations - 1, DRAWS, delta) > 0.001
    assert violations > 0.2 * delta * DRAWS


@pytest.mark.parametrize(("alpha", "delta", "images"), [(0.1, 0.1, 150), (0.2, 0.25, 40)])
def test_risk_control_keeps_its_promise(alpha: float, delta: float, images: int) -> None:
    probs, truth, _ = population()
    risks = []
    for chosen in draws(images):
        policy = RiskControlled(alpha, delta).fit(probs[chosen], truth[chosen], TREE)
        risks.append(wrong_names(policy.decide(probs, TREE)).mean())
    assert_at_most(sum(risk > alpha for risk in risks), delta)
    assert np.mean(risks) > alpha / 3


def test_all_groups_keep_the_promise_at_once() -> None:
    alpha, delta = 0.15, 0.2
    probs, truth, family = population()
    violations, whole = 0, 0
    for chosen in draws(250):
        policy = RiskControlled(alpha, delta).fit(
            probs[chosen], truth[chosen], TREE, groups=family[chosen]
        )
        wrong = wrong_names(policy.decide(probs, TREE, groups=family))
        violations += any(wrong[family == group].mean() > alpha for group in (1, 2, 3))
        whole += wrong.mean() > alpha
    assert_at_most(violations, delta)
    assert whole <= violations


def test_one_threshold_for_all_fails_the_worst_group() -> None:
    """So the test above can fail: without groups, the overconfident family is over alpha."""
    probs, truth, family = population()
    over = 0
    for chosen in draws(250)[:100]:
        policy = RiskControlled(0.15, 0.2).fit(probs[chosen], truth[chosen], TREE)
        over += wrong_names(policy.decide(probs, TREE))[family == 3].mean() > 0.15
    assert over > 50


def test_the_risk_among_names_keeps_the_promise() -> None:
    alpha, delta = 0.3, 0.2
    probs, truth, _ = population()
    risks = []
    for chosen in draws(800)[:300]:
        policy = RiskControlled(alpha, delta, among="names").fit(probs[chosen], truth[chosen], TREE)
        named = policy.decide(probs, TREE)
        risks.append(wrong_names(named)[named > 0].mean() if named.any() else 0.0)
    # Many thresholds are tested at once, so that violations are rare.
    assert binom.sf(sum(risk > alpha for risk in risks) - 1, len(risks), delta) > 0.001
    assert np.mean(risks) > 0.6 * alpha


@pytest.mark.parametrize(("alpha", "images"), [(0.1, 60), (0.2, 19)])
def test_mean_risks_are_at_most_alpha_and_hardly_less(alpha: float, images: int) -> None:
    probs, truth, _ = population()
    for make in (MeanRiskControlled, Climbing):
        risks = []
        for chosen in draws(images):
            policy = make(alpha).fit(probs[chosen], truth[chosen], TREE)
            risks.append(wrong_names(policy.decide(probs, TREE)).mean())
        error = np.std(risks) / np.sqrt(DRAWS)
        assert np.mean(risks) <= alpha + 3 * error
        assert np.mean(risks) >= alpha - 1 / (images + 1) - 3 * error


def test_leaf_sets_hold_the_truth_often_enough() -> None:
    alpha, images = 0.1, 50
    probs, truth, _ = population()
    below = np.array([is_on_path(TREE, truth, np.full(SIZE, leaf)) for leaf in TREE.leaves]).T
    missed, wrong = [], []
    for chosen in draws(images)[:200]:
        policy = LeafSets(alpha).fit(probs[chosen], truth[chosen], TREE)
        missed.append(1 - (policy.sets(probs, TREE) & below).any(axis=1).mean())
        known = TREE.depth[truth] == 3
        wrong.append((wrong_names(policy.decide(probs, TREE)) & known).mean())
    error = np.std(missed) / np.sqrt(len(missed))
    assert np.mean(missed) <= alpha + 3 * error
    assert np.mean(missed) >= alpha - 1 / (images + 1) - 3 * error
    assert (np.array(wrong) <= np.array(missed) + 1e-12).all()
