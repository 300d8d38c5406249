"""Train full-length rows of the papers' CIFAR-100-LT tables on one GPU, many at once.

    python -m benchmarks.gpu_long_tail --data DATA --out OUT --minutes 9

One small network leaves a GPU idle. So every row has a stream of its own, its whole step is one
CUDA graph, and the rows' steps take turns; augmentation runs on the device, an epoch at a time.
OUT/records.jsonl gets a record as each row ends. `--minutes` ends a call between two epochs with a
checkpoint of every row, from which the same call goes on; `--previous` takes them from elsewhere.

SMART's steps cannot be captured and are bound by the host: they come after the others, or at the
same time from a second process with `--rows SMART "BSCE + SMART"` and an OUT of its own.
On a CPU the same steps are launched one by one; `--fraction` squeezes the schedule.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.gpu_capture import synchronise
from benchmarks.gpu_data import DeviceImages, open_cifar100_lt
from benchmarks.gpu_records import (
    Provenance,
    RunFolder,
    figures_of,
    record_of,
    stage_figures,
)
from benchmarks.gpu_rows import ROWS, Row, recipe_of
from benchmarks.gpu_stages import stage_correct
from benchmarks.gpu_training import ComputeOptions, Precision, RowTraining
from benchmarks.gpu_transfer import TransferTraining

_EPOCHS_BETWEEN_LINES = 10


@dataclass(frozen=True)
class Settings:
    """What a call trains, and when it stops.

    Attributes:
        jobs: Rows and seeds in the order of their start.
        epochs: Length of the squeezed schedule; None leaves each recipe its own.
        fraction: The same as a share of the recipe's own; it goes before ``epochs``.
        at_once: Rows that share the device.
        test_every: Epochs from one look at the test images to the next; the last is looked at.
        stop_at: Reading of `time.monotonic` by which to end, or None.
        checkpoint_seconds: Time between checkpoints.
        commit: What to say in the records; None asks git.
        compute: Precision, layout, graphs.
    """

    jobs: Sequence[tuple[Row, int]]
    epochs: int | None = None
    fraction: float | None = None
    at_once: int = 6
    test_every: int = 1
    stop_at: float | None = None
    checkpoint_seconds: float = 60.0
    commit: str | None = None
    compute: ComputeOptions = field(default_factory=ComputeOptions)


class Run:
    """Trains the rows of a call, those that can be captured first.

    Args:
        images: What to train on and judge by.
        folder: Records and checkpoints.
        settings: Which rows, how and how long.
    """

    def __init__(self, images: DeviceImages, folder: RunFolder, settings: Settings) -> None:
        self.images, self.folder, self.settings = images, folder, settings
        self.provenance = Provenance.of(images.device, commit=settings.commit)
        self._saved_at = time.monotonic()

    def go(self) -> bool:
        """Train until all is done, or the time is up; say whether all is done."""
        kinds: dict[type[RowTraining], list[tuple[Row, int]]] = {
            RowTraining: [],
            TransferTraining: [],
        }
        for row, seed in self._missing():
            transfers = recipe_of(row, seed=seed).transfer is not None
            kinds[TransferTraining if transfers else RowTraining].append((row, seed))
        return all(self._train(kind, jobs) for kind, jobs in kinds.items())

    def _missing(self) -> list[tuple[Row, int]]:
        there = {(one["row"], one["seed"], one["epochs"]) for one in self.folder.records()}
        return [
            (row, seed)
            for row, seed in self.settings.jobs
            if (row.name, seed, self._epochs(row)) not in there
        ]

    def _epochs(self, row: Row) -> int:
        full = recipe_of(row, seed=0).epochs
        if self.settings.fraction is not None:
            return max(1, round(self.settings.fraction * full))
        return self.settings.epochs or full

    def _train(self, kind: type[RowTraining], jobs: Sequence[tuple[Row, int]]) -> bool:
        waiting = list(jobs)
        active: list[tuple[Row, RowTraining]] = []
        while waiting or active:
            while waiting and len(active) < self.settings.at_once:
                row, seed = waiting.pop(0)
                active.append((row, self._start(kind, row, seed)))
            seconds = self._epoch([training for _, training in active])
            active = [(row, one) for row, one in active if not self._ended(row, one, len(active))]
            if self._time_is_up(seconds):
                self._save([training for _, training in active])
                return not (waiting or active)
            if time.monotonic() - self._saved_at > self.settings.checkpoint_seconds:
                self._save([training for _, training in active])
        return True

    def _start(self, kind: type[RowTraining], row: Row, seed: int) -> RowTraining:
        recipe = recipe_of(row, seed=seed, epochs=self._epochs(row))
        training = kind(row.name, recipe, self.images, self.settings.compute)
        self.folder.restore(training)
        _say(f"{row.name}, seed {seed}: from epoch {training.epoch + 1} of {recipe.epochs}")
        return training

    def _epoch(self, active: Sequence[RowTraining]) -> float:
        """Train all rows by an epoch, step by step in turns, and return how long it took."""
        start = time.monotonic()
        for training in active:
            training.start_epoch()
        for step in range(max(training.steps for training in active)):
            for training in active:
                if step < training.steps:
                    training.advance(step)
        for training in active:
            number = training.epoch + 1
            last = number == training.recipe.epochs
            training.test(judged=last or number % self.settings.test_every == 0)
        synchronise(self.images.device)
        seconds = time.monotonic() - start
        for training in active:
            training.seconds += seconds
        return seconds

    def _ended(self, row: Row, training: RowTraining, at_once: int) -> bool:
        """Say whether a row is done; write its records if so."""
        done = training.epoch == training.recipe.epochs
        finite = math.isfinite(float(training.loss_sum))
        right = int(training.correct[training.epoch - 1].sum()) / len(self.images.test_targets)
        if done or training.epoch % _EPOCHS_BETWEEN_LINES == 0:
            _say(
                f"{row.name}, seed {training.recipe.seed}: epoch {training.epoch}, "
                f"{training.seconds:.0f} s, test top-1 {right:.4f}"
            )
        if not (done or not finite):
            return False
        names = [row.name, *(name for name, _ in row.stages)]
        records = [
            record_of(
                name,
                training,
                full_epochs=recipe_of(row, seed=0).epochs,
                at_once=at_once,
                provenance=self.provenance,
            )
            for name in names
        ]
        if not finite:
            failed = f"the loss was not finite in epoch {training.epoch}"
            self.folder.finish(training, [records[0] | {"failed": failed}])
            return True
        records[0] |= {"recipe": row.recipe} | figures_of(training, self.images)
        for record, (_, recipe) in zip(records[1:], row.stages, strict=True):
            correct = stage_correct(training, recipe)
            record |= {"recipe": recipe, "on": row.name} | stage_figures(correct, self.images)
        self.folder.finish(training, records)
        return True

    def _time_is_up(self, epoch_seconds: float) -> bool:
        stop_at = self.settings.stop_at
        return stop_at is not None and time.monotonic() + epoch_seconds >= stop_at

    def _save(self, active: Sequence[RowTraining]) -> None:
        for training in active:
            self.folder.save(training)
        self._saved_at = time.monotonic()


def main() -> None:
    start = time.monotonic()
    options = _parser().parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision: Precision = options.precision or ("tf32" if device.type == "cuda" else "float32")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    settings = Settings(
        jobs=[(ROWS[name], seed) for seed in options.seed for name in options.rows],
        epochs=options.epochs,
        fraction=options.fraction,
        at_once=options.at_once,
        test_every=options.test_every,
        stop_at=None if options.minutes is None else start + 60 * options.minutes,
        commit=options.commit,
        compute=ComputeOptions(
            precision=precision, layout=options.layout, graphs=not options.no_graphs
        ),
    )
    folder = RunFolder(options.out, options.previous)
    done = Run(open_cifar100_lt(options.data, device=device), folder, settings).go()
    _say("all rows are done" if done else "time is up; the same call goes on from here")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-100(-LT)")
    parser.add_argument("--out", type=Path, required=True, help="records and checkpoints")
    parser.add_argument("--previous", type=Path, help="copy those of an earlier call first")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="one or several")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, help="squeeze the schedule into so many epochs")
    length.add_argument("--fraction", type=float, help="squeeze it to this share of its epochs")
    parser.add_argument("--minutes", type=float, help="stop after about so long")
    parser.add_argument("--at-once", type=int, default=6, help="rows that share the device")
    parser.add_argument("--test-every", type=int, default=1, help="epochs between tests")
    parser.add_argument("--precision", choices=["float32", "tf32", "bf16"])
    parser.add_argument(
        "--layout", choices=["channels_last", "contiguous"], default="channels_last"
    )
    parser.add_argument("--no-graphs", action="store_true", help="launch every step")
    parser.add_argument("--commit", help="commit to name in the records, where git is not at hand")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
