"""When and how the weights move."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from taxonet.losses import CrossEntropyLoss
from taxonet.models import Network, Normalisation
from taxonet.recipes import load_recipe
from taxonet.training import train, updates
from taxonet.training.objectives import ClassificationObjective
from taxonet.training.updates import Updater
from tests.small_set import config


@pytest.mark.parametrize(("accumulate", "updates_an_epoch"), [(1, 10), (3, 4)])
def test_the_learning_rate_warms_up_and_falls(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accumulate: int,
    updates_an_epoch: int,
) -> None:
    rates: list[float] = []
    step = torch.optim.SGD.step

    def watched(self: torch.optim.SGD, *given: Any, **named: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        assert {group["lr"] for group in self.param_groups} == {rates[-1]}
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    changes = [f"accumulate={accumulate}", "optimiser.learning_rate=0.02"]
    changes += ["schedule.warmup_epochs=0.5", "schedule.floor=0.1"]
    train(config(photos, tmp_path / "run", *changes, recipe="am_softmax"))
    last_of_group = [t for t in range(20) if (t % 10 + 1) % accumulate == 0 or t % 10 == 9]
    assert len(rates) == len(last_of_group) == 2 * updates_an_epoch
    by_hand = [
        0.02 * ((t + 1) / 5 if t < 5 else 0.1 + 0.9 * (1 + math.cos(math.pi * (t - 5) / 15)) / 2)
        for t in last_of_group
    ]
    assert rates == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("clip_norm", [None, 1e-3])
def test_gradients_are_clipped(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip_norm: float | None
) -> None:
    norms: list[float] = []
    step = torch.optim.SGD.step

    def watched(self: torch.optim.SGD, *given: Any, **named: Any) -> Any:
        gradients = [
            parameter.grad.flatten()
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        norms.append(torch.cat(gradients).norm().item())
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    clip = "null" if clip_norm is None else str(clip_norm)
    train(config(photos, tmp_path / "run", f"optimiser.clip_norm={clip}", "epochs=1"))
    if clip_norm is None:
        assert min(norms) > 0.1
    else:
        assert norms == pytest.approx([clip_norm] * 10, rel=1e-3)


class PlainHead(nn.Linear):
    """A head as `Network` wants it, on features without BatchNorm."""

    kind, scale = "logits", 1.0


def flat_objective(seed: int) -> ClassificationObjective:
    torch.manual_seed(seed)
    network = Network(
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 6), nn.Tanh()),
        PlainHead(6, 3),  # type: ignore[arg-type] # a head of our own would be 40 lines
        normalisation=Normalisation((0.5,) * 3, (0.25,) * 3),
    )
    loss = CrossEntropyLoss([3, 2, 1])
    return ClassificationObjective(network, loss)


def fitted(batches: list[tuple[Tensor, Tensor]], *, accumulate: int) -> dict[str, Tensor]:
    """Return the weights after one epoch over the batches."""
    recipe = load_recipe(
        "tiny,cross_entropy",
        [f"accumulate={accumulate}", "schedule.warmup_epochs=0", "optimiser.learning_rate=0.5"],
    )
    objective = flat_objective(7)
    updater = Updater(
        objective, recipe=recipe, steps=len(batches), accelerator=Accelerator(cpu=True)
    )
    for step, (images, target) in enumerate(batches):
        tail = torch.zeros(len(target), dtype=torch.bool)
        output = updater.objective(images, target, tail, keep=len(images), key=())
        updater.add(output.loss, step=step)
        if updater.ends_group(step):
            updater.update(batch=0)
    return {name: tensor.clone() for name, tensor in objective.state_dict().items()}


def test_two_batches_of_16_move_the_weights_as_one_of_32() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        images = torch.randint(0, 256, (48, 3, 8, 8), dtype=torch.uint8)
        target = torch.randint(0, 3, (48,))
        halves = [(images[i : i + 16], target[i : i + 16]) for i in range(0, 48, 16)]
        # The epoch has three batches: its last group is short, and counts in full all the same.
        wholes = [(images[:32], target[:32]), (images[32:], target[32:])]
        split, whole = fitted(halves, accumulate=2), fitted(wholes, accumulate=1)
        one_by_one = fitted(halves, accumulate=1)
    for name, tensor in whole.items():
        torch.testing.assert_close(split[name], tensor, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(one_by_one["network.head.weight"], whole["network.head.weight"])


def test_what_the_loss_owns_is_not_decayed(photos: Path, tmp_path: Path) -> None:
    groups: list[dict[str, Any]] = []
    build = updates.build_optimiser

    def kept(*given: Any) -> torch.optim.Optimizer:
        optimiser = build(*given)
        groups.extend(optimiser.param_groups)
        return optimiser

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(updates, "build_optimiser", kept)
        train(config(photos, tmp_path / "run", "epochs=1", "accumulate=40", recipe="taxonet"))
    assert [group["weight_decay"] for group in groups] == [5e-4, 0.0]
    assert [len(group["params"]) for group in groups][1] == 1  # gamma


def updater_of(objective: ClassificationObjective, *, steps: int) -> Updater:
    recipe = load_recipe("tiny,cross_entropy", ["accumulate=2", "optimiser.weight_decay=0.1"])
    return Updater(objective, recipe=recipe, steps=steps, accelerator=Accelerator(cpu=True))


def weights_of(objective: ClassificationObjective) -> Tensor:
    return nn.utils.parameters_to_vector(objective.parameters()).detach().clone()


def test_a_group_whose_last_batch_was_passed_over_moves_the_weights_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective = flat_objective(7)
    updater = updater_of(objective, steps=4)
    before = weights_of(objective)
    updater.add(objective.network.head.weight.sum(), step=0)
    updater.update(batch=1)
    moved = weights_of(objective)
    assert not torch.equal(moved, before)
    assert all(parameter.grad is None for parameter in objective.parameters())
    # A gradient scaler refuses to step where there is no gradient: nobody may ask it to.
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: pytest.fail("a step on nothing"))
    updater.update(batch=3)
    assert torch.equal(weights_of(objective), moved)


@pytest.mark.parametrize(("steps", "ends"), [(4, [1, 3]), (5, [1, 3, 4]), (1, [0])])
def test_groups_end_with_the_epoch(steps: int, ends: list[int]) -> None:
    updater = updater_of(flat_objective(7), steps=steps)
    assert [step for step in range(steps) if updater.ends_group(step)] == ends
