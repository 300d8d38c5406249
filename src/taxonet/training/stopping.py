"""How a run ends before its end: with an error that names its cause, or because the user asked."""

import signal
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Self

from taxonet.errors import TaxonetError


class TrainingStopped(TaxonetError):  # noqa: N818 - what happened, not what is wrong
    """Training cannot go on: the message says where it stopped and what to try."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed; the run is saved and can be resumed."""


class StopRequest:
    """Notes the first Ctrl-C inside the block, so that the running batch can end.

    A second Ctrl-C stops at once, as it does without the block.

    Attributes:
        asked: Whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._in_charge = False

    def __enter__(self) -> Self:
        try:
            self._before = signal.signal(signal.SIGINT, self._note)
            self._in_charge = True
        except ValueError:  # only the main thread may hold a signal handler
            self._in_charge = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._in_charge:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)


def not_finite(*, epoch: int, batch: int, images: Sequence[str]) -> TrainingStopped:
    """Return the error for a loss that is not a number; epoch and batch count from 1."""
    return TrainingStopped(
        f"The loss is not a finite number at epoch {epoch}, batch {batch}. Its images: "
        f"{', '.join(images)}. Try a lower learning rate (--set optimiser.learning_rate=0.01), "
        "gradient clipping (--set optimiser.clip_norm=1.0), a longer warm-up (--set "
        "schedule.warmup_epochs=5), or full precision (--set precision=no)."
    )


def too_many_broken(broken: Sequence[str], *, images: int, share: float) -> TrainingStopped:
    """Return the error for more unreadable photos, by name, than the allowed share of all."""
    return TrainingStopped(
        f"{len(broken)} of {images} training photos cannot be read, more than the allowed share "
        f"of {share:.0%} (first: {', '.join(broken[:3])}). Mend or remove them (`taxonet data "
        "inspect` lists all), or raise --broken-share."
    )
