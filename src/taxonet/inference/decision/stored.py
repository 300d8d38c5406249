"""Stored policies of any kind."""

from collections.abc import Mapping
from typing import Any

from taxonet.errors import ConfigError, did_you_mean
from taxonet.inference.decision.climbing import Climbing
from taxonet.inference.decision.information_gain import InformationGain
from taxonet.inference.decision.leaf_sets import LeafSets
from taxonet.inference.decision.mean_risk import MeanRiskControlled
from taxonet.inference.decision.policy import Policy
from taxonet.inference.decision.rank_thresholds import RankThresholds
from taxonet.inference.decision.risk_control import RiskControlled

_KINDS: dict[str, type[Policy[Any]]] = {
    policy.kind: policy
    for policy in (
        RiskControlled,
        MeanRiskControlled,
        RankThresholds,
        Climbing,
        InformationGain,
        LeafSets,
    )
}


def policy_from_dict(values: Mapping[str, Any]) -> Policy[Any]:
    """Return the fitted policy that its ``to_dict`` described.

    Args:
        values: Plain values, as JSON or YAML gives them back.

    Raises:
        ConfigError: An unknown policy, or values that do not describe one.

    Examples:
        >>> stored = {"policy": "climbing", "alpha": 0.1,
        ...           "found": {"taxonomy": "5f", "images": 40, "threshold_prob": 0.75}}
        >>> policy_from_dict(stored).to_dict() == stored
        True
    """
    kind = str(values.get("policy"))
    if kind not in _KINDS:
        raise ConfigError(
            f"No policy is called {kind!r}.{did_you_mean(kind, _KINDS)} "
            f"Known: {', '.join(sorted(_KINDS))}."
        )
    return _KINDS[kind].from_dict(values)
