"""When and how the weights move: groups of batches, learning rate, clipping, the update rule."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

from taxonet.recipes import OptimiserRecipe, Recipe
from taxonet.training.averaging import WeightAverage
from taxonet.training.objectives import Objective
from taxonet.training.parameter_groups import parameter_groups
from taxonet.training.schedule import warmup_cosine, warmup_steps_down


class Updater:
    """Collects the gradients of groups of batches and moves the weights at the end of each.

    Args:
        objective: Network and loss.
        recipe: Optimiser, schedule, epochs, and how many batches make a group.
        steps: Batches in an epoch; its last group may be shorter than the others.
        accelerator: Prepares objective and optimiser, scales and clips gradients.

    Attributes:
        objective: The objective as the accelerator wants it called.
        average: The moving average of what is kept of the objective, where the recipe has one.
        learning_rate: What the last update used, where no factor lowers it.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        recipe: Recipe,
        steps: int,
        accelerator: Accelerator,
    ) -> None:
        self._recipe, self._steps, self._accelerator = recipe, steps, accelerator
        self.objective, self._optimiser = accelerator.prepare(
            objective, build_optimiser(objective, recipe.optimiser)
        )
        self.average: WeightAverage | None = None
        if recipe.ema is not None:
            self.average = WeightAverage(objective.kept, decay=recipe.ema)
            accelerator.register_for_checkpointing(self.average)
        self._gradients_wait = False

    def ends_group(self, step: int) -> bool:
        """Say whether the batch at that step of an epoch, from 0, is the last of its group."""
        return (step + 1) % self._recipe.accumulate == 0 or step + 1 == self._steps

    def add(self, loss: torch.Tensor, *, step: int) -> None:
        """Add the gradient of a batch, as its share of the mean over its group."""
        first = step - step % self._recipe.accumulate
        in_group = min(self._recipe.accumulate, self._steps - first)
        # Under data parallelism every batch meets, not only the last of a group: broken photos
        # may leave that one out, and what has not met by then would stay apart.
        self._accelerator.backward(loss / in_group)
        self._gradients_wait = True

    def update(self, *, batch: int) -> None:
        """Move the weights, unless broken photos left the group nothing to learn from.

        Args:
            batch: Index in the whole run of the batch that ends the group, from 0.
        """
        if not self._gradients_wait:
            return
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate_at(batch) * group["lr_scale"]
        choice = self._recipe.optimiser
        if choice.clip_norm is not None:
            self._accelerator.clip_grad_norm_(self.objective.parameters(), choice.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad()
        if self.average is not None:
            self.average.update()
        self._gradients_wait = False

    @contextmanager
    def average_in_place(self) -> Iterator[None]:
        """Give the network its averaged weights for a while, where the recipe has an average."""
        if self.average is None:
            yield
            return
        self.average.swap()
        try:
            yield
        finally:
            self.average.swap()

    def keep_average(self) -> None:
        """Give the network its averaged weights for good, where the recipe has an average."""
        if self.average is not None:
            self.average.swap()

    @property
    def learning_rate(self) -> float:
        """The rate of the last update, before the factors of layers."""
        group = self._optimiser.param_groups[0]
        return float(group["lr"] / group["lr_scale"])

    def _rate_at(self, batch: int) -> float:
        schedule, steps = self._recipe.schedule, self._steps
        warmup_steps = round(schedule.warmup_epochs * steps)
        if schedule.name == "steps":
            share = warmup_steps_down(
                batch,
                warmup_steps=warmup_steps,
                milestones=[round(epoch * steps) for epoch in schedule.milestones],
                factor=schedule.factor,
            )
        else:
            share = warmup_cosine(
                batch,
                total_steps=self._recipe.epochs * steps,
                warmup_steps=warmup_steps,
                floor=schedule.floor,
            )
        return self._recipe.optimiser.learning_rate * share


def build_optimiser(objective: Objective, choice: OptimiserRecipe) -> torch.optim.Optimizer:
    """Return the optimiser over all parameters of an objective."""
    groups = parameter_groups(objective, choice)
    if choice.name == "adamw":
        return torch.optim.AdamW(groups, lr=choice.learning_rate)
    return torch.optim.SGD(
        groups, lr=choice.learning_rate, momentum=choice.momentum, nesterov=choice.nesterov
    )
