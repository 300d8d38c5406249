"""From a preset's name or a YAML file, and `key=value` overrides, to one checked recipe."""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from taxonet.errors import ConfigError, did_you_mean
from taxonet.recipes.schema import Recipe

_BASE = "quick"
"""What a recipe stands on that names no backbone."""

_OF_ONE_KIND = frozenset({"optimiser", "schedule", "mixing"})


def preset_names() -> list[str]:
    """Return the names of the recipes that come with taxonet.

    Examples:
        >>> "taxonet" in preset_names()
        True
    """
    return sorted(_names_below(resources.files("taxonet.recipes") / "presets"))


def preset_summary(name: str) -> str:
    """Return what a preset says of itself: its first line.

    Examples:
        >>> preset_summary("method/bs")
        'Balanced softmax.'
    """
    return _text_of(name).partition("\n")[0].removeprefix("# ")


def load_recipe(source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe and apply overrides such as ``loss.scale=30`` or ``selection=null``.

    Args:
        source: The name of a preset, or the path of a YAML file; or several of both, separated by
            commas, of which later ones change earlier ones: ``finetune,method/cutmix``. A file may
            start from other recipes in the same way, with the key ``extends``: a preset, a file
            relative to its own folder, or a list of them. A recipe that names no backbone stands
            on the preset ``quick``.
        overrides: ``path.to.key=value`` strings; the value is read as YAML. Of two for one key
            the later counts; otherwise their order makes no difference.

    Raises:
        ConfigError: Nothing has that name, the file is no mapping, or keys or values are wrong;
            all wrong keys come in one message.

    Examples:
        >>> load_recipe("method/dbm-ce", ["epochs=3", "loss.max_margin_rad=0.2"]).epochs
        3
        >>> load_recipe("tiny,method/dbm-ce").model.backbone
        'resnet10t'
    """
    return load_recipe_and_notes(source, overrides)[0]


def load_recipe_and_notes(
    source: str | Path, overrides: Iterable[str] = ()
) -> tuple[Recipe, tuple[str, ...]]:
    """Read a recipe as `load_recipe` does; also say which of its parts changed the backbone."""
    notes: list[str] = []
    content = _read_all(source, notes)
    if "backbone" not in (content.get("model") or {}):
        content = _merge(_base_for(content), content)
    content = _merge(content, read_overrides(overrides))
    return _checked(content, what=f"recipe {source}"), tuple(notes)


def changed_recipe(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """Return a recipe with overrides applied, as `load_recipe` takes them."""
    return _checked(_merge(recipe.model_dump(), read_overrides(overrides)), what="the recipe")


def _checked(content: Mapping[str, Any], *, what: str) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise ConfigError(explain(error, Recipe, what=what)) from None


def read_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Read ``path.to.key=value`` strings as nested mappings; values are YAML.

    Raises:
        ConfigError: A string of another form.

    Examples:
        >>> read_overrides(["loss.scale=30", "epochs=2", "loss.margin_cos=0.2"])
        {'loss': {'scale': 30, 'margin_cos': 0.2}, 'epochs': 2}
    """
    return reduce(_merge, map(_override, overrides), {})


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe as YAML that `load_recipe` reads back to an equal recipe."""
    return yaml.safe_dump(recipe.model_dump(), sort_keys=False, allow_unicode=True)


def explain(error: ValidationError, model: type[BaseModel], *, what: str) -> str:
    """Turn pydantic's complaints into one message, a line each, with the nearest known keys."""
    lines = [f"{len(error.errors())} problem(s) in {what}:"]
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        # A complaint about several keys together has no place.
        lines.append("  " + ": ".join(filter(None, (place, _complaint(problem, model)))))
    return "\n".join(lines)


def _complaint(problem: ErrorDetails, model: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(model, problem["loc"])
        hint = did_you_mean(str(problem["loc"][-1]), known)
        return f"unknown key.{hint} Known here: {', '.join(known)}."
    if problem["type"] == "missing":
        return "this key is required."
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"{problem['msg']} (got {problem['input']!r})."


def _base_for(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a recipe without a backbone stands on; its own loss has a head of its own."""
    base = _read(_BASE, [])
    if "loss" in content:
        del base["loss"]
        base["model"] = {key: value for key, value in base["model"].items() if key != "head"}
    return base


def _read_all(source: str | Path, notes: list[str]) -> dict[str, Any]:
    if "," not in str(source) or Path(source).is_file():
        return _read(source, notes)
    parts = [part.strip() for part in str(source).split(",")]
    return reduce(
        lambda base, part: _merge_said(base, _read(part, notes), notes, of=part), parts, {}
    )


def _merge_said(
    base: Mapping[str, Any], change: Mapping[str, Any], notes: list[str], *, of: str
) -> dict[str, Any]:
    """Merge, and note where a later recipe changes the backbone of an earlier one."""
    old, new = (part.get("model", {}).get("backbone") for part in (base, change))
    if old is not None and new not in (None, old):
        notes.append(f"The recipe {of} changes the backbone from {old} to {new}.")
    return _merge(base, change)


def _read(source: str | Path, notes: list[str], seen: tuple[str, ...] = ()) -> dict[str, Any]:
    name = str(source) if str(source) in preset_names() else str(Path(source).resolve())
    if name in seen:
        raise ConfigError(f"Recipes extend each other in a circle: {' -> '.join((*seen, name))}.")
    try:
        content = yaml.safe_load(_text_of(source))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"Recipe {source} is not valid YAML: {error}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"Recipe {source} must be a mapping of keys, got {content!r}.")
    given = content.pop("extends", [])
    parents = [
        parent if parent in preset_names() else Path(source).parent / str(parent)
        for parent in (given if isinstance(given, list) else [given])
    ]
    base: dict[str, Any] = {}
    for parent in parents:
        base = _merge_said(base, _read(parent, notes, (*seen, name)), notes, of=str(parent))
    return _merge(base, content)


def _names_below(folder: Traversable, prefix: str = "") -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _names_below(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml")


def _text_of(source: str | Path) -> str:
    if str(source) in preset_names():
        preset = resources.files("taxonet.recipes") / "presets" / f"{source}.yaml"
        return preset.read_text(encoding="utf-8")
    path = Path(source)
    if not path.is_file():
        raise ConfigError(
            f"No recipe is called {str(source)!r}, and no such file exists."
            f"{did_you_mean(str(source), preset_names())} `taxonet list recipes` prints all."
        )
    return path.read_text(encoding="utf-8")


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        if key == "model" and isinstance(old, dict) and isinstance(value, dict):
            old = _fitting_options(old, value)
        if isinstance(old, str) and isinstance(value, dict):
            old = {"name": old}  # a part by its name alone, whose options change
        if isinstance(old, dict) and isinstance(value, dict) and not _is_another(key, old, value):
            value = _merge(old, value)
        merged[key] = value
    return merged


def _fitting_options(model: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the options of a backbone where a change names another one."""
    named = model.get("backbone")
    if named is None or change.get("backbone", named) == named:
        return model
    return {key: value for key, value in model.items() if key != "options"}


def _is_another(key: str, part: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    """Say whether a change names another part, for which the options of the old one are not meant.

    The sections in `_OF_ONE_KIND` have a name too, but the same options whatever it is.
    """
    named = part.get("name")
    return key not in _OF_ONE_KIND and named is not None and change.get("name", named) != named


def _override(text: str) -> dict[str, Any]:
    """Read ``path.to.key=value`` as nested mappings."""
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"An override reads path.to.key=value, got {text!r}.")
    try:
        change: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"The value of the override {text!r} is not YAML: {error}.") from None
    for key in reversed(keys):
        change = {key: change}
    return dict(change)


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
