from pathlib import Path

import numpy as np
import pytest
import torch

from taxonet.classifier import CalibrationSource, DecisionRule, read_rule, write_rule
from taxonet.errors import ConfigError, DataError
from taxonet.inference.decision import Climbing, RiskControlled
from taxonet.taxonomy import Taxonomy
from tests.helpers import ragged_taxonomy

SOURCE = CalibrationSource(images="split.csv", split="calibration", sha256="5f")


def fitted(group_by: str | None = None) -> DecisionRule:
    tree = ragged_taxonomy()
    probs = torch.zeros(80, len(tree), dtype=torch.float64)
    probs[:, [0, 2, 4, 7]] = torch.tensor([1.0, 0.9, 0.8, 0.75], dtype=torch.float64)
    policy = RiskControlled(0.1, 0.2)
    groups = None if group_by is None else np.arange(80) % 2
    return DecisionRule(policy.fit(probs, [7] * 80, tree, groups=groups), group_by, SOURCE, "a1")


@pytest.mark.parametrize("group_by", [None, "family"])
def test_a_rule_is_read_as_it_was_written(tmp_path: Path, group_by: str | None) -> None:
    rule = fitted(group_by)
    write_rule(rule, tmp_path / "rule.yaml")
    again = read_rule(tmp_path / "rule.yaml")
    assert again.to_dict() == rule.to_dict()
    assert (again.group_by, again.source, again.probabilities) == (group_by, SOURCE, "a1")
    assert again.policy.found == rule.policy.found
    suffix = "" if group_by is None else ", for each family"
    assert again.promise == f"at most 10 % of photos wrong, with confidence 80 %{suffix}"
    assert (tmp_path / "rule.yaml").read_text(encoding="utf-8").startswith("policy: risk_contr")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("policy: [", "cannot be read as a policy"),
        ("- climbing", "holds no policy but list: expected the keys policy, its options and found"),
        ("policy: climing", "No policy is called 'climing'. Did you mean 'climbing'?"),
        ("policy: climbing\nalpha: 0.1", "This is no stored policy 'climbing'"),
        (
            "policy: climbing\nalpha: 0.1\ngroup_by: family\n"
            "found: {taxonomy: 5f, images: 4, threshold_prob: 0.5}",
            "The policy climbing has no groups: leave out group_by.",
        ),
        (
            "policy: climbing\nalpha: 0.1\ncalibrated_on: {images: 5}\n"
            "found: {taxonomy: 5f, images: 4, threshold_prob: 0.5}",
            "calibrated_on",
        ),
        (
            "policy: climbing\nalpha: 0.1\ngroup_by: 5\n"
            "found: {taxonomy: 5f, images: 4, threshold_prob: 0.5}",
            "group_by must be text, got 5.",
        ),
        (
            "policy: rank_thresholds\nthresholds: 0.5\nfound: {taxonomy: 5f}",
            "policy 'rank_thresholds', option 'thresholds'",
        ),
        (
            "policy: risk_controlled\nfound: {taxonomy: 5f, grouped: false, groups: {}}",
            "without groups there is the one group 0",
        ),
    ],
)
def test_what_is_no_rule_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        read_rule(path)
    assert str(path) in str(refused.value)
    assert says in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rule\.yaml cannot be read as a policy"):
        read_rule(tmp_path / "rule.yaml")


def test_a_rule_is_bound_to_its_taxonomy() -> None:
    rule = fitted()
    rule.check(ragged_taxonomy())
    other = Taxonomy.from_edges([("root", "Acer")])
    with pytest.raises(DataError, match="fit it anew with `taxonet calibrate --policy`"):
        rule.check(other)


def test_every_policy_can_be_kept() -> None:
    tree = ragged_taxonomy()
    probs = torch.zeros(9, len(tree))
    probs[:, [0, 1]] = 1.0
    rule = DecisionRule(Climbing(0.2).fit(probs, [1] * 9, tree))
    assert DecisionRule.from_dict(rule.to_dict()).to_dict() == rule.to_dict()
