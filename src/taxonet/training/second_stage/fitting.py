"""The one loop that fits heads: SGD with momentum on class-balanced batches of embeddings."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from taxonet.data.samplers import ClassBalancedSampler, epoch_rows
from taxonet.errors import ConfigError
from taxonet.losses import Loss
from taxonet.losses.checks import check_number
from taxonet.seeds import generator
from taxonet.training.schedule import warmup_cosine
from taxonet.training.second_stage.base import StageInput
from taxonet.training.stopping import TrainingStopped

Schedule = Literal["constant", "cosine"]

#: The same in all the papers whose stages are here.
MOMENTUM = 0.9


def check_descent(
    *, epochs: int, batch_size: int, learning_rate: float, weight_decay: float = 0.0
) -> None:
    """Raise a ConfigError unless a stage can be fitted with these options."""
    for name, number in (("epochs", epochs), ("batch_size", batch_size)):
        if number < 1:
            raise ConfigError(f"{name} must be at least 1, but is {number}.")
    if check_number("learning_rate", learning_rate, at_least=0) == 0:
        raise ConfigError("learning_rate must be above 0.")
    check_number("weight_decay", weight_decay, at_least=0)


def balanced_batches(
    targets: Tensor, *, classes: int, batch_size: int, seed: int, epoch: int
) -> list[Tensor]:
    """Return the rows of each batch of an epoch: all classes alike, as many draws as rows.

    The draws are keyed by seed and epoch. The last batch may be shorter.

    Examples:
        >>> targets = torch.tensor([0] * 18 + [1] * 2)
        >>> batches = balanced_batches(targets, classes=2, batch_size=8, seed=0, epoch=1)
        >>> [len(rows) for rows in batches]
        [8, 8, 4]
    """
    labels = targets.cpu().numpy()
    order = np.argsort(labels, kind="stable").astype(np.int64)
    starts = np.searchsorted(labels[order], np.arange(1, classes))
    rows = epoch_rows(
        ClassBalancedSampler(),
        np.split(order, starts),
        generator("second stage", seed, epoch),
        progress=0.0,
    )
    drawn = torch.from_numpy(rows)
    return [drawn[start : start + batch_size] for start in range(0, len(drawn), batch_size)]


def fit_head(
    module: nn.Module,
    given: StageInput,
    loss: Loss,
    groups: list[dict[str, Any]],
    *,
    epochs: int,
    batch_size: int,
    schedule: Schedule,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Fit a module to class-balanced batches, in place and in float32.

    Args:
        module: Maps embeddings ``(B, d)`` to logits ``(B, c)``.
        given: Embeddings, counts, seed.
        loss: Compares logits with targets.
        groups: The parameter groups of ``torch.optim.SGD``, each with its ``lr``.
        epochs: Times as many draws as there are images.
        batch_size: Draws in a batch.
        schedule: ``constant``, or ``cosine``: from the full rate towards 0 over all batches.
        after_step: Called after each update, for projections.

    Raises:
        TrainingStopped: The loss, or a weight at the end, is not a finite number.
    """
    optimiser = torch.optim.SGD(groups, momentum=MOMENTUM)
    peaks = [float(group["lr"]) for group in optimiser.param_groups]
    device = given.device
    loss = loss.to(device)
    for epoch in range(1, epochs + 1):
        embeddings, targets = given.epoch(epoch)
        batches = balanced_batches(
            targets,
            classes=given.head.classes,
            batch_size=batch_size,
            seed=given.seed,
            epoch=epoch,
        )
        total = epochs * len(batches)
        if epoch == 1:
            given.report(0, total, module)
        for step, rows in enumerate(batches, start=(epoch - 1) * len(batches)):
            _set_rates(optimiser, peaks, _share_of_peak(schedule, step, total))
            own = rows.to(embeddings.device)
            value = _update(
                module,
                loss,
                optimiser,
                embeddings[own].to(device, torch.float32),
                targets[own].to(device),
            )
            _check_finite([value], step=step, rate=peaks[0])
            if after_step is not None:
                after_step()
            given.report(step + 1, total, module)
    _check_finite(module.parameters(), step=total - 1, rate=peaks[0])


@torch.enable_grad()
def _update(
    module: nn.Module,
    loss: Loss,
    optimiser: torch.optim.Optimizer,
    embeddings: Tensor,
    targets: Tensor,
) -> Tensor:
    value: Tensor = loss(module(embeddings), targets)
    optimiser.zero_grad()
    torch.autograd.backward(value)
    optimiser.step()
    optimiser.zero_grad()
    return value.detach()


def _share_of_peak(schedule: Schedule, step: int, total: int) -> float:
    if schedule == "constant":
        return 1.0
    return warmup_cosine(step, total_steps=total, warmup_steps=0)


def _set_rates(optimiser: torch.optim.Optimizer, peaks: list[float], share: float) -> None:
    for group, peak in zip(optimiser.param_groups, peaks, strict=True):
        group["lr"] = peak * share


def _check_finite(values: Iterable[Tensor], *, step: int, rate: float) -> None:
    if not all(bool(value.isfinite().all()) for value in values):
        raise TrainingStopped(
            f"The second stage ran out of the range of numbers at batch {step + 1}. Lower its "
            f"learning_rate, which is {rate:g}: it is in units of the embeddings."
        )
