import numpy as np
import pytest
import torch

from taxonet.classifier import (
    Calibration,
    DecisionRule,
    PredictedGroups,
    SpannedTree,
    naming_by_rule,
)
from taxonet.classifier.naming import Circumstances, naming_by_threshold
from taxonet.errors import ConfigError, DataError
from taxonet.inference.decision import Climbing, RiskControlled, deepest_reaching
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import class_to_node_probs
from tests.helpers import CLASS_NODES, ragged_taxonomy

WHOLE = SpannedTree.of(ragged_taxonomy(), np.array(CLASS_NODES))
TREE, NODES = WHOLE.tree, WHOLE.places(np.array(CLASS_NODES))
COUNTS = np.array([200, 50, 30, 5, 101, 19])


def drawn(images: int) -> tuple[torch.Tensor, np.ndarray]:
    """Node probabilities, and a truth that they fit most of the time."""
    rng = generator("naming", images)
    truth = rng.integers(0, 6, images)
    logits = rng.normal(0, 1, (images, 6))
    logits[np.arange(images), truth] += 3
    probs = torch.softmax(torch.from_numpy(logits), dim=1)
    return class_to_node_probs(TREE, NODES, probs), NODES[truth]


def test_groups_follow_from_the_most_probable_class() -> None:
    """Acer (node 6) is a class above another, and so never the most probable one."""
    probs = torch.zeros(4, len(TREE))
    probs[0, [1, 2]] = torch.tensor([0.6, 0.4])
    probs[1, [2, 4, 8, 7]] = torch.tensor([1.0, 0.8, 0.5, 0.3])
    probs[2, [3, 6, 9, 1]] = torch.tensor([0.9, 0.9, 0.1, 0.05])
    probs[3, [2, 5]] = torch.tensor([1.0, 0.9])
    found = {}
    for by in ("shot_group", "family", "genus"):
        groups = PredictedGroups.of(by, TREE, NODES, COUNTS)
        assert groups is not None
        assert groups.by == by
        found[by] = groups(probs).tolist()
    assert found == {
        "shot_group": [0, 0, 2, 1],  # many, many, few, medium
        "family": [1, 2, 3, 2],
        "genus": [-1, 4, 6, 5],
    }
    assert PredictedGroups.of(None, TREE, NODES, COUNTS) is None
    with pytest.raises(ConfigError, match=r"no groups by 'famly'\. Did you mean 'family'\?"):
        PredictedGroups.of("famly", TREE, NODES, COUNTS)


def test_a_threshold_names_the_deepest_node() -> None:
    probs, _ = drawn(50)
    naming = naming_by_threshold(TREE, Calibration(images=50, threshold_prob=0.7))
    expected = deepest_reaching(TREE, probs, threshold_prob=0.7)
    assert naming.decide(probs).tolist() == expected.tolist()
    assert len(set(expected.tolist())) > 5
    assert naming_by_threshold(TREE, Calibration()).promise == "none: not calibrated"


def test_a_rule_names_what_its_policy_decides_in_the_groups_of_the_prediction() -> None:
    probs, truth = drawn(400)
    groups = PredictedGroups.of("family", TREE, NODES, COUNTS)
    assert groups is not None
    policy = RiskControlled(0.05, 0.2).fit(probs, truth, TREE, groups=groups(probs))
    naming = naming_by_rule(
        DecisionRule(policy, "family"), TREE, NODES, COUNTS, novelty_threshold=None
    )
    expected = policy.decide(probs, TREE, groups=groups(probs))
    assert naming.decide(probs).tolist() == expected.tolist()
    thresholds = {kept.threshold_prob for kept in policy.found.groups.values()}
    assert len(thresholds) > 1  # else the groups would make no difference here


def test_other_probabilities_void_the_promise() -> None:
    probs, truth = drawn(60)
    by_threshold = DecisionRule(RiskControlled(0.2, 0.2).fit(probs, truth, TREE))
    by_all = DecisionRule(Climbing(0.2).fit(probs, truth, TREE))
    kept = naming_by_rule(by_threshold, TREE, NODES, COUNTS, novelty_threshold=None)
    climbing = naming_by_rule(by_all, TREE, NODES, COUNTS, novelty_threshold=None)
    some = Circumstances(some_taxa=True)
    void = "none: calibrated for all taxa"
    assert kept.under(Circumstances()).promise == by_threshold.promise
    rollup = Circumstances(rollup=True)
    assert kept.under(rollup).promise == "none: calibrated for another rollup"
    shares = Circumstances(some_taxa=True, other_shares=True)
    assert kept.under(shares).promise == "none: calibrated for other shares of taxa"
    assert kept.under(Circumstances(some_taxa=True, renormalised=True)).promise == void
    # What is left sums to less, so that names by one threshold only get coarser. But a climb may
    # start elsewhere, and a photo may come into a group of another threshold.
    assert kept.under(some).promise == by_threshold.promise
    assert climbing.under(some).promise == void
    groups = PredictedGroups.of("family", TREE, NODES, COUNTS)
    assert groups is not None
    policy = RiskControlled(0.2, 0.2).fit(probs, truth, TREE, groups=groups(probs))
    grouped = DecisionRule(policy, "family")
    naming = naming_by_rule(grouped, TREE, NODES, COUNTS, novelty_threshold=None)
    assert naming.under(some).promise == void


def test_a_rule_of_another_taxonomy_is_refused() -> None:
    probs, truth = drawn(60)
    rule = DecisionRule(RiskControlled(0.2, 0.2).fit(probs, truth, TREE))
    other = Taxonomy.from_edges([("root", "Acer"), ("root", "Tilia")])
    with pytest.raises(DataError, match="was fitted to classes whose tree has the digest"):
        naming_by_rule(rule, other, np.array([1, 2]), np.array([3, 4]), novelty_threshold=None)


def test_a_promise_about_names_is_about_all_names() -> None:
    """Photos that are too novel get no name, and so would change whose names it is about."""
    probs, truth = drawn(200)
    namings = []
    for among in ("photos", "names"):
        policy = RiskControlled(0.3, 0.3, among=among).fit(probs, truth, TREE)
        rule = DecisionRule(policy)
        namings.append(naming_by_rule(rule, TREE, NODES, COUNTS, novelty_threshold=-3.0))
    of_photos, of_names = namings
    assert (of_photos.novelty_threshold, of_names.novelty_threshold) == (-3.0, None)
    of_some = [naming.under(Circumstances(some_taxa=True)) for naming in namings]
    assert of_some[0].promise == of_photos.promise
    assert of_some[1].promise == "none: calibrated for all taxa"


def test_a_class_without_photos_below_it_can_be_climbed_from() -> None:
    """Rubus is a class, and its only species has no photo: it is a leaf of what can be named."""
    whole, nodes = ragged_taxonomy(), np.array(CLASS_NODES)
    here = SpannedTree.of(whole, nodes)
    probs = torch.zeros(20, len(whole))
    probs[:, [0, 2, 5]] = torch.tensor([1.0, 0.9, 0.9])
    policy = Climbing(0.2).fit(here.probs(probs), here.places(np.full(20, 5)), here.tree)
    naming = naming_by_rule(DecisionRule(policy), whole, nodes, COUNTS, novelty_threshold=None)
    assert set(naming.decide(probs).tolist()) == {5}
