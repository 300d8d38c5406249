"""Rows on disk that a killed run goes on from."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from taxonet.classifier.rows import Row
from taxonet.errors import ConfigError, DataError
from taxonet.files import readable_path, write_text


class Spool:
    """The rows of a run as JSON lines in ``<out>.partial``, below a line that says what made them.

    `check` first, then `begin` or `go_on`; then write within a ``with`` block.

    Args:
        out: The file that the rows are for.

    Attributes:
        done: Rows that an earlier, interrupted run wrote.

    Examples:
        >>> import tempfile
        >>> spool = Spool(Path(tempfile.mkdtemp()) / "rows.csv")
        >>> spool.begin({"top_k": 1})
        >>> with spool:
        ...     spool.write({"image": "a.jpg"})
        >>> spool.go_on({"top_k": 1}, batch_size=1)
        >>> spool.done, list(spool.skip_done(["a.jpg", "b.jpg"]))
        (1, ['b.jpg'])
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._path = out.with_name(out.name + ".partial")
        self._stream: TextIO | None = None
        self.done = 0

    def check(self, *, resume: bool) -> None:
        """Refuse what cannot be, before anything slow is done.

        Raises:
            ConfigError: The output or rows of another run are there and ``resume`` was not asked
                for; or it was, and there are none.
        """
        if resume:
            if not self._path.exists() and self._out.exists():
                raise ConfigError(f"There is nothing to resume: {self._out} is complete.")
            if not self._path.exists():
                raise ConfigError(
                    f"There is nothing to resume: {self._path} does not exist. Run without "
                    "--resume."
                )
        # Before the output: a run that was killed after writing it left both.
        elif self._holds_rows():
            raise ConfigError(
                f"{self._path} holds the rows of an interrupted run. Add --resume to go on with "
                "it, or remove it."
            )
        elif self._out.exists():
            raise ConfigError(f"{self._out} exists already. Remove it or choose another --out.")

    def begin(self, header: Mapping[str, Any]) -> None:
        """Start without rows.

        Args:
            header: What decides the rows, as JSON holds it; a resume must have the same.
        """
        write_text(self._path, json.dumps(header) + "\n")

    def go_on(self, header: Mapping[str, Any], *, batch_size: int) -> None:
        """Keep the rows of the batches that are there whole.

        Then every image is in the batch that it would have been in without the interruption, and
        its row is the same to the last bit.

        Raises:
            DataError: Something else made the rows, or the file is damaged.
        """
        self._check_header(header)
        self._drop_torn_batch(batch_size)
        self.done = sum(1 for _ in self.rows())

    def __enter__(self) -> Self:
        # A line at a time: what a kill loses is then not more than the row it falls into.
        self._stream = self._path.open("a", encoding="utf-8", buffering=1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, row: Row) -> None:
        """Append one row."""
        assert self._stream is not None, "rows are written inside a `with` block"
        self._stream.write(json.dumps(row) + "\n")

    def rows(self) -> Iterator[Row]:
        """Read all rows from the disk, one at a time.

        Raises:
            DataError: A line is damaged.
        """
        with self._path.open(encoding="utf-8", errors="replace") as stream:
            next(stream)
            for number, line in enumerate(stream, start=2):
                yield self._parsed(line, number)

    def skip_done(self, photos: Iterable[str]) -> Iterator[str]:
        """Yield the photos that have no row yet; those that have must be the first, in order.

        Raises:
            DataError: The list of photos changed since the rows were written.
        """
        photos = iter(photos)
        for row in islice(self.rows(), self.done):
            photo = next(photos, None)
            if photo is None or readable_path(photo) != row["image"]:
                raise DataError(
                    f"{self._path} has a row for {row['image']!r}, but the photos now have "
                    f"{photo!r} in its place: the list of photos changed. Remove {self._path} and "
                    "start again without --resume."
                )
        yield from photos

    def remove(self) -> None:
        """Delete the spool once the finished file is there."""
        self._path.unlink()

    def _holds_rows(self) -> bool:
        if not self._path.exists():
            return False
        with self._path.open("rb") as stream:
            return len(list(islice(stream, 2))) == 2

    def _check_header(self, header: Mapping[str, Any]) -> None:
        with self._path.open(encoding="utf-8", errors="replace") as stream:
            found = self._parsed(stream.readline(), 1)
        different = [key for key in header if found.get(key) != header[key]]
        if different:
            raise DataError(
                f"{self._path} was made with another {', '.join(different)} than this run has. "
                "Resume with the same classifier and options, or remove it and start again."
            )

    def _drop_torn_batch(self, batch_size: int) -> None:
        """Cut off the batch that a kill left unfinished, be it within a line."""
        with self._path.open("rb+") as stream:
            end = whole = len(stream.readline())
            for number, line in enumerate(stream, start=1):
                end += len(line)
                if number % batch_size == 0 and line.endswith(b"\n"):
                    whole = end
            stream.truncate(whole)

    def _parsed(self, line: str, number: int) -> dict[str, Any]:
        try:
            content = json.loads(line)
        except json.JSONDecodeError:
            content = None
        if not isinstance(content, dict):
            raise DataError(
                f"Line {number} of {self._path} is damaged. Remove it and start again without "
                "--resume."
            )
        return content
