"""Stored policies of any kind."""

from collections.abc import Mapping
from typing import Any

from taxonet.inference.decision.policy import Policy
from taxonet.registry import POLICIES


def policy_from_dict(values: Mapping[str, Any]) -> Policy[Any]:
    """Return the fitted policy that its ``to_dict`` described.

    Args:
        values: Plain values, as JSON or YAML gives them back.

    Raises:
        ConfigError: An unknown policy, or values that do not describe one.

    Examples:
        >>> from taxonet.inference.decision import policy_from_dict
        >>> stored = {"policy": "climbing", "alpha": 0.1,
        ...           "found": {"taxonomy": "5f", "images": 40, "threshold_prob": 0.75}}
        >>> policy_from_dict(stored).to_dict() == stored
        True
    """
    kind: Any = POLICIES.get(str(values.get("policy")))
    policy: Policy[Any] = kind.from_dict(values)
    return policy
