"""What all decision policies have in common: fitted once, to one taxonomy, and storable."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

import torch
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taxonet.errors import ConfigError, DataError
from taxonet.inference.decision.likely import IntArray
from taxonet.registry import POLICIES
from taxonet.taxonomy import Taxonomy

#: What a stored policy may hold.
Images = Annotated[int, Field(ge=1)]
Prob = Annotated[float, Field(ge=0, le=1)]


class Found(BaseModel):
    """What a policy found on calibration images.

    Attributes:
        taxonomy: Digest of the taxonomy whose nodes it names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    taxonomy: str


FoundT = TypeVar("FoundT", bound=Found)


class Policy(ABC, Generic[FoundT]):
    """Decides which node of a taxonomy to name for an image; 0, the root, names nothing.

    A policy is fitted once: what it promises holds for images that it was not chosen with, and a
    policy that learnt again could be chosen with anything.

    Attributes:
        kind: Its name in stored policies.
        looks_from_prob: Nodes of a smaller probability make no difference to what it decides.
    """

    kind: ClassVar[str]
    looks_from_prob: ClassVar[float] = 0.0
    _found_model: ClassVar[type[Found]]

    def __init__(self) -> None:
        self._found: FoundT | None = None

    @abstractmethod
    def fit(self, node_probs: torch.Tensor, target_nodes: ArrayLike, taxonomy: Taxonomy) -> Self:
        """Learn from calibration images, which were not trained on, and return the policy."""

    @abstractmethod
    def decide(self, node_probs: torch.Tensor, taxonomy: Taxonomy) -> IntArray:
        """Return the node to name for each image, int64 ``(B,)``; 0 names nothing."""

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Return what the policy was made with, by name."""

    @property
    def is_about_names(self) -> bool:
        """Whether the promise is about the images that get a name, and not about all."""
        return False

    @property
    @abstractmethod
    def promise(self) -> str:
        """What holds for images like the calibration images, in a few words."""

    @property
    def found(self) -> FoundT:
        """What was found on the calibration images.

        Raises:
            ConfigError: The policy is not fitted.
        """
        if self._found is None:
            raise ConfigError(f"This {type(self).__name__} is not fitted: call fit first.")
        return self._found

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted policy as plain values, for JSON or YAML.

        Raises:
            ConfigError: The policy is not fitted.
        """
        found = self.found.model_dump(mode="json")
        return {"policy": self.kind, **self.options(), "found": found}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the fitted policy that `to_dict` described.

        Raises:
            ConfigError: The values describe another policy, or none.
        """
        if values.get("policy") != cls.kind:
            raise ConfigError(
                f"Expected a stored policy {cls.kind!r}, got {values.get('policy')!r}: read it "
                "with policy_from_dict."
            )
        options = {key: values[key] for key in values if key not in ("policy", "found")}
        options = POLICIES.check(cls.kind, options)
        try:
            policy = cls(**options)
            found = cls._found_model.model_validate(values.get("found"))
        except (TypeError, ValidationError) as error:
            raise ConfigError(f"This is no stored policy {cls.kind!r}: {error}") from error
        policy._found = found  # type: ignore[assignment]  # the model of this very class
        return policy

    def _unfitted(self) -> None:
        """Raise a ConfigError if the policy has been fitted."""
        if self._found is not None:
            raise ConfigError(
                f"This {type(self).__name__} is fitted already and stays as it is: make a new one."
            )

    def _found_for(self, taxonomy: Taxonomy) -> FoundT:
        """Return what was found, for the taxonomy it was found on."""
        if self.found.taxonomy != taxonomy.digest:
            raise DataError(
                f"This {type(self).__name__} was fitted to the taxonomy {self.found.taxonomy[:12]}"
                f"..., but is asked about {taxonomy.digest[:12]}... ({taxonomy!r}): fit it on "
                "calibration images of this one."
            )
        return self.found
