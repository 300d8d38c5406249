"""Progress with the time left, on standard error: a bar on a terminal, lines in a log."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

_SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Show how far a long piece of work has come and how long the rest will take.

    Args:
        description: What is being done, such as ``"training"``.
        total: How many steps there are; None where nobody can know.
        shown: False keeps silent, so that a library caller pays nothing.
        done: Steps that an earlier, interrupted run has done already.

    Examples:
        >>> with Progress("reading", 2, shown=False) as progress:
        ...     progress.advance(note="first file")
        ...     progress.done
        1
    """

    def __init__(
        self, description: str, total: int | None, *, shown: bool = True, done: int = 0
    ) -> None:
        self.description = description
        self.total = total
        self.done = done
        self._done_before = done
        self._shown = shown
        self._started = self._last_line = time.monotonic()
        self._bar: RichProgress | None = None

    def __enter__(self) -> Self:
        console = Console(stderr=True)
        if self._shown and console.is_terminal:
            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left:"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=console,
                transient=False,
            )
            self._task = self._bar.add_task(
                self.description, total=self.total, completed=self.done, note=""
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        """Count ``steps`` more as done and show ``note`` beside the bar."""
        self.done += steps
        if self._bar is not None:
            self._bar.update(self._task, advance=steps, note=note)
        elif self._shown:
            self._write_line_now_and_then(note)

    def _write_line_now_and_then(self, note: str) -> None:
        now = time.monotonic()
        if now - self._last_line < _SECONDS_BETWEEN_LINES and self.done != self.total:
            return
        self._last_line = now
        of_total = "" if self.total is None else f"/{self.total}"
        sys.stderr.write(
            f"{self.description}: {self.done}{of_total}{self._time_left(now)} {note}".rstrip()
            + "\n"
        )
        sys.stderr.flush()

    def _time_left(self, now: float) -> str:
        fresh = self.done - self._done_before
        if not self.total or fresh <= 0:
            return ""
        seconds = round((now - self._started) / fresh * (self.total - self.done))
        return f", {seconds // 60}:{seconds % 60:02d} left"
