"""Rows in training, step by step, against torch's own optimiser and taxonet's own objective."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu_capture import put_back
from benchmarks.gpu_data import DeviceImages
from benchmarks.gpu_rows import ROWS, Row, recipe_of
from benchmarks.gpu_sgd import TensorRateSgd, rates
from benchmarks.gpu_training import ComputeOptions, RowTraining
from benchmarks.gpu_transfer import TransferTraining
from taxonet.errors import ConfigError
from taxonet.losses import class_balanced_weights
from taxonet.recipes import OptimiserRecipe, Recipe


def short(row: str, *, epochs: int = 3, batch_size: int = 8, **changes: Any) -> Recipe:
    recipe = recipe_of(ROWS[row], seed=0, epochs=epochs)
    return recipe.model_copy(update={"batch_size": batch_size, **changes})


def train(training: RowTraining, epochs: int) -> RowTraining:
    for _ in range(epochs):
        training.start_epoch()
        for step in range(training.steps):
            training.advance(step)
        training.test(judged=True)
    return training


def weights(training: RowTraining) -> dict[str, Tensor]:
    state: dict[str, Tensor] = training.objective.state_dict()
    return state


def assert_same(one: RowTraining, other: RowTraining) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(one.correct, other.correct)
    for mine, theirs in zip(one.optimiser.momenta, other.optimiser.momenta, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_torchs(nesterov: bool) -> None:
    choice = OptimiserRecipe(momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    draws = torch.Generator().manual_seed(0)
    start = [torch.randn(4, 3, generator=draws), torch.randn(5, generator=draws)]
    mine = [tensor.clone() for tensor in start]
    theirs = [tensor.clone().requires_grad_() for tensor in start]
    optimiser = TensorRateSgd(mine, choice)
    reference = torch.optim.SGD(
        theirs, lr=1.0, momentum=0.9, weight_decay=0.01, nesterov=nesterov, foreach=False
    )
    for rate in (0.1, 0.3, 0.02):
        gradients = [torch.randn(tensor.shape, generator=draws) for tensor in start]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        reference.param_groups[0]["lr"] = rate
        reference.step()
        optimiser.step(gradients, torch.tensor(rate))
        for one, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(one, other.detach(), rtol=1e-6, atol=1e-7)


def test_the_rates_are_those_of_the_schedule() -> None:
    cosine = rates(recipe_of(ROWS["CE"], seed=0), 170)
    assert len(cosine) == 200 * 170
    assert cosine[0] == pytest.approx(0.1 / 850)
    assert cosine[849] == pytest.approx(0.1)
    assert cosine[850 + (34000 - 850) // 2] == pytest.approx(0.05)
    steps = rates(recipe_of(ROWS["SMART"], seed=0), 170)
    assert [float(steps[170 * epoch]) for epoch in (159, 160, 180)] == pytest.approx(
        [0.1, 0.01, 0.001]
    )


def test_rows_are_known_recipes_with_their_papers_settings() -> None:
    for row in ROWS.values():
        recipe = recipe_of(row, seed=4)
        assert (recipe.epochs, recipe.batch_size, recipe.seed) == (200, 64, 4), row.name
        assert recipe.model.backbone == "resnet32"
    assert recipe_of(ROWS["CE"], seed=0).augment.name == "auto_augment_cutout"
    assert recipe_of(ROWS["CE, high weight decay"], seed=0).optimiser.weight_decay == 5e-3


def test_a_recipe_that_needs_more_is_refused() -> None:
    with pytest.raises(ConfigError, match="mixing"):
        recipe_of(Row("CMO", "smart/cifar100-lt/ce-cmo"), seed=0)


def test_every_image_comes_once_an_epoch_in_another_order(tiny: DeviceImages) -> None:
    training = RowTraining("CE", short("CE"), tiny, ComputeOptions())
    training.start_epoch()
    assert training.steps == 4  # 8, 8, 8 and 7 images
    first = training.order().tolist()
    assert sorted(first) == list(range(31))
    assert torch.equal(training.labels, tiny.train_targets[first])
    training.epoch = 1
    assert training.order().tolist() != first
    assert RowTraining("CE", short("CE", batch_size=10), tiny, ComputeOptions()).steps == 3


def test_a_step_moves_as_the_loss_of_the_objective_asks(tiny: DeviceImages) -> None:
    """The last, shorter batch of DBM-BS, beside the module that `taxonet train` calls."""
    training = RowTraining("DBM-BS", short("DBM-BS"), tiny, ComputeOptions())
    twin = RowTraining("DBM-BS", short("DBM-BS"), tiny, ComputeOptions())
    training.start_epoch()
    training.done.fill_(3)
    training.advance(3)
    twin.start_epoch()
    here = slice(24, 31)
    part = torch.zeros(7, dtype=torch.int64)
    output = twin.objective(
        training.pixels[here], training.labels[here], part, keep=8, key=(0, 0, 3)
    )
    optimiser = torch.optim.SGD(
        twin.parameters, lr=float(training.rates[3]), momentum=0.9, weight_decay=2e-4
    )
    output.loss.backward()
    optimiser.step()
    assert float(training.loss_sum) == pytest.approx(float(output.loss.detach()), rel=1e-5)
    for mine, theirs in zip(training.parameters, twin.parameters, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    assert int(training.done) == 4


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_the_network_sees_what_taxonet_shows_it(tiny: DeviceImages, layout: Any) -> None:
    training = RowTraining("BS", short("BS"), tiny, ComputeOptions(layout=layout))
    training.network.eval()
    wanted = training.network(tiny.test_images).scores
    torch.testing.assert_close(training.look(tiny.test_images).scores, wanted)


def test_half_precision_is_for_the_network_only(tiny: DeviceImages) -> None:
    training = RowTraining("DBM-CE", short("DBM-CE"), tiny, ComputeOptions(precision="bf16"))
    train(training, 1)
    assert training.look(tiny.test_images).embedding.dtype is torch.bfloat16
    assert all(parameter.dtype is torch.float32 for parameter in training.parameters)
    assert bool(training.loss_sum.isfinite())


def test_classes_are_weighed_after_four_fifths_and_by_one_tensor(tiny: DeviceImages) -> None:
    training = RowTraining("LDAM-DRW", short("LDAM-DRW", epochs=5), tiny, ComputeOptions())
    late = class_balanced_weights(tiny.class_counts).float()
    seen = []
    for epoch in range(5):
        training.epoch = epoch
        training.start_epoch()
        assert training.loss.class_weights is training.class_weights
        seen.append(training.class_weights.clone())
    assert all(torch.equal(early, torch.ones(4)) for early in seen[:4])
    torch.testing.assert_close(seen[4], late)


def smart(**changes: Any) -> Recipe:
    recipe = short("SMART", **changes)
    assert recipe.transfer is not None
    return recipe.model_copy(
        update={"transfer": recipe.transfer.model_copy(update={"tail_shots": 8})}
    )


@pytest.mark.parametrize("row", ["LDAM-DRW", "SMART"])
def test_a_row_goes_on_from_its_state_as_if_never_stopped(
    tiny: DeviceImages, tmp_path: Path, row: str
) -> None:
    kind = TransferTraining if row == "SMART" else RowTraining
    recipe = smart() if row == "SMART" else short(row)
    whole = train(kind(row, recipe, tiny, ComputeOptions()), 3)
    first = train(kind(row, recipe, tiny, ComputeOptions()), 2)
    torch.save(first.state(), tmp_path / "state.pt")
    second = kind(row, recipe, tiny, ComputeOptions())
    second.load(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.epoch == 2
    assert_same(train(second, 1), whole)
    assert any(
        not torch.equal(now, then)
        for now, then in zip(whole.parameters, first.parameters, strict=True)
    )


def test_a_state_of_another_length_is_refused(tiny: DeviceImages) -> None:
    state = RowTraining("CE", short("CE", epochs=3), tiny, ComputeOptions()).state()
    other = RowTraining("CE", short("CE", epochs=4), tiny, ComputeOptions())
    with pytest.raises(ConfigError, match="another recipe"):
        other.load(state)


def test_smart_draws_a_tail_batch_beside_each_batch(tiny: DeviceImages) -> None:
    training = TransferTraining("SMART", smart(), tiny, ComputeOptions())
    training.start_epoch()
    assert training.ends == [16, 32, 48, 62]
    assert training.parts.tolist() == ([0] * 8 + [1] * 8) * 3 + [0] * 7 + [1] * 7
    proper = training.order()[training.parts == 0]
    assert sorted(proper.tolist()) == list(range(31))
    training.advance(0)
    statistics: Any = training.objective.statistics
    assert int(statistics.images.sum()) == 16


def test_what_a_warm_up_changes_can_be_put_back(tiny: DeviceImages) -> None:
    """All that a step changes is among the tensors that are put back after a capture."""
    training = RowTraining("DBM-DRW", short("DBM-DRW"), tiny, ComputeOptions())
    untouched = RowTraining("DBM-DRW", short("DBM-DRW"), tiny, ComputeOptions())
    training.start_epoch()
    before = [tensor.detach().clone() for tensor in training.changing()]
    training.advance(0)
    training.advance(1)
    put_back(training.changing(), before)
    assert_same(train(training, 2), train(untouched, 2))


def test_a_step_reads_nothing_back(tiny: DeviceImages) -> None:
    """Values that reach the host from inside a step would break its capture."""
    for row in ("CE", "BS", "DBM-BS", "LDAM-DRW"):
        training = RowTraining(row, short(row), tiny, ComputeOptions())
        training.start_epoch()
        with ReadsOfValues() as reads:
            training.advance(0)
        assert reads.names == [], row


class ReadsOfValues(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operations that hand a value to the host, or that make a tensor of the host's."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name.split("::")[1] in {"_local_scalar_dense", "nonzero", "lift_fresh", "unique_dim"}:
            self.names.append(name)
        return func(*args, **(kwargs or {}))
