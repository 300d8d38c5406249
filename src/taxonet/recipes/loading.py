"""From a preset's name or a YAML file, and `key=value` overrides, to one checked recipe."""

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from taxonet.errors import ConfigError, did_you_mean
from taxonet.recipes.schema import Recipe


def preset_names() -> list[str]:
    """Return the names of the recipes that come with taxonet.

    Example:
        >>> "taxonet" in preset_names()
        True
    """
    folder = resources.files("taxonet.recipes") / "presets"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe and apply overrides such as ``loss.scale=30`` or ``selection=null``.

    Args:
        source: The name of a preset, or the path of a YAML file. A file may start from another
            recipe with the key ``extends``.
        overrides: ``path.to.key=value`` strings; the value is read as YAML.

    Raises:
        ConfigError: Nothing has that name, the file is no mapping, or keys or values are wrong;
            all wrong keys come in one message.

    Example:
        >>> load_recipe("taxonet", ["epochs=3", "loss.base_margin_cos=0.2"]).epochs
        3
    """
    content = _read(source)
    for override in overrides:
        _apply(content, override)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise ConfigError(explain(error, Recipe, what=f"recipe {source}")) from None


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe as YAML that `load_recipe` reads back to an equal recipe."""
    return yaml.safe_dump(recipe.model_dump(), sort_keys=False, allow_unicode=True)


def explain(error: ValidationError, model: type[BaseModel], *, what: str) -> str:
    """Turn pydantic's complaints into one message, a line each, with the nearest known keys."""
    lines = [f"{len(error.errors())} problem(s) in {what}:"]
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _keys_beside(model, problem["loc"])
            hint = did_you_mean(str(problem["loc"][-1]), known)
            lines.append(f"  {place}: unknown key.{hint} Known here: {', '.join(known)}.")
        else:
            lines.append(f"  {place}: {problem['msg']} (got {problem['input']!r}).")
    return "\n".join(lines)


def _read(source: str | Path, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    if str(source) in seen:
        raise ConfigError(f"Recipes extend each other in a circle: {' -> '.join(seen)}.")
    text = _text_of(source)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"Recipe {source} is not valid YAML: {error}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"Recipe {source} must be a mapping of keys, got {content!r}.")
    parent = content.pop("extends", None)
    if parent is None:
        return content
    return _merge(_read(parent, (*seen, str(source))), content)


def _text_of(source: str | Path) -> str:
    if str(source) in preset_names():
        preset = resources.files("taxonet.recipes") / "presets" / f"{source}.yaml"
        return preset.read_text(encoding="utf-8")
    path = Path(source)
    if not path.is_file():
        raise ConfigError(
            f"No recipe is called {str(source)!r}, and no such file exists."
            f"{did_you_mean(str(source), preset_names())} Presets: {', '.join(preset_names())}."
        )
    return path.read_text(encoding="utf-8")


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            # Another part has other options: those of the old one must not leak into it.
            same_part = value.get("name", old.get("name")) == old.get("name")
            merged[key] = _merge(old, value) if same_part else value
        else:
            merged[key] = value
    return merged


def _apply(content: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"An override reads path.to.key=value, got {override!r}.")
    change: Any = yaml.safe_load(text)
    for key in reversed(keys):
        change = {key: change}
    merged = _merge(content, change)
    content.clear()
    content.update(merged)


def _keys_beside(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the section which holds ``location`` knows."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        inner = _section_in(field.annotation) if field else None
        if inner is None:
            break
        model = inner
    return list(model.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    for option in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None
