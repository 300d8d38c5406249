"""One row in training: a network, its epochs of augmented images, its steps, its test figures.

Augmentation, order and head classes of an epoch are keyed by seed and epoch, as everywhere in
taxonet. So weights, momenta and the number of epochs are all there is to a row's state.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor

from benchmarks.gpu_augment import NUMBERS, CifarAugmentation
from benchmarks.gpu_capture import captured, new_stream, on_stream
from benchmarks.gpu_data import DeviceImages
from benchmarks.gpu_sgd import TensorRateSgd, rates
from taxonet.data.sampling import BatchPlan
from taxonet.errors import ConfigError
from taxonet.losses import Loss
from taxonet.losses.base import weighted_mean
from taxonet.models import Network, Output
from taxonet.recipes import Recipe, dump_recipe
from taxonet.seeds import seed_of
from taxonet.training.assembly import twin_sampler
from taxonet.training.building import build
from taxonet.training.objectives import build_objective
from taxonet.training.reweighting import Reweighting

Precision = Literal["float32", "tf32", "bf16"]

_AUGMENTED_AT_ONCE = 2048  # images; more would only take more memory


@dataclass(frozen=True)
class ComputeOptions:
    """How a row is computed, which changes no more than rounding."""

    precision: Precision = "float32"
    """``tf32`` is float32 whose convolutions round their inputs; the caller allows it."""
    layout: Literal["channels_last", "contiguous"] = "channels_last"
    graphs: bool = True
    """Whether steps are captured on a GPU."""
    test_batch: int = 2000


class RowTraining:
    """A row that is trained step by step, as many others beside it.

    Every epoch is `start_epoch`, then `advance` for each step, then `test`. Nothing of it waits for
    the device.

    Attributes:
        name: The row's name.
        recipe: What it is trained by.
        epoch: Epochs that are done.
        correct: Correct test images of each class after each epoch, ``(epochs, c)``.
        loss_sum: Sum of the losses of the epoch's steps, ``()``.
        seconds: Time in training so far, as the caller measures it.
        steps: Steps in an epoch.
    """

    capturable = True

    def __init__(
        self, name: str, recipe: Recipe, images: DeviceImages, options: ComputeOptions
    ) -> None:
        self.name, self.recipe, self.images, self.options = name, recipe, images, options
        device = images.device
        network, loss = build(recipe, images.training)
        self.objective = build_objective(
            recipe, network, loss, data=images.training, accelerator=Accelerator()
        ).to(device)
        self.network: Network = self.objective.network
        self.network.to(device, memory_format=self._memory_format)  # type: ignore[call-overload]
        if self.objective.loss_parameters() or not isinstance(loss, Loss):
            raise ConfigError(f"{name}: losses that learn, or of experts, are not trained here.")
        self.loss = loss
        self.reweighting = _reweighting(recipe, loss, images)
        self.class_weights = torch.ones(loss.classes, device=device)
        self.parameters = list(self.network.parameters())
        self.optimiser = TensorRateSgd(self.parameters, recipe.optimiser)
        self.plan = BatchPlan(
            images.train_targets.cpu().numpy(),
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            epochs=recipe.epochs,
            twin=twin_sampler(recipe),
        )
        self.steps = self.plan.steps
        self.augment = CifarAugmentation(
            "shift_flip" if recipe.augment.name == "shift_flip" else "auto_augment_cutout",
            side=images.side,
            device=device,
        )
        self.rates = rates(recipe, self.steps).to(device)
        self.done = torch.zeros((), dtype=torch.int64, device=device)  # steps, of all epochs
        self.ladder = torch.arange(recipe.batch_size, device=device)
        drawn = len(images.train_images) * (1 if self.plan.twin is None else 2)
        self.pixels = torch.zeros(
            (drawn, *images.train_images.shape[1:]), dtype=torch.uint8, device=device
        )
        self.labels = torch.zeros(drawn, dtype=torch.int64, device=device)
        self.loss_sum = torch.zeros((), device=device)
        self.correct = torch.zeros((recipe.epochs, loss.classes), dtype=torch.int64, device=device)
        self.epoch, self.seconds = 0, 0.0
        self.stream = new_stream(device)
        self.is_captured = False
        self._step_of: dict[int, Callable[[], None]] = {}

    def start_epoch(self) -> None:
        """Draw and augment the images of the epoch, and set its class weights."""
        with on_stream(self.stream):
            order = self.order()
            keyed = self.generator("augmentation")
            numbers = torch.rand((len(order), NUMBERS), generator=keyed, device=order.device)
            for rows, draws, place in zip(
                torch.split(order, _AUGMENTED_AT_ONCE),
                torch.split(numbers, _AUGMENTED_AT_ONCE),
                torch.split(self.pixels, _AUGMENTED_AT_ONCE),
                strict=False,
            ):
                place[: len(rows)] = self.augment(self.images.train_images[rows], draws)
            self.labels[: len(order)] = self.images.train_targets[order]
            if self.reweighting is not None:
                self.reweighting.start_epoch(self.epoch, self.class_weights.device)
                chosen = self.loss.class_weights
                self.class_weights.copy_(torch.ones(()) if chosen is None else chosen)
                self.loss.reweight(self.class_weights)  # the same tensor always: graphs hold it
            self.loss_sum.zero_()
            self.network.train()
        if not self._step_of:
            self._prepare()

    def order(self) -> Tensor:
        """Return the rows of the epoch's images in the order of its steps."""
        images = self.images.train_targets
        keyed = self.generator("order")
        return torch.randperm(len(images), generator=keyed, device=images.device)

    def generator(self, what: str) -> torch.Generator:
        """Return the device's generator for one purpose in the epoch."""
        keyed = torch.Generator(self.images.device)
        return keyed.manual_seed(seed_of("long tail", what, self.recipe.seed, self.epoch))

    def advance(self, step: int) -> None:
        """Do one step of the epoch, from 0."""
        with on_stream(self.stream):
            self._step_of[self._size(step)]()

    def test(self, *, judged: bool) -> None:
        """End the epoch; count the correct test images if it is to be judged."""
        if judged:
            with on_stream(self.stream), torch.no_grad():
                self.network.eval()
                correct = self.correct[self.epoch].zero_()
                batches = torch.split(self.images.test_images, self.options.test_batch)
                targets = torch.split(self.images.test_targets, self.options.test_batch)
                for pixels, target in zip(batches, targets, strict=True):
                    hits = self.look(pixels).scores.argmax(1) == target
                    correct.index_add_(0, target, hits.long())
        self.epoch += 1

    def look(self, pixels: Tensor) -> Output:
        """Run the network on uint8 images, in the chosen precision and layout."""
        images = self.network.normalise(pixels)
        with self.autocast():
            layout = images.contiguous(memory_format=self._memory_format)
            embedding = self.network.backbone(layout)
            return Output(embedding, self.network.head(embedding))

    def autocast(self) -> AbstractContextManager[object]:
        """Compute what is inside in the chosen precision."""
        return torch.autocast(
            self.images.device.type,
            dtype=torch.bfloat16,
            enabled=self.options.precision == "bf16",
            cache_enabled=False,
        )

    def learn(self, loss: Tensor) -> None:
        """Move the weights by the gradient of a loss, and count the step."""
        gradients = torch.autograd.grad(loss, self.parameters)
        rate = self.rates.index_select(0, self.done.view(1)).view(())
        self.optimiser.step(gradients, rate)
        self.loss_sum.add_(loss.detach())
        self.done.add_(1)

    def changing(self) -> list[Tensor]:
        """Return all tensors that a step changes."""
        state = (*self.parameters, *self.objective.buffers())
        return [*state, *self.optimiser.momenta, self.loss_sum, self.done]

    def state(self) -> dict[str, Any]:
        """Return all that a later call needs to go on after the epochs that are done."""
        return {
            "row": self.name,
            "recipe": dump_recipe(self.recipe),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "objective": self.objective.state_dict(),
            "momenta": self.optimiser.momenta,
            "correct": self.correct,
        }

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ConfigError: It is of another recipe, or another length.
        """
        if (state["row"], state["recipe"]) != (self.name, dump_recipe(self.recipe)):
            raise ConfigError(
                f"The checkpoint of {state['row']!r} was made by another recipe than {self.name!r} "
                "has now: take the same --epochs or --fraction, or another --out."
            )
        self.epoch, self.seconds = state["epoch"], state["seconds"]
        self.objective.load_state_dict(state["objective"])
        for momentum, value in zip(self.optimiser.momenta, state["momenta"], strict=True):
            momentum.copy_(value)
        self.correct.copy_(state["correct"])
        self.done.fill_(self.epoch * self.steps)

    @property
    def _memory_format(self) -> torch.memory_format:
        last = self.options.layout == "channels_last"
        return torch.channels_last if last else torch.contiguous_format

    def _size(self, step: int) -> int:
        batch = self.recipe.batch_size
        return min(batch, len(self.labels) - step * batch)

    def _prepare(self) -> None:
        """Make the step of each size of batch, captured where that can be."""
        for size in sorted({self._size(step) for step in (0, self.steps - 1)}, reverse=True):
            self._step_of[size] = partial(self._step, size)
        if self.stream is None or not (self.options.graphs and self.capturable):
            return
        graphs = {}
        for size, step in self._step_of.items():
            what = f"{self.name}, batches of {size}"
            graph = captured(step, changes=self.changing(), stream=self.stream, what=what)
            if graph is None:
                self.stream = new_stream(self.images.device)
                return
            graphs[size] = graph
        self._step_of, self.is_captured = graphs, True

    def _step(self, size: int) -> None:
        places = self.done.remainder(self.steps) * self.recipe.batch_size + self.ladder[:size]
        target = self.labels.index_select(0, places)
        scores = self.look(self.pixels.index_select(0, places)).scores
        # Not `forward`, whose checks of the target read from the device: these are the set's own.
        losses = self.loss.per_image(scores, target)
        loss = weighted_mean(losses, self.loss.class_weights, target)
        penalty = self.loss.penalty()
        self.learn(loss if penalty is None else loss + penalty)


def _reweighting(recipe: Recipe, loss: Loss, images: DeviceImages) -> Reweighting | None:
    if recipe.reweighting is None:
        return None
    return Reweighting(loss, images.class_counts, choice=recipe.reweighting, epochs=recipe.epochs)
