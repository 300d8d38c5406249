"""What a run leaves: a record for each finished row, a checkpoint for each unfinished one."""

import json
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_data import DeviceImages
from benchmarks.gpu_training import RowTraining
from benchmarks.records import command_of
from taxonet.files import atomic_file

_RECORDS = "records.jsonl"
_CHECKPOINT = ".checkpoint.pt"


@dataclass(frozen=True)
class Provenance:
    """What every record says of the run that made it."""

    hardware: str
    commit: str
    command: str
    torch_version: str = torch.__version__

    @classmethod
    def of(cls, device: torch.device, *, commit: str | None) -> "Provenance":
        """Look at the machine and the repository; a copy without history is told its commit."""
        name = (
            torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
        )
        command = command_of("gpu_long_tail")
        return cls(hardware=name, commit=commit or _commit(), command=command)


class RunFolder:
    """The folder of a run: ``records.jsonl``, and a checkpoint for each row that is not done.

    Args:
        path: Made where it is not there.
        previous: The folder of an earlier run that this one goes on with; it is copied first.
    """

    def __init__(self, path: Path, previous: Path | None = None) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        kept = [] if previous is None else sorted(previous.iterdir())
        for file in kept:
            if file.name == _RECORDS or file.name.endswith(_CHECKPOINT):
                shutil.copyfile(file, path / file.name)  # not its rights: it may be read-only

    def records(self) -> list[dict[str, Any]]:
        """Return the records so far."""
        path = self.path / _RECORDS
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def finish(self, training: RowTraining, records: list[dict[str, Any]]) -> None:
        """Write the records of a row and of its second stages, and drop its checkpoint."""
        lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
        with (self.path / _RECORDS).open("a", encoding="utf-8") as stream:
            stream.write(lines)
        self._checkpoint(training).unlink(missing_ok=True)

    def save(self, training: RowTraining) -> None:
        """Write the checkpoint of a row between two epochs."""
        with atomic_file(self._checkpoint(training)) as path:
            torch.save(training.state(), path)

    def restore(self, training: RowTraining) -> None:
        """Let a row go on where its checkpoint stands, if it has one."""
        path = self._checkpoint(training)
        if path.exists():
            training.load(torch.load(path, map_location="cpu", weights_only=True))

    def _checkpoint(self, training: RowTraining) -> Path:
        words = "".join(sign if sign.isalnum() else "-" for sign in training.name.lower())
        return self.path / f"{words}-seed{training.recipe.seed}{_CHECKPOINT}"


def record_of(
    name: str,
    training: RowTraining,
    *,
    full_epochs: int,
    at_once: int,
    provenance: Provenance,
) -> dict[str, Any]:
    """Return what is said of a row, or of a second stage on it, besides its figures.

    Args:
        name: The row's name in the published table.
        training: The row, or what the stage stands on.
        full_epochs: The epochs of the published schedule.
        at_once: Rows that shared the device, and so the seconds.
        provenance: Machine, versions, command.
    """
    options = training.options
    return {
        "row": name,
        "seed": training.recipe.seed,
        "epochs": training.recipe.epochs,
        "fraction_of_schedule": training.recipe.epochs / full_epochs,
        "seconds": round(training.seconds, 1),
        "rows_at_once": at_once,
        "precision": options.precision,
        "layout": options.layout if training.capturable else "channels_last",
        "cuda_graphs": training.is_captured,
        "hardware": provenance.hardware,
        "torch": provenance.torch_version,
        "commit": provenance.commit,
        "command": provenance.command,
    }


def figures_of(training: RowTraining, images: DeviceImages) -> dict[str, Any]:
    """Return the test figures of a trained row: its last epoch, and apart from it the best one.

    The best epoch was chosen by the test images themselves, so it is no estimate; papers print it.
    """
    right = training.correct.sum(1)
    best = int(right.argmax())
    return {
        "last_epoch": images.accuracies(training.correct[-1]),
        "best_epoch_on_test": {
            "top1": int(right[best]) / len(images.test_targets),
            "epoch": best + 1,
        },
        "last_epoch_mean_loss": float(training.loss_sum) / training.steps,
    }


def stage_figures(correct: Tensor, images: DeviceImages) -> dict[str, Any]:
    """Return the test figures of a second stage, which has no epochs to choose among."""
    return {"last_epoch": images.accuracies(correct), "best_epoch_on_test": None}


def _commit() -> str:
    words = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
