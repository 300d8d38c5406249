"""SGD with momentum whose learning rate is a tensor, for steps that a CUDA graph replays."""

from collections.abc import Sequence

import torch
from torch import Tensor

from taxonet.recipes import OptimiserRecipe, Recipe
from taxonet.training.schedule import warmup_cosine, warmup_steps_down


class TensorRateSgd:
    """`torch.optim.SGD`, with a rate that stays on the device.

    A graph replays the numbers it was captured with, and torch's own SGD reads a rate that is a
    tensor back to the host, which no capture allows.

    Args:
        parameters: What is moved, in place.
        choice: Momentum and weight decay; its learning rate is not read.

    Attributes:
        momenta: One buffer a parameter, at first 0, which makes the first update torch's.
    """

    def __init__(self, parameters: Sequence[Tensor], choice: OptimiserRecipe) -> None:
        self._parameters, self._choice = list(parameters), choice
        self.momenta = [torch.zeros_like(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: Tensor) -> None:
        """Move the parameters.

        Args:
            gradients: One a parameter, in their order.
            rate: The learning rate, a tensor ``()``.
        """
        choice = self._choice
        pulled = torch._foreach_add(list(gradients), self._parameters, alpha=choice.weight_decay)
        torch._foreach_mul_(self.momenta, choice.momentum)
        torch._foreach_add_(self.momenta, pulled)
        updates: list[Tensor] | tuple[Tensor, ...] = self.momenta
        if choice.nesterov:
            updates = torch._foreach_add(pulled, self.momenta, alpha=choice.momentum)
        torch._foreach_sub_(self._parameters, torch._foreach_mul(updates, rate))


def rates(recipe: Recipe, steps: int) -> Tensor:
    """Return the learning rate of every step ``(epochs * steps,)``, ``steps`` being an epoch's."""
    schedule = recipe.schedule
    warmup_steps = round(schedule.warmup_epochs * steps)
    milestones = [round(epoch * steps) for epoch in schedule.milestones]
    total_steps = recipe.epochs * steps

    def share(step: int) -> float:
        if schedule.name == "steps":
            return warmup_steps_down(
                step, warmup_steps=warmup_steps, milestones=milestones, factor=schedule.factor
            )
        return warmup_cosine(
            step, total_steps=total_steps, warmup_steps=warmup_steps, floor=schedule.floor
        )

    peak = recipe.optimiser.learning_rate
    return torch.tensor([peak * share(step) for step in range(total_steps)])
