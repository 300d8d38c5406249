"""Parts by name: what `taxonet list` prints and what a recipe may ask for.

A part registers itself with a decorator. Its options are the parameters of its constructor that
are keyword-only or have a default, so that the signature is the one place where a name, a type
and a default stand; what the caller holds comes before them.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from taxonet.errors import ConfigError, did_you_mean

Part = TypeVar("Part")
Kind = TypeVar("Kind", bound=Callable[..., Any])


@dataclass
class Registry(Generic[Part]):
    """The parts of one kind, by name.

    Args:
        kind: What the parts are, for messages: ``"loss"``, ``"head"``.

    Examples:
        >>> shapes = Registry("shape")
        >>> @shapes.register("square")
        ... class Square:
        ...     def __init__(self, *, side: float = 1.0) -> None:
        ...         self.side = side
        >>> shapes.build("square", {"side": 2}).side
        2.0
        >>> shapes.build("squar", {})
        Traceback (most recent call last):
        ...
        taxonet.errors.ConfigError: No shape is called 'squar'. Did you mean 'square'? Known: \
square.
    """

    kind: str
    _parts: dict[str, Callable[..., Part]] = field(default_factory=dict)

    def register(self, name: str) -> Callable[[Kind], Kind]:
        """Return a decorator that files a class or function under ``name``, once."""

        def file(part: Kind) -> Kind:
            if name in self._parts:
                raise ConfigError(f"Two parts want to be the {self.kind} {name!r}.")
            self._parts[name] = part
            return part

        return file

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._parts)

    def get(self, name: str) -> Callable[..., Part]:
        """Return the part of that name.

        Raises:
            ConfigError: No part has the name; the message gives the nearest and all others.
        """
        if name not in self._parts:
            raise ConfigError(
                f"No {self.kind} is called {name!r}.{did_you_mean(name, self._parts)} "
                f"Known: {', '.join(self.names())}."
            )
        return self._parts[name]

    def options(self, name: str) -> type[BaseModel]:
        """Return the options of a part as a strict pydantic model, made from its signature."""
        part = self.get(name)
        maker = part.__init__ if inspect.isclass(part) else part
        hints = get_type_hints(maker)
        fields: dict[str, Any] = {
            option.name: (
                hints.get(option.name, Any),
                ... if option.default is inspect.Parameter.empty else option.default,
            )
            for option in inspect.signature(maker).parameters.values()
            if _is_option(option)
        }
        return create_model(f"{name}_options", __config__=ConfigDict(extra="forbid"), **fields)

    def check(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Validate the options of a part and return them complete with their defaults.

        Raises:
            ConfigError: Every wrong option at once, each with what it should be.
        """
        model = self.options(name)
        try:
            return dict(model.model_validate(dict(options)))
        except ValidationError as error:
            raise ConfigError("\n".join(self._complaints(name, model, error))) from None

    def build(self, name: str, options: Mapping[str, Any], *given: Any) -> Part:
        """Make a part from what the caller holds (``given``) and what the user chose."""
        return self.get(name)(*given, **self.check(name, options))

    def _complaints(self, name: str, model: type[BaseModel], error: ValidationError) -> list[str]:
        known = list(model.model_fields)
        lines = []
        for problem in error.errors():
            option = str(problem["loc"][0]) if problem["loc"] else name
            if problem["type"] == "extra_forbidden":
                allowed = ", ".join(known) or "none"
                lines.append(
                    f"The {self.kind} {name!r} has no option {option!r}."
                    f"{did_you_mean(option, known)} Options: {allowed}."
                )
            else:
                lines.append(
                    f"{self.kind} {name!r}, option {option!r}: {problem['msg']} "
                    f"(got {problem['input']!r})."
                )
        return lines


def _is_option(parameter: inspect.Parameter) -> bool:
    return (
        parameter.kind is inspect.Parameter.KEYWORD_ONLY
        or parameter.default is not inspect.Parameter.empty
    )


LOSSES: Registry[Any] = Registry("loss")
CONTRASTIVE_LOSSES: Registry[Any] = Registry("contrastive loss")
EXPERT_LOSSES: Registry[Any] = Registry("loss of experts")
HIERARCHICAL_LOSSES: Registry[Any] = Registry("hierarchical loss")
HEADS: Registry[Any] = Registry("head")
ADAPTERS: Registry[Any] = Registry("adapter")
TRANSFORMS: Registry[Any] = Registry("transform")
SAMPLERS: Registry[Any] = Registry("sampler")
NOVELTY_SCORES: Registry[Any] = Registry("novelty score")
FITTED_NOVELTY_SCORES: Registry[Any] = Registry("fitted novelty score")
POLICIES: Registry[Any] = Registry("policy")
SECOND_STAGES: Registry[Any] = Registry("second stage")
BENCHMARK_SETS: Registry[Any] = Registry("benchmark set")
ROLLUPS: Registry[Any] = Registry("rollup")
