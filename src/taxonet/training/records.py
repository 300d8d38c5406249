"""What a run writes down as it goes: one JSON object a line, and TensorBoard when asked."""

import json
from pathlib import Path
from typing import Any, TextIO

from taxonet.errors import ConfigError
from taxonet.files import write_text


class RunLog:
    """Append records to ``log.jsonl``; every record carries the number of batches done.

    Args:
        path: The log file.
        resume_at: Batches done at the checkpoint that a run resumes from: later records were
            written by work that is done again, and are dropped. None starts a new log.
        tensorboard: Also write scalars for TensorBoard, beside the log.
        written: False writes nothing; of the processes of a run only the main one may.
    """

    def __init__(
        self,
        path: Path,
        *,
        resume_at: int | None,
        tensorboard: bool = False,
        written: bool = True,
    ) -> None:
        self._stream: TextIO | None = None
        self._board: Any = None
        if not written:
            return
        if tensorboard:
            self._board = _tensorboard_writer(path.parent / "tensorboard", resume_at=resume_at)
        kept = [] if resume_at is None else _records_until(path, resume_at)
        write_text(path, "".join(f"{json.dumps(record)}\n" for record in kept))
        self._stream = path.open("a", encoding="utf-8")

    def write(self, kind: str, *, batches: int, **values: Any) -> None:
        """Append one record and hand its numbers to TensorBoard."""
        if self._stream is None:
            return
        self._stream.write(json.dumps({"kind": kind, "batches": batches, **values}) + "\n")
        self._stream.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{kind}/{name}", value, batches)

    def close(self) -> None:
        """Finish the files."""
        if self._stream is not None:
            self._stream.close()
        if self._board is not None:
            self._board.close()


def _records_until(path: Path, batches: int) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break  # the line that the kill cut short is the last
        if record["batches"] <= batches:
            records.append(record)
    return records


def _tensorboard_writer(folder: Path, *, resume_at: int | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "TensorBoard was asked for and is not installed: pip install 'taxonet[track]'."
        ) from None
    # Events are never deleted; this hides those of the work that is done again.
    return SummaryWriter(str(folder), purge_step=None if resume_at is None else resume_at + 1)
