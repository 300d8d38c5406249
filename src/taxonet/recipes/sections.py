"""What recipes are made of: frozen sections of known keys, and parts that are chosen by name."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A frozen part of a recipe that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PartChoice(BaseModel):
    """A registered part by name; every other key is an option of that part.

    The options are checked against the part's own signature when it is built. A name alone stands
    for the part with its defaults.

    Examples:
        >>> PartChoice(name="am_softmax", margin_cos=0.2).options
        {'margin_cos': 0.2}
        >>> PartChoice.model_validate("am_softmax").name
        'am_softmax'
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="Name of the part, as `taxonet list` prints it.")

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """The part's options as given."""
        return dict(self.model_extra or {})
