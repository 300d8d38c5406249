"""The training loop: steps, epochs, validation, checkpoints.

All randomness is keyed by seed, epoch, image and view, and the learning rate is a function of the
step; so a run that is killed and resumed does the same work as one that was left alone.
"""

import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from taxonet.data.loading import Batch, BatchSource
from taxonet.data.sampling import BatchPlan
from taxonet.devices import threads
from taxonet.progress import Progress
from taxonet.recipes import Recipe
from taxonet.seeds import seed_of
from taxonet.training.checkpoints import (
    Orders,
    Position,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from taxonet.training.objectives import Objective, StepOutput
from taxonet.training.processes import any_of, merged, share_buffers, sum_of
from taxonet.training.records import RunLog
from taxonet.training.reweighting import Reweighting
from taxonet.training.stopping import Interrupted, StopRequest, not_finite, too_many_broken
from taxonet.training.updates import Updater
from taxonet.training.validation import Validation

_BATCHES_BETWEEN_RECORDS = 20


@dataclass(frozen=True)
class LoopSettings:
    """Where a run keeps its files and how often it saves."""

    folder: Path
    orders: Orders
    resume: bool = False
    workers: int = 0
    minutes_between_checkpoints: float = 5.0
    broken_share: float = 0.05
    tensorboard: bool = False
    show_progress: bool = True
    threads: int | None = None
    """Of the processor; None: as many as otherwise."""


class Trainer:
    """Fits an objective to a plan of batches.

    Args:
        objective: From a batch to a `StepOutput`; its ``network`` is what gets validated.
        recipe: Optimiser, schedule, epochs, precision, seed.
        plan: Which images each batch holds.
        source: Gives the images of a list of draws.
        targets: Class index of each row of the source, ``(N,)``.
        validation: Judges the network at the end of an epoch; None keeps the last epoch.
        reweighting: Class weights that come late in training, or None.
        settings: Folder, resume, workers, limits.
        accelerator: Device, precision and process group.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        recipe: Recipe,
        plan: BatchPlan,
        source: BatchSource,
        targets: Tensor,
        validation: Validation | None,
        reweighting: Reweighting | None = None,
        settings: LoopSettings,
        accelerator: Accelerator,
    ) -> None:
        self.recipe, self.plan, self.source = recipe, plan, source
        self.targets, self.validation, self.settings = targets, validation, settings
        self.reweighting, self.accelerator = reweighting, accelerator
        self.network, self._bare_objective = objective.network, objective
        self.updater = Updater(objective, recipe=recipe, steps=plan.steps, accelerator=accelerator)
        self.objective = self.updater.objective
        self.notes = objective.notes
        self.position = Position()
        self._stop = StopRequest()
        self._last_save = time.monotonic()

    def fit(self) -> Position:
        """Train to the end, or until stopped; the network then holds the epoch that was kept.

        Raises:
            CheckpointError: The run cannot be resumed, because it was told something else.
            TrainingStopped: The loss is not finite, or too many photos are unreadable.
            Interrupted: Ctrl-C; everything is saved.
        """
        device = self.accelerator.device
        # Dropout draws from torch's global stream, which the caller gets back as it was.
        forked = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        with forked, self._stop, threads(self.settings.threads):
            if self.settings.resume:
                self.position = load_checkpoint(
                    self._checkpoints, self.accelerator, orders=self.settings.orders
                )
            with closing(self._open_log()) as self._log, self._open_progress() as progress:
                while self.position.epoch < self.recipe.epochs:
                    self._run_epoch(progress)
        if self.recipe.keep_epoch == "last" or self.position.kept_epoch is None:
            self.updater.keep_average()
        else:
            load_weights(self._bare_objective.kept, self._weights_of(self.position.kept_epoch))
        return self.position

    def export(self) -> None:
        """Write what the objective made besides the network into the run's folder."""
        self._bare_objective.export(self.settings.folder)

    @property
    def _checkpoints(self) -> Path:
        return self.settings.folder / "checkpoints"

    @property
    def _batches_done(self) -> int:
        return self.position.epoch * self.plan.steps + self.position.step

    @property
    def _all_batches(self) -> int:
        return self.recipe.epochs * self.plan.steps

    def _weights_of(self, epoch: int) -> Path:
        return self.settings.folder / f"epoch-{epoch + 1}.safetensors"

    def _open_log(self) -> RunLog:
        return RunLog(
            self.settings.folder / "log.jsonl",
            resume_at=self._batches_done if self.settings.resume else None,
            tensorboard=self.settings.tensorboard,
            written=self.accelerator.is_main_process,
        )

    def _open_progress(self) -> Progress:
        shown = self.settings.show_progress and self.accelerator.is_main_process
        return Progress("training", self._all_batches, shown=shown, done=self._batches_done)

    def _run_epoch(self, progress: Progress) -> None:
        self.objective.train()
        if self.reweighting is not None:
            self.reweighting.start_epoch(self.position.epoch, self.accelerator.device)
        if self.position.step == 0:
            self._bare_objective.start_epoch(self.position.epoch)
        plan = self.plan.batches(self.position.epoch, self.position.step)
        for batch in self.source.batches(plan, workers=self.settings.workers):
            self._note_broken(batch)
            if batch.broken and self._bare_objective.compares_views:
                batch = batch.with_every_view()
            # BatchNorm cannot learn from one image; broken photos can leave a batch that short.
            # Where one process must pass, all do: a gradient is a meeting of all.
            (too_short,) = any_of(self.accelerator, int((batch.part == 0).sum()) < 2)
            output = None if too_short else self._learn(batch)
            self._finish_step(output)
            progress.advance(note=self._note())
        self._end_epoch()

    def _learn(self, batch: Batch) -> StepOutput:
        """Run one batch forward and back."""
        position, recipe, device = self.position, self.recipe, self.accelerator.device
        key = ("step", recipe.seed, position.epoch, position.step, self.plan.rank)
        _seed(seed_of(*key), device)
        output: StepOutput = self.objective(
            batch.images.to(device, non_blocking=device.type == "cuda"),
            self.targets[batch.rows].to(device),
            batch.part.to(device),
            keep=min(recipe.batch_size, int((batch.part == 0).sum()) + len(batch.broken)),
            key=key,
        )
        if not torch.isfinite(output.loss):
            names = [self.source.name(row) for row in batch.rows.tolist()]
            raise not_finite(epoch=position.epoch + 1, batch=position.step + 1, images=names)
        self.updater.add(output.loss, step=position.step)
        return output

    def _finish_step(self, output: StepOutput | None) -> None:
        ends_group = self.updater.ends_group(self.position.step)
        if ends_group:
            self.updater.update(batch=self._batches_done)
        self.position.step += 1
        if output is not None:
            self._count(output)
        # Within a group the gradients so far would be lost, and the end of an epoch saves anyway.
        if ends_group and self.position.step < self.plan.steps:
            self._save_or_stop()

    def _count(self, output: StepOutput) -> None:
        position, loss = self.position, output.loss.item()
        position.images += output.images
        position.loss_sum += loss * output.images
        position.tail_kept += output.tail_kept
        if self._batches_done % _BATCHES_BETWEEN_RECORDS == 0:
            self._log.write(
                "step",
                batches=self._batches_done,
                loss=loss,
                learning_rate=self.updater.learning_rate,
                **output.figures,
            )

    def _note(self) -> str:
        position = self.position
        epoch = f"epoch {position.epoch + 1}/{self.recipe.epochs}"
        mean = f", loss {position.loss_sum / position.images:.3f}" if position.images else ""
        kept = position.kept_recall
        return epoch + mean + ("" if kept is None else f", macro recall so far {kept:.1%}")

    def _save_or_stop(self) -> None:
        """Save if it is time to, and stop if that was asked for."""
        waited = time.monotonic() - self._last_save
        late = waited > 60 * self.settings.minutes_between_checkpoints
        stop, save = any_of(self.accelerator, self._stop.asked, late)
        if stop or save:
            self._save()
        if stop:
            raise Interrupted

    def _end_epoch(self) -> None:
        position = self.position
        with self.updater.average_in_place():
            self._bare_objective.end_epoch()
            recall = self._validate()
            if self._keeps(recall):
                position.kept_epoch, position.kept_recall = position.epoch, recall
                if self.recipe.keep_epoch == "best" and self.accelerator.is_main_process:
                    save_weights(self._bare_objective.kept, self._weights_of(position.epoch))
        seen = self._seen_by_all()
        self._log.write(
            "epoch",
            batches=self._batches_done,
            epoch=position.epoch,
            loss=seen.loss_sum / max(1, seen.images),
            images=seen.images,
            tail_kept=seen.tail_kept,
            val_macro_recall=recall,
        )
        position.epoch, position.step = position.epoch + 1, 0
        position.images, position.loss_sum, position.tail_kept = 0, 0.0, 0
        self._save()
        if self.accelerator.is_main_process:
            self._forget_other_weights()
        (stop,) = any_of(self.accelerator, self._stop.asked)
        if stop:
            raise Interrupted

    def _validate(self) -> float | None:
        if self.validation is None:
            return None
        share_buffers(self.accelerator, self.network)
        return self.validation.macro_recall(self.network)

    def _keeps(self, recall: float | None) -> bool:
        """Say whether the epoch that ends takes the place of the one kept so far."""
        if self.recipe.keep_epoch == "last":
            return True
        best = self.position.kept_recall
        return recall is not None and (best is None or recall > best)

    def _forget_other_weights(self) -> None:
        # Not before the checkpoint names the new ones: the old one needs the old ones.
        kept = self.position.kept_epoch
        for path in self.settings.folder.glob("epoch-*.safetensors"):
            if kept is None or path != self._weights_of(kept):
                path.unlink()

    def _save(self) -> None:
        seen = self._seen_by_all()
        if self.accelerator.is_main_process:
            save_checkpoint(
                self._checkpoints,
                self.accelerator,
                seen,
                serial=self._batches_done,
                orders=self.settings.orders,
            )
        self.position.broken = seen.broken
        self._last_save = time.monotonic()

    def _seen_by_all(self) -> Position:
        """Return where the run stands, with what all its processes have counted."""
        here = self.position
        counts = (here.images, here.loss_sum, here.tail_kept)
        images, loss_sum, tail_kept = sum_of(self.accelerator, *counts)
        return replace(
            here,
            images=round(images),
            loss_sum=loss_sum,
            tail_kept=round(tail_kept),
            broken=merged(self.accelerator, here.broken),
        )

    def _note_broken(self, batch: Batch) -> None:
        met, share = self.position.broken, self.settings.broken_share
        met.update({self.source.name(one.row): one.reason for one in batch.broken})
        if len(met) > share * len(self.source):
            raise too_many_broken(list(met), images=len(self.source), share=share)


def _seed(seed: int, device: torch.device) -> None:
    """Seed what dropout draws from.

    Where no GPU is used, ``torch.manual_seed`` would note for each step, with a stack trace, what
    to do once there is one.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
