"""The embedding space of a store: one for all that is in it, checked whenever it is opened."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import PositiveInt, TypeAdapter, ValidationError

from taxonet.errors import ConfigError
from taxonet.files import read_json, write_json

SPACE_FILE = "store.json"
_FORMAT = 1
_DTYPE = "float32"
_ABSENT = "nothing"


@dataclass(frozen=True)
class Space:
    """All that decides the embedding of a photo.

    Args:
        backbone: Name of the backbone. It decides too: the same weights may be read by networks
            with different activations.
        weights_sha256: Digest of the backbone's weights.
        preprocessing: How a photo becomes the backbone's input, as values that JSON can hold.
        embedding_size: Number of dimensions, d.
        options: Of the backbone, likewise; they may change what the same weights compute.
    """

    backbone: str
    weights_sha256: str
    preprocessing: dict[str, Any]
    embedding_size: PositiveInt
    options: dict[str, Any] = field(default_factory=dict)


_SPACE = TypeAdapter(Space)


def has_space(folder: Path) -> bool:
    """Return whether a folder is a store."""
    return (folder / SPACE_FILE).is_file()


def write_space(folder: Path, space: Space) -> None:
    """Make a folder the store of a space."""
    write_json(folder / SPACE_FILE, {"format": _FORMAT, "dtype": _DTYPE, **vars(space)})


def read_space(folder: Path) -> Space:
    """Return the space of a store.

    Raises:
        ConfigError: The folder is no store, or one of another format.
    """
    path = folder / SPACE_FILE
    if not has_space(folder):
        raise ConfigError(f"{folder} is no store of embeddings: it has no file {SPACE_FILE}.")
    try:
        content = read_json(path)
        written = {key: content.pop(key) for key in ("format", "dtype")}
        _require_equal(folder, written, {"format": _FORMAT, "dtype": _DTYPE})
        return _SPACE.validate_python(content)
    except ConfigError:
        raise
    # No JSON; JSON that is no object; an object that lacks a key or has one of the wrong kind.
    except (ValueError, AttributeError, TypeError, KeyError, ValidationError):
        raise ConfigError(
            f"{path} does not describe a store of embeddings: it is damaged, or of something "
            "else. Choose another folder (--features)."
        ) from None


def require_space(folder: Path, space: Space) -> None:
    """Raise a ConfigError unless a store is of this space; the message names what differs."""
    _require_equal(folder, _flat(read_space(folder)), _flat(space))


def _require_equal(folder: Path, stored: dict[str, Any], asked: dict[str, Any]) -> None:
    differences = list(_differences(stored, asked))
    if differences:
        raise ConfigError(
            f"The store {folder} holds other embeddings than these: {'; '.join(differences)}. "
            "Choose another folder (--features); this one can be kept."
        )


def _differences(stored: dict[str, Any], asked: dict[str, Any]) -> Iterator[str]:
    for key in {**stored, **asked}:
        there, here = stored.get(key, _ABSENT), asked.get(key, _ABSENT)
        if there != here:
            yield f"{key} is {there!r} in the store and {here!r} here"


def _flat(space: Space) -> dict[str, Any]:
    """Return the values by name, as JSON gives them back."""
    values = json.loads(json.dumps(vars(space)))
    for group in ("preprocessing", "options"):
        values |= {f"{group}.{key}": value for key, value in values.pop(group).items()}
    return dict(values)
