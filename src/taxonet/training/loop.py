"""The training loop: steps, epochs, validation, checkpoints, and what happens when it is stopped.

All randomness is keyed by seed, epoch, image and view, and the learning rate is a function of the
step; so a run that is killed and resumed does the same work as one that was left alone.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from taxonet.data.loading import Batch, ImageDataset, make_loader
from taxonet.data.sampling import BatchPlan
from taxonet.errors import TaxonetError
from taxonet.progress import Progress
from taxonet.recipes import Recipe
from taxonet.seeds import seed_of
from taxonet.training.checkpoints import (
    Position,
    list_checkpoints,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from taxonet.training.objectives import ClassificationObjective, StepOutput
from taxonet.training.records import RunLog
from taxonet.training.schedule import warmup_cosine
from taxonet.training.validation import Validation

_BATCHES_BETWEEN_RECORDS = 20


class TrainingStopped(TaxonetError):  # noqa: N818 - what happened, not what is wrong
    """Training cannot go on: the message says where it stopped and what to try."""


class Interrupted(Exception):  # noqa: N818 - it is no error: the user asked for it
    """Ctrl-C was pressed; the run is saved and can be resumed."""


@dataclass(frozen=True)
class LoopSettings:
    """Where a run keeps its files and how often it saves."""

    folder: Path
    recipe_digest: str
    resume: bool = False
    workers: int = 0
    minutes_between_checkpoints: float = 5.0
    broken_share: float = 0.05
    tensorboard: bool = False
    show_progress: bool = True


class Trainer:
    """Fits an objective to a plan of batches.

    Args:
        objective: From a batch to a `StepOutput`; its ``network`` is what gets validated.
        recipe: Optimiser, schedule, epochs, precision, seed.
        plan: Which images each batch holds.
        dataset: Reads and transforms the images of a draw.
        targets: Class index of each row of the dataset's table, ``(N,)``.
        validation: Judges the network at the end of an epoch; None keeps the last epoch.
        settings: Folder, resume, workers, limits.
        accelerator: Device, precision and process group.
    """

    def __init__(
        self,
        objective: ClassificationObjective,
        *,
        recipe: Recipe,
        plan: BatchPlan,
        dataset: ImageDataset,
        targets: Tensor,
        validation: Validation | None,
        settings: LoopSettings,
        accelerator: Accelerator,
    ) -> None:
        self.recipe, self.plan, self.dataset = recipe, plan, dataset
        self.targets, self.validation, self.settings = targets, validation, settings
        self.accelerator = accelerator
        self.network = objective.network
        optimiser = _optimiser(objective, recipe)
        self.objective, self.optimiser = accelerator.prepare(objective, optimiser)
        self.position = Position()
        self._stop_asked = False

    def fit(self) -> Position:
        """Train to the end, or until stopped; the network then holds the epoch that was kept.

        Raises:
            TrainingStopped: The loss is not finite, or too many photos are unreadable.
            Interrupted: Ctrl-C; everything is saved.
        """
        resumed = self.settings.resume and bool(list_checkpoints(self._checkpoints))
        if resumed:
            self.position = load_checkpoint(
                self._checkpoints, self.accelerator, recipe_digest=self.settings.recipe_digest
            )
        self._log = RunLog(
            self.settings.folder / "log.jsonl",
            resume_at=self._batches_done if resumed else None,
            tensorboard=self.settings.tensorboard,
        )
        self._last_save = time.monotonic()
        total = self.recipe.epochs * self.plan.steps
        shown = self.settings.show_progress and self.accelerator.is_main_process
        try:
            with (
                self._ctrl_c_asks_for_a_stop(),
                Progress("training", total, shown=shown, done=self._batches_done) as progress,
            ):
                while self.position.epoch < self.recipe.epochs:
                    self._run_epoch(progress)
        finally:
            self._log.close()
        self._restore_best()
        return self.position

    @property
    def _checkpoints(self) -> Path:
        return self.settings.folder / "checkpoints"

    @property
    def _best_weights(self) -> Path:
        return self.settings.folder / "best.safetensors"

    @property
    def _batches_done(self) -> int:
        return self.position.epoch * self.plan.steps + self.position.step

    def _run_epoch(self, progress: Progress) -> None:
        self.objective.train()
        plan = self.plan.batches(self.position.epoch, self.position.step)
        for batch in make_loader(self.dataset, plan, workers=self.settings.workers):
            self._note_broken(batch)
            output = self._step(batch)
            self._count(output)
            progress.advance(note=self._note())
            self._save_or_stop_between_groups()
        self._end_epoch()

    def _save_or_stop_between_groups(self) -> None:
        # Inside a group of accumulated batches the gradients so far would be lost.
        if not self._group_is_complete(self.position.step):
            return
        if self._stop_asked:
            self._save()
            raise Interrupted
        if time.monotonic() - self._last_save > 60 * self.settings.minutes_between_checkpoints:
            self._save()

    def _step(self, batch: Batch) -> StepOutput | None:
        """Run one batch forward and back; update the weights where its group of batches ends."""
        position, recipe = self.position, self.recipe
        # BatchNorm cannot learn from one image; broken photos can leave a batch that short.
        if len(batch.rows) < 2:
            return None
        # Dropout and its like draw from torch's global stream: key that too.
        key = ("step", recipe.seed, position.epoch, position.step, self.plan.rank)
        torch.manual_seed(seed_of(*key))
        self._set_learning_rate()
        device = self.accelerator.device
        ends_group = self._group_is_complete(position.step + 1)
        with self._gradients_meet(last=ends_group), self.accelerator.autocast():
            output: StepOutput = self.objective(
                batch.images.to(device),
                self.targets[batch.rows].to(device),
                batch.tail.to(device),
                keep=recipe.batch_size,
                key=key,
            )
            if not torch.isfinite(output.loss):
                raise self._not_finite(batch)
            self.accelerator.backward(output.loss / recipe.accumulate)
        if ends_group:
            if recipe.optimiser.clip_norm is not None:
                self.accelerator.clip_grad_norm_(
                    self.objective.parameters(), recipe.optimiser.clip_norm
                )
            self.optimiser.step()
            self.optimiser.zero_grad()
        return output

    def _group_is_complete(self, batches: int) -> bool:
        """Say whether the weights move after that many; an epoch's last group may be short."""
        return batches % self.recipe.accumulate == 0 or batches == self.plan.steps

    @contextmanager
    def _gradients_meet(self, *, last: bool) -> Iterator[None]:
        """Under data parallelism, exchange gradients only at the last batch of a group."""
        if last:
            yield
        else:
            with self.accelerator.no_sync(self.objective):
                yield

    def _set_learning_rate(self) -> None:
        factor = warmup_cosine(
            self._batches_done,
            total_steps=self.recipe.epochs * self.plan.steps,
            warmup_steps=round(self.recipe.schedule.warmup_epochs * self.plan.steps),
            floor=self.recipe.schedule.floor,
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.optimiser.learning_rate * factor

    def _count(self, output: StepOutput | None) -> None:
        position = self.position
        position.step += 1
        if output is None:
            return
        position.images += output.images
        position.loss_sum += output.loss.item() * output.images
        position.tail_kept += output.tail_kept
        if self._batches_done % _BATCHES_BETWEEN_RECORDS == 0:
            self._log.write(
                "step",
                batches=self._batches_done,
                loss=output.loss.item(),
                learning_rate=self.optimiser.param_groups[0]["lr"],
            )

    def _note(self) -> str:
        position = self.position
        epoch = f"epoch {position.epoch + 1}/{self.recipe.epochs}"
        mean = f", loss {position.loss_sum / position.images:.3f}" if position.images else ""
        best = position.best_recall
        return epoch + mean + ("" if best is None else f", best macro recall {best:.1%}")

    def _end_epoch(self) -> None:
        position = self.position
        recall = self.validation.macro_recall(self.network) if self.validation else None
        improved = recall is not None and (
            position.best_recall is None or recall > position.best_recall
        )
        if improved and self.accelerator.is_main_process:
            position.best_epoch, position.best_recall = position.epoch, recall
            if self.recipe.keep_epoch == "best":
                save_weights(self.network, self._best_weights)
        done = self._batches_done
        self._log.write(
            "epoch",
            batches=done,
            epoch=position.epoch,
            loss=position.loss_sum / max(1, position.images),
            images=position.images,
            tail_kept=position.tail_kept,
            val_macro_recall=recall,
        )
        position.epoch, position.step = position.epoch + 1, 0
        position.images, position.loss_sum, position.tail_kept = 0, 0.0, 0
        self._save()

    def _save(self) -> None:
        save_checkpoint(
            self._checkpoints,
            self.accelerator,
            self.position,
            serial=self._batches_done,
            recipe_digest=self.settings.recipe_digest,
        )
        self._last_save = time.monotonic()

    def _restore_best(self) -> None:
        if self.recipe.keep_epoch == "best" and self.position.best_epoch is not None:
            load_weights(self.network, self._best_weights)

    def _note_broken(self, batch: Batch) -> None:
        for broken in batch.broken:
            self.position.broken[self.dataset.name(broken.row)] = broken.reason
        images = len(self.dataset.table)
        if len(self.position.broken) > self.settings.broken_share * images:
            first = ", ".join(list(self.position.broken)[:3])
            raise TrainingStopped(
                f"{len(self.position.broken)} of {images} training photos cannot be read, more "
                f"than the allowed share of {self.settings.broken_share:.0%} (first: {first}). Mend "
                "or remove them (`taxonet data inspect` lists all), or raise --broken-share."
            )

    def _not_finite(self, batch: Batch) -> TrainingStopped:
        names = [self.dataset.name(row) for row in batch.rows.tolist()]
        return TrainingStopped(
            f"The loss is not a finite number at epoch {self.position.epoch + 1}, batch "
            f"{self.position.step + 1}. Its images: {', '.join(names)}. Try a lower learning rate "
            "(--set optimiser.learning_rate=0.01), gradient clipping "
            "(--set optimiser.clip_norm=1.0), a longer warm-up (--set schedule.warmup_epochs=5) "
            "or full precision (--set precision=no)."
        )

    @contextmanager
    def _ctrl_c_asks_for_a_stop(self) -> Iterator[None]:
        """Let the running batch end before stopping; a second Ctrl-C stops at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            self._stop_asked = True
            signal.signal(signal.SIGINT, before)

        try:
            before = signal.signal(signal.SIGINT, ask)
        except ValueError:  # only the main thread may hold a signal handler
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _optimiser(objective: ClassificationObjective, recipe: Recipe) -> torch.optim.Optimizer:
    choice = recipe.optimiser
    groups: list[dict[str, Any]] = [
        {"params": list(objective.network.parameters()), "weight_decay": choice.weight_decay}
    ]
    # What a loss owns is a margin, not a weight: decay would pull it to a value of no meaning.
    owned = list(objective.loss.parameters())
    if owned:
        groups.append({"params": owned, "weight_decay": 0.0})
    if choice.name == "adamw":
        return torch.optim.AdamW(groups, lr=choice.learning_rate)
    return torch.optim.SGD(
        groups, lr=choice.learning_rate, momentum=choice.momentum, nesterov=choice.nesterov
    )
