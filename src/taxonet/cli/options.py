"""From a verb's config class to its command line: the fields are the options.

So names, defaults and help stand in one place, and Python and the command line cannot differ.
"""

import inspect
from collections.abc import Callable
from typing import Any, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from taxonet.errors import ConfigError
from taxonet.recipes.loading import explain


def verb(config_class: type[BaseModel], run: Callable[[Any], None]) -> Callable[..., None]:
    """Make a typer command: fields without a default are arguments, the others are options.

    Args:
        config_class: The verb's config; its docstring is the verb's help.
        run: What the verb does with a valid config.
    """

    def command(**given: Any) -> None:
        # Typer hands over every option. What has the default counts as not given, since a config
        # may ask which of its fields were set.
        fields = config_class.model_fields
        chosen = {name: value for name, value in given.items() if _is_given(fields[name], value)}
        try:
            config = config_class.model_validate(chosen)
        except ValidationError as error:
            raise ConfigError(explain(error, config_class, what="the command line")) from None
        run(config)

    command.__doc__ = config_class.__doc__
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # typer reads it
        [_parameter(name, field) for name, field in config_class.model_fields.items()]
    )
    return command


def _is_given(field: FieldInfo, value: Any) -> bool:
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return value not in (None, []) and value != default


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    annotation = _for_typer(field.annotation)
    help_text = field.description
    default: Any
    if field.is_required():
        default = typer.Argument(..., help=help_text, metavar=name.upper())
    else:
        default = typer.Option(
            list(field.default) if isinstance(field.default, tuple) else field.default,
            _switch(name, field),
            help=help_text,
        )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _switch(name: str, field: FieldInfo) -> str:
    """Return an option's name; a switch that is on by default gets one that turns it off."""
    dashed = name.rstrip("_").replace("_", "-")  # `from_`: Python keeps some words for itself
    return f"--{dashed}/--no-{dashed}" if field.default is True else f"--{dashed}"


def _for_typer(annotation: Any) -> Any:
    """Translate the types of a config to those that typer reads."""
    if get_origin(annotation) is tuple:
        return list[get_args(annotation)[0]]  # type: ignore[misc] # made at run time
    return annotation
