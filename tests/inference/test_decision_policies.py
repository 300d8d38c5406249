"""Every policy against its slow loop, at its extremes, stored and read again."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from taxonet.errors import ConfigError, DataError, TaxonomyError
from taxonet.inference import (
    Climbing,
    InformationGain,
    LeafSets,
    MeanRiskControlled,
    RankThresholds,
    RiskControlled,
    cut_at_truth,
    deepest_reaching,
    likely_nodes,
    policy_from_dict,
)
from taxonet.inference.decision import Policy, smallest_alpha
from taxonet.inference.decision.mistakes import wrong_up_to
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from tests.inference.decision_tree import A1, A2, B2, TREE, X, Y
from tests.reference import decisions as reference

PARENT = TREE.parent.tolist()
RANKED = Taxonomy.from_table(
    pd.DataFrame({"genus": ["Acer", "Acer", "Tilia"], "species": ["A. mono", "A. rubrum", ""]})
)


class Images(NamedTuple):
    """Calibration images whose probabilities are whole hundredths."""

    probs: torch.Tensor
    truth: list[int]

    @property
    def rows(self) -> list[list[float]]:
        return [[round(value, 6) for value in row] for row in self.probs.tolist()]


def images_of(n: int, key: int) -> Images:
    """Ties are frequent; truths lie at any depth, and follow the probabilities half the time."""
    rng = generator("policies", key)
    shares = rng.multinomial(20, rng.dirichlet(np.full(4, 0.4), n)) * 5  # whole twentieths
    probs = np.zeros((n, 9), dtype=np.int64)
    probs[:, TREE.leaves] = shares
    for node in range(8, 0, -1):
        probs[:, PARENT[node]] += probs[:, node]
    likely = TREE.leaves[shares.argmax(axis=1)]
    truth = np.where(rng.random(n) < 0.6, likely, rng.integers(0, 9, n))
    return Images(torch.from_numpy(probs / 100), truth.tolist())


def all_right(n: int) -> Images:
    probs = torch.tensor([[1.0, 0.75, 0.25, 0.75, 0.0, 0.25, 0.75, 0.0, 0.25]]).double()
    return Images(probs.repeat(n, 1), [X] * n)


def all_wrong(n: int) -> Images:
    return Images(all_right(n).probs, [B2] * n)


POLICIES: dict[str, Callable[[], Policy[Any]]] = {
    "risk_controlled": lambda: RiskControlled(0.25, 0.2),
    "among_names": lambda: RiskControlled(0.5, 0.5, among="names"),
    "mean_risk_controlled": lambda: MeanRiskControlled(0.25),
    "climbing": lambda: Climbing(0.25),
    "information_gain": lambda: InformationGain(0.25),
    "leaf_sets": lambda: LeafSets(0.25),
}
EVERY = pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
SHARES = st.sampled_from([0.05, 0.2, 0.35, 0.5])


@given(st.integers(0, 10**6))
def test_an_image_is_wrong_up_to_one_threshold(key: int) -> None:
    probs, truth = images_of(8, key)
    highest = wrong_up_to(TREE, likely_nodes(probs), truth)
    for threshold in reference.thresholds(50):
        named = deepest_reaching(TREE, probs, threshold_prob=threshold)
        wrong = [reference.is_wrong(PARENT, int(n), t) for n, t in zip(named, truth, strict=True)]
        assert (highest >= threshold).tolist() == wrong


def test_a_tie_is_wrong_only_if_the_named_node_is() -> None:
    probs = torch.tensor([[1.0, 0.5, 0.5, 0.0, 0.5, 0.5, 0.0, 0.0, 0.5]])  # a2 and b2: b2
    assert wrong_up_to(TREE, likely_nodes(probs.repeat(2, 1)), [B2, A2]).tolist() == [0.0, 0.5]


def test_scores_that_are_no_distribution_stay_wrong_below_a_wrong_name() -> None:
    """At 0.8 the name is b, which is wrong; at 0.6 it is x, which is right."""
    sigmoids = torch.tensor([[1.0, 0.7, 0.8, 0.7, 0.0, 0.0, 0.6, 0.0, 0.0]])
    assert wrong_up_to(TREE, likely_nodes(sigmoids), [X]).tolist() == [0.8]


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), SHARES, st.sampled_from([0.05, 0.21, 0.45]))
def test_risk_control_equals_the_walk_down_the_thresholds(
    key: int, n: int, alpha: float, delta: float
) -> None:
    images = images_of(n, key)
    expected = reference.first_sequence_end(
        PARENT, images.rows, images.truth, alpha=alpha, delta=delta
    )
    policy = RiskControlled(alpha, delta).fit(*images, TREE)
    assert policy.found.groups[0].threshold_prob == expected
    expected_names = [
        0 if expected is None else reference.named_at(PARENT, row, expected) for row in images.rows
    ]
    assert policy.decide(images.probs, TREE).tolist() == expected_names


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from([0.3, 0.5, 0.7]))
def test_risk_among_names_equals_51_tests(key: int, n: int, alpha: float) -> None:
    images = images_of(n, key)
    expected = reference.smallest_rejected_among_names(
        PARENT, images.rows, images.truth, alpha=alpha, delta=0.5
    )
    policy = RiskControlled(alpha, 0.5, among="names").fit(*images, TREE)
    assert policy.found.groups[0].threshold_prob == expected


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), SHARES)
def test_mean_risks_equal_the_walk_down_the_thresholds(key: int, n: int, alpha: float) -> None:
    images = images_of(n, key)
    mean = MeanRiskControlled(alpha).fit(*images, TREE)
    assert mean.found.groups[0].threshold_prob == reference.smallest_of_mean_risk(
        PARENT, images.rows, images.truth, alpha=alpha
    )
    climbing = Climbing(alpha).fit(*images, TREE)
    expected = reference.smallest_of_mean_risk(
        PARENT, images.rows, images.truth, alpha=alpha, climbing=True
    )
    assert climbing.found.threshold_prob == expected
    climbed = [
        0 if expected is None else reference.climbed_to(PARENT, row, expected)
        for row in images.rows
    ]
    assert climbing.decide(images.probs, TREE).tolist() == climbed


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), SHARES)
def test_information_gain_equals_the_loop_and_holds(key: int, n: int, eps: float) -> None:
    images = images_of(n, key)
    policy = InformationGain(eps).fit(*images, TREE)
    multiplier = policy.found.multiplier
    named = policy.decide(images.probs, TREE).tolist()
    expected = [
        0 if multiplier is None else reference.most_informative(PARENT, row, multiplier)
        for row in images.rows
    ]
    assert named == expected
    wrong = [reference.is_wrong(PARENT, *pair) for pair in zip(named, images.truth, strict=True)]
    assert 1 - sum(wrong) / n >= 1 - eps - 1e-12
    if multiplier:  # the last half of the bisection did not hold
        last_half = float(TREE.information.max()) * (1 - eps) / eps / 2**30
        less = [
            reference.most_informative(PARENT, row, multiplier - last_half) for row in images.rows
        ]
        failing = [reference.is_wrong(PARENT, *p) for p in zip(less, images.truth, strict=True)]
        assert sum(failing) > sum(wrong)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), SHARES)
def test_leaf_sets_equal_the_loop(key: int, n: int, alpha: float) -> None:
    images = images_of(n, key)
    masses = [reference.mass_above(PARENT, *p) for p in zip(images.rows, images.truth, strict=True)]
    rank = next(k for k in range(n + 2) if k >= (n + 1) * (1 - alpha) - 1e-9)
    bound = sorted(masses)[rank - 1] if rank <= n else None
    policy = LeafSets(alpha).fit(*images, TREE)
    assert policy.found.mass_above == bound
    sets = policy.sets(images.probs, TREE)
    for row, held in zip(images.rows, sets, strict=True):
        expected = [
            bound is None or reference.mass_above(PARENT, row, leaf) <= bound
            for leaf in TREE.leaves.tolist()
        ]
        assert held.tolist() == expected
    assert sets.any(axis=1).all()


def test_known_figures_of_risk_control() -> None:
    """Binomial tables: of 59 images none may be wrong at 5 % and 95 %, of 93 one."""
    assert smallest_alpha(59, 0.05) == pytest.approx(0.0495076, abs=1e-7)
    for n, wrong, named in ((58, 0, 0), (59, 0, X), (92, 1, 0), (93, 1, X)):
        images = Images((all_right(n).probs > 0.5).double(), [X] * n)  # certain of x
        truth = [B2] * wrong + images.truth[wrong:]
        policy = RiskControlled(0.05, 0.05).fit(images.probs, truth, TREE)
        assert policy.decide(images.probs[:1], TREE).tolist() == [named]
        assert bool(policy.notes) == (named == 0)


def test_information_gain_needs_no_more_than_what_is_asked_for() -> None:
    """3 of 4 are right: enough for 0.25, so that the leaf is named without any weight."""
    policy = InformationGain(0.25).fit(all_right(4).probs, [X, X, X, B2], TREE)
    assert policy.found.multiplier == 0
    stricter = InformationGain(0.2).fit(all_right(4).probs, [X, X, X, B2], TREE)
    assert stricter.found.multiplier == pytest.approx(6)  # x: 0.75 (2 bits + 6), root: 6
    assert stricter.decide(all_right(1).probs, TREE).tolist() == [0]


def test_notes_say_what_can_be_reached() -> None:
    forty = RiskControlled(0.05, 0.05).fit(*all_right(40), TREE)
    assert forty.notes == (
        "no threshold keeps the promise, so every answer is the root. 40 images without a wrong "
        "name show a risk of at most 7.22 %, and 59 are needed for 5 %.",
    )
    mean = MeanRiskControlled(0.05).fit(*all_right(10), TREE)
    assert "10 images without a wrong name show a mean risk of at most 9.09 %" in mean.notes[0]
    assert "19 are needed for 5 %" in mean.notes[0]
    two = RiskControlled(0.2, 0.05).fit(*all_right(30), TREE, groups=[4] * 25 + [7] * 5)
    (note,) = two.notes
    assert note.startswith("Group 7: no threshold")
    assert "52.2 %, and 17 are needed for 20 %" in note  # 1 - 0.025 ** (1 / 5)


@given(st.integers(0, 10**6))
def test_each_group_is_a_policy_of_its_own_at_a_part_of_delta(key: int) -> None:
    images = images_of(60, key)
    groups = generator("groups", key).integers(0, 3, 60) * 10
    for make, alone in (
        (lambda: RiskControlled(0.4, 0.3), lambda: RiskControlled(0.4, 0.1)),
        (lambda: MeanRiskControlled(0.4), lambda: MeanRiskControlled(0.4)),
    ):
        together = make().fit(*images, TREE, groups=groups)
        named = together.decide(images.probs, TREE, groups=groups)
        for group in (0, 10, 20):
            own = groups == group
            single = alone().fit(images.probs[own], np.array(images.truth)[own], TREE)
            expected = single.decide(images.probs[own], TREE)
            np.testing.assert_array_equal(named[own], expected)


def test_a_group_without_calibration_images_is_answered_with_the_root() -> None:
    images = all_right(60)
    policy = RiskControlled(0.1, 0.1).fit(*images, TREE, groups=[3] * 60)
    assert policy.decide(images.probs[:3], TREE, groups=[3, 4, -1]).tolist() == [X, 0, 0]


def test_a_coarse_label_is_right_where_it_is_cut_at() -> None:
    images = all_right(100)
    truth = [A1] * 100  # known to a1 only, named x
    whole = RiskControlled(0.1, 0.1).fit(images.probs, truth, TREE)
    assert whole.decide(images.probs[:1], TREE).tolist() == [0]
    cut = cut_at_truth(TREE, likely_nodes(images.probs), truth)
    policy = RiskControlled(0.1, 0.1).fit(cut, truth, TREE)
    assert policy.decide(images.probs[:1], TREE).tolist() == [X]


@EVERY
def test_all_right_names_the_leaf_and_all_wrong_no_name(make: Callable[[], Policy[Any]]) -> None:
    right = make().fit(*all_right(80), TREE)
    assert right.decide(all_right(2).probs, TREE).tolist() == [X, X]
    wrong = make().fit(*all_wrong(80), TREE)
    assert wrong.decide(all_right(2).probs, TREE).tolist() == [0, 0]


@EVERY
def test_certain_and_wrong_names_leave_the_root(make: Callable[[], Policy[Any]]) -> None:
    certain = torch.tensor([[1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]]).repeat(30, 1)
    assert not make().fit(certain, [B2] * 30, TREE).decide(certain, TREE).any()


@EVERY
def test_one_image_promises_nothing(make: Callable[[], Policy[Any]]) -> None:
    policy = make().fit(*all_wrong(1), TREE)
    assert policy.decide(all_right(1).probs, TREE).tolist() == [0]


@EVERY
def test_a_tree_of_one_class(make: Callable[[], Policy[Any]]) -> None:
    tree = Taxonomy.from_edges([("root", "only")])
    probs = torch.ones(50, 2)
    assert make().fit(probs, [1] * 50, tree).decide(probs[:1], tree).tolist() == [1]


@EVERY
def test_precisions_agree_and_images_are_decided_alone(make: Callable[[], Policy[Any]]) -> None:
    images = images_of(300, 5)
    double = make().fit(*images, TREE)
    single = make().fit(images.probs.float(), images.truth, TREE)
    assert single.to_dict() == double.to_dict()
    named = double.decide(images.probs, TREE)
    assert named.dtype == np.int64
    np.testing.assert_array_equal(named, single.decide(images.probs.float(), TREE))
    alone = [int(double.decide(row[None], TREE)[0]) for row in images.probs[:40]]
    assert named[:40].tolist() == alone
    assert double.decide(images.probs[:0], TREE).shape == (0,)


@EVERY
def test_the_order_of_images_does_not_matter(make: Callable[[], Policy[Any]]) -> None:
    images = images_of(200, 6)
    order = generator("order", 0).permutation(200)
    shuffled = make().fit(images.probs[order], np.array(images.truth)[order], TREE)
    assert shuffled.to_dict() == make().fit(*images, TREE).to_dict()


@EVERY
def test_more_images_than_one_block(make: Callable[[], Policy[Any]]) -> None:
    images = images_of(200, 7)
    many = Images(images.probs.repeat(11, 1), images.truth * 11)
    policy = make().fit(*many, TREE)
    named = policy.decide(many.probs, TREE)
    assert named.tolist() == policy.decide(images.probs, TREE).tolist() * 11


@EVERY
def test_a_policy_comes_back_from_json_and_yaml(make: Callable[[], Policy[Any]]) -> None:
    images = images_of(120, 8)
    policy = make().fit(*images, TREE)
    for values in (
        json.loads(json.dumps(policy.to_dict())),
        yaml.safe_load(yaml.dump(policy.to_dict())),
    ):
        again = policy_from_dict(values)
        assert type(again) is type(policy)
        assert again.to_dict() == policy.to_dict()
        assert (
            again.decide(images.probs, TREE).tolist() == policy.decide(images.probs, TREE).tolist()
        )


def test_groups_come_back_from_json() -> None:
    images = images_of(100, 9)
    groups = np.repeat([-1, 5], 50)
    policy = MeanRiskControlled(0.4).fit(*images, TREE, groups=groups)
    again = MeanRiskControlled.from_dict(json.loads(json.dumps(policy.to_dict())))
    named = policy.decide(images.probs, TREE, groups=groups)
    np.testing.assert_array_equal(again.decide(images.probs, TREE, groups=groups), named)
    assert named.any()


@EVERY
def test_wrong_use_is_refused(make: Callable[[], Policy[Any]]) -> None:
    images = all_right(3)
    policy = make()
    with pytest.raises(ConfigError, match="is not fitted: call fit first"):
        policy.decide(images.probs, TREE)
    with pytest.raises(ConfigError, match="is not fitted: call fit first"):
        policy.to_dict()
    with pytest.raises(DataError, match="no calibration images"):
        policy.fit(images.probs[:0], np.empty(0, np.int64), TREE)
    with pytest.raises(DataError, match="each of 3 images"):
        policy.fit(images.probs, [X], TREE)
    with pytest.raises(DataError, match=r"\(B, 9\), one column a node, got torch.float64"):
        policy.fit(images.probs[:, :4], images.truth, TREE)
    with pytest.raises(DataError, match=r"P\(root\) = 1"):
        policy.fit(images.probs * 0.5, images.truth, TREE)
    for bad in (float("nan"), 1.5, -0.5):
        probs = images.probs.clone()
        probs[1, Y] = bad
        with pytest.raises(DataError, match=r"in \[0, 1\], got values from"):
            policy.fit(probs, images.truth, TREE)
    assert policy.fit(*images, TREE) is policy
    with pytest.raises(ConfigError, match="is fitted already"):
        policy.fit(*images, TREE)
    other = Taxonomy.from_edges([("root", "a"), ("root", "b")])
    with pytest.raises(DataError, match="was fitted to the taxonomy"):
        policy.decide(torch.ones(1, 3), other)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_shares_outside_are_refused(share: float) -> None:
    for make in (
        lambda: RiskControlled(share, 0.1),
        lambda: RiskControlled(0.1, share),
        lambda: MeanRiskControlled(share),
        lambda: Climbing(share),
        lambda: InformationGain(share),
        lambda: LeafSets(share),
    ):
        with pytest.raises(ConfigError, match=r"in \(0, 1\)"):
            make()


def test_groups_that_do_not_fit_are_refused() -> None:
    images = all_right(4)
    for groups in ([1, 2], [0.5] * 4, [[1], [1], [1], [1]]):
        with pytest.raises(DataError, match="one group for each of 4 images"):
            RiskControlled(0.1, 0.1).fit(*images, TREE, groups=groups)
    grouped = RiskControlled(0.1, 0.1).fit(*images, TREE, groups=[1] * 4)
    with pytest.raises(ConfigError, match="fitted with, and asked without"):
        grouped.decide(images.probs, TREE)
    with pytest.raises(ConfigError, match="fitted without, and asked with"):
        MeanRiskControlled(0.1).fit(*images, TREE).decide(images.probs, TREE, groups=[1] * 4)
    with pytest.raises(ConfigError, match="'photos' or 'names'"):
        RiskControlled(0.1, 0.1, among="all")  # type: ignore[arg-type]


def test_thresholds_of_ranks() -> None:
    """Nodes: 1 Acer, 2 Tilia, 3 A. mono, 4 A. rubrum."""
    probs = torch.tensor(
        [
            [1.0, 0.95, 0.05, 0.9, 0.05],
            [1.0, 0.95, 0.05, 0.8, 0.15],
            [1.0, 0.6, 0.4, 0.6, 0.0],
            [1.0, 0.2, 0.8, 0.2, 0.0],
        ]
    )
    truth = [3, 3, 3, 2]
    policy = RankThresholds({"genus": 0.7, "species": 0.9}).fit(probs, truth, RANKED)
    assert policy.decide(probs, RANKED).tolist() == [3, 1, 0, 2]
    species = RankThresholds({"species": 0.5}).fit(probs, truth, RANKED)
    assert species.decide(probs, RANKED).tolist() == [3, 3, 3, 0]
    assert policy_from_dict(json.loads(json.dumps(policy.to_dict()))).decide(
        probs, RANKED
    ).tolist() == [3, 1, 0, 2]
    with pytest.raises(TaxonomyError, match=r"no rank 'specis'\. Did you mean 'species'"):
        RankThresholds({"specis": 0.5}).fit(probs, truth, RANKED)
    with pytest.raises(ConfigError, match=r"threshold of 'genus' in \[0.5, 1\], got 0.4"):
        RankThresholds({"genus": 0.4})
    with pytest.raises(ConfigError, match="at least one rank"):
        RankThresholds({})


def test_stored_values_that_are_no_policy_are_refused() -> None:
    stored = Climbing(0.2).fit(*all_right(9), TREE).to_dict()
    with pytest.raises(ConfigError, match="Did you mean 'climbing'"):
        policy_from_dict({**stored, "policy": "climbin"})
    with pytest.raises(ConfigError, match="Expected a stored policy 'leaf_sets'"):
        LeafSets.from_dict(stored)
    negative = {**stored["found"], "threshold_prob": -1}
    for broken in (
        {**stored, "found": negative},
        {**stored, "found": None},
        {**stored, "beta": 1},
        {**stored, "alpha": 3},
    ):
        with pytest.raises(ConfigError):
            policy_from_dict(broken)
    with pytest.raises(DataError, match=r"likely nodes in 0\.\.4, got"):
        RiskControlled(0.1, 0.1).fit(likely_nodes(all_right(1).probs), [1], RANKED)
