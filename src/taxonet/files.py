"""Files that are whole or absent: atomic writes, digests, JSON."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from taxonet.errors import ConfigError


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block ends well.

    A reader sees the old file or the new one, never a part; a failed block leaves the old file.

    Args:
        path: The file to be.
        durable: Wait until the disk has it. Without, a power cut (no kill) may leave it empty;
            for thousands of small files that can be made again, the wait is most of the time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        if durable:
            _flush_to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_free(folder: Path) -> None:
    """Raise a ConfigError unless a folder can be made there, or is there and empty.

    For what a verb writes: asked before the work, and never answered by removing files.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(
            f"{folder} is there already and is no empty folder: choose another one, or remove it."
        )


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that takes its place when the block ends well.

    Args:
        path: The folder to be.
        replace: Remove what is in a folder of that name, once the new one is whole.

    Raises:
        ConfigError: Something is there, and was not to be replaced.
    """
    if not replace:
        require_free(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush_to_disk(file)
        if path.exists():
            # A folder cannot replace a non-empty one in one step: move the old one aside first.
            old = path.with_name(f".{path.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented UTF-8 JSON, atomically; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_file(path) as temporary:
        # What UTF-8 cannot hold, such as the odd bytes of a file name, becomes a JSON escape.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path) -> Any:
    """Read a UTF-8 JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def readable_path(path: str | Path) -> str:
    r"""Return a path as text that any file can hold.

    A file name is bytes, and Python stands in lone surrogates for those that are not UTF-8. No
    text file, JSON or Parquet takes these, so they become ``\\udcNN``, where NN is the byte.

    Examples:
        >>> print(readable_path("caf\udce9.jpg"))
        caf\udce9.jpg
    """
    return str(path).encode("utf-8", errors="backslashreplace").decode("utf-8")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits, reading it in pieces."""
    digest = sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
