"""Measurements as lines of JSON, which a run that was stopped goes on from."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file, oldest first; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Add a record to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")


def command_of(study: str) -> str:
    """Return the command that runs, with absolute paths cut down: they are of one machine."""
    return shlex.join(["python", "-m", f"benchmarks.{study}", *map(_portable, sys.argv[1:])])


def _portable(word: str) -> str:
    """Return a word of the command line; of an absolute path, its last two names.

    Examples:
        >>> _portable("/home/me/data/flickr5/images"), _portable("runs/a/b"), _portable("--seeds")
        ('.../flickr5/images', 'runs/a/b', '--seeds')
    """
    path = Path(word)
    return "/".join(("...", *path.parts[-2:])) if path.is_absolute() else word
