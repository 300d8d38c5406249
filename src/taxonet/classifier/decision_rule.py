"""A fitted decision policy as a file: the policy, its groups, and the photos it was fitted to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError

from taxonet.classifier.settings import CalibrationSource
from taxonet.errors import ConfigError, DataError
from taxonet.files import write_text
from taxonet.inference.decision import Policy, ThresholdPolicy, policy_from_dict
from taxonet.recipes import explain
from taxonet.taxonomy import Taxonomy

_GROUP_BY, _SOURCE, _PROBABILITIES = "group_by", "calibrated_on", "probabilities"


@dataclass(frozen=True)
class DecisionRule:
    """Which node is named, as a policy found it on calibration photos.

    Examples:
        >>> stored = {"policy": "climbing", "alpha": 0.1,
        ...           "found": {"taxonomy": "5f", "images": 40, "threshold_prob": 0.75}}
        >>> rule = DecisionRule.from_dict(stored)
        >>> rule.promise
        'at most 10 % of photos wrong on average'
        >>> rule.to_dict() == stored
        True
    """

    policy: Policy[Any]
    group_by: str | None = None
    """Groups of the policy: ``shot_group`` or a rank of the most probable class."""
    source: CalibrationSource | None = None
    """The photos it was fitted to."""
    probabilities: str | None = None
    """The `fingerprint` of the classifier whose probabilities it was fitted to."""

    @property
    def promise(self) -> str:
        """What holds for photos like the calibration photos."""
        groups = "" if self.group_by is None else f", for each {self.group_by}"
        return self.policy.promise + groups

    def check(self, taxonomy: Taxonomy) -> None:
        """Raise a DataError if the policy was fitted to another taxonomy."""
        theirs = self.policy.found.taxonomy
        if theirs != taxonomy.digest:
            raise DataError(
                f"The policy {self.policy.kind} was fitted to classes whose tree has the digest "
                f"{theirs[:12]}..., but the tree here has {taxonomy.digest[:12]}... "
                f"({taxonomy!r}): fit it anew with `taxonet calibrate --policy`."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as plain values."""
        values = self.policy.to_dict()
        if self.group_by is not None:
            values[_GROUP_BY] = self.group_by
        if self.source is not None:
            values[_SOURCE] = self.source.model_dump()
        if self.probabilities is not None:
            values[_PROBABILITIES] = self.probabilities
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the rule that `to_dict` described.

        Raises:
            ConfigError: The values do not describe one.
        """
        besides = (_GROUP_BY, _SOURCE, _PROBABILITIES)
        own = {key: value for key, value in values.items() if key not in besides}
        policy, group_by = policy_from_dict(own), values.get(_GROUP_BY)
        for key in (_GROUP_BY, _PROBABILITIES):
            if not isinstance(values.get(key, ""), str):
                raise ConfigError(f"{key} must be text, got {values[key]!r}.")
        if group_by is not None and not isinstance(policy, ThresholdPolicy):
            raise ConfigError(f"The policy {policy.kind} has no groups: leave out group_by.")
        try:
            source = values.get(_SOURCE)
            return cls(
                policy,
                group_by,
                None if source is None else CalibrationSource.model_validate(source),
                values.get(_PROBABILITIES),
            )
        except ValidationError as error:
            raise ConfigError(explain(error, CalibrationSource, what=_SOURCE)) from None


def write_rule(rule: DecisionRule, path: Path) -> None:
    """Write a rule as YAML, atomically."""
    write_text(path, yaml.safe_dump(rule.to_dict(), sort_keys=False, allow_unicode=True))


def read_rule(path: Path) -> DecisionRule:
    """Read a rule.

    Raises:
        ConfigError: The file is missing, is no YAML, or describes no fitted policy.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as a policy: {error}") from None
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{path} holds no policy but {type(values).__name__}: expected the keys policy, its "
            "options and found, as `taxonet calibrate --policy` writes them."
        )
    try:
        return DecisionRule.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
