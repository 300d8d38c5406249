"""The photos that somebody wants named: files, folders, globs, lists and standard input."""

import glob
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from taxonet.data.decoding import IMAGE_SUFFIXES
from taxonet.errors import DataError


def find_images(
    inputs: Iterable[str | Path], *, standard_input: BinaryIO | None = None
) -> Iterator[str]:
    """Yield the path of each image, one at a time and always in the same order.

    An input is one of these:

    - a folder: all photos in it, at any depth, in the order of their names; hidden ones skipped;
    - a ``.txt`` file: one path a line, relative to that file's folder, in its order;
    - a pattern with ``*``, ``?`` or ``[``, where ``**`` stands for any depth: the files that it
      matches, sorted;
    - ``-``: standard input, one path a line, relative to the working folder;
    - anything else: the file itself, whether it exists or not.

    Lines are UTF-8 and may hold commas and spaces. A file that does not exist is yielded all the
    same, so that it gets a row with the reason and not a gap.

    Args:
        inputs: What the user named.
        standard_input: Where ``-`` reads from; the process's own standard input if None.

    Raises:
        DataError: A pattern matches nothing, or a list or folder cannot be read.
    """
    for given in inputs:
        text, path = str(given), Path(given)
        if text == "-":
            yield from _lines(standard_input or sys.stdin.buffer, "standard input")
        elif path.is_dir():
            yield from _walk(path, frozenset())
        elif path.is_file() and path.suffix.lower() == ".txt":
            yield from _listed(path)
        elif glob.has_magic(text) and not path.exists():
            yield from _matches(text)
        else:
            yield text


def count_images(inputs: Iterable[str | Path], *, at_most: int = 1000) -> int | None:
    """Return how many images `find_images` would yield, counting no further than ``at_most``.

    Standard input can be read once only: with ``-`` among the inputs the number is None, not known.

    Args:
        inputs: What the user named, as for `find_images`.
        at_most: Where to stop. An input that `find_images` refuses ends the count, too: the error
            is raised when that input's turn comes.

    Examples:
        >>> count_images(["a.jpg", "b.jpg"]), count_images(["a.jpg", "-"])
        (2, None)
    """
    given = list(inputs)
    if any(str(one) == "-" for one in given):
        return None
    count = 0
    with suppress(DataError):
        for _ in islice(find_images(given), at_most):
            count += 1
    return count


def _walk(folder: Path, parents: frozenset[Path]) -> Iterator[str]:
    here = folder.resolve()
    if here in parents:  # a link back up
        return
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read: {error.strerror}.") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, parents | {here})
        elif entry.suffix.lower() in IMAGE_SUFFIXES:
            yield str(entry)


def _listed(path: Path) -> Iterator[str]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise DataError(f"The list {path} cannot be read: {error.strerror}.") from None
    with stream:
        for line in _lines(stream, str(path)):
            yield str(path.parent / line)


def _lines(stream: BinaryIO, name: str) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise DataError(
                f"Line {number} of {name} is not UTF-8: save the list as UTF-8."
            ) from None
        if text.strip():
            yield text


def _matches(pattern: str) -> Iterator[str]:
    # Path.glob would want to know which part of the pattern is the folder to start from.
    names = glob.iglob(pattern, recursive=True)  # noqa: PTH207
    found = sorted(name for name in names if Path(name).is_file())
    if not found:
        raise DataError(f"No file matches the pattern {pattern!r}.")
    yield from found
