import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.losses import CrossEntropyLoss
from taxonet.models import LinearHead
from taxonet.training.second_stage import CachedEmbeddings, OnStep
from taxonet.training.second_stage.base import StageInput
from taxonet.training.second_stage.fitting import (
    Schedule,
    balanced_batches,
    check_descent,
    fit_head,
)
from taxonet.training.stopping import TrainingStopped

TARGETS = torch.tensor([0] * 30 + [1] * 5 + [2])


def given_set(on_step: OnStep | None = None) -> StageInput:
    rng = np.random.default_rng(0)
    embeddings = torch.from_numpy(rng.standard_normal((36, 4))).float()
    source = CachedEmbeddings(embeddings, TARGETS)
    return StageInput(source, LinearHead(4, 3), torch.tensor([30, 5, 1]), 0, on_step)


def batches(seed: int = 0, epoch: int = 1) -> list[list[int]]:
    rows = balanced_batches(TARGETS, classes=3, batch_size=10, seed=seed, epoch=epoch)
    return [batch.tolist() for batch in rows]


def test_all_classes_are_drawn_alike() -> None:
    drawn = np.zeros(3)
    for epoch in range(1, 201):
        for batch in batches(epoch=epoch):
            drawn += np.bincount(TARGETS[batch], minlength=3)
    assert drawn.sum() == 200 * 36
    # 2,400 draws each, with a standard deviation of 40.
    assert np.abs(drawn - 2400).max() < 160


def test_batches_are_keyed_by_seed_and_epoch() -> None:
    assert batches() == batches()
    assert batches() != batches(seed=1)
    assert batches() != batches(epoch=2)
    assert [len(batch) for batch in batches()] == [10, 10, 10, 6]


class FromZero(nn.Module):
    """A linear map without a bias, from 0 on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 4))

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding @ self.weight.T


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [("constant", [1.0] * 8), ("cosine", [(1 + math.cos(math.pi * t / 8)) / 2 for t in range(8)])],
)
def test_the_rate_follows_the_schedule_over_all_epochs(
    schedule: Schedule, shares: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []
    plain_step = torch.optim.SGD.step

    def noting_step(optimiser: torch.optim.SGD) -> None:
        rates.append(optimiser.param_groups[0]["lr"])
        plain_step(optimiser)

    monkeypatch.setattr(torch.optim.SGD, "step", noting_step)
    module = FromZero()
    group = {"params": [module.weight], "lr": 0.5}
    loss = CrossEntropyLoss([30, 5, 1])
    fit_head(module, given_set(), loss, [group], epochs=2, batch_size=10, schedule=schedule)
    assert rates == pytest.approx([0.5 * share for share in shares])


def test_progress_and_projections_come_after_each_batch() -> None:
    seen, projected = [], []
    module = FromZero()
    fit_head(
        module,
        given_set(lambda done, total, fitted: seen.append((done, total, fitted is module))),
        CrossEntropyLoss([30, 5, 1]),
        [{"params": [module.weight], "lr": 0.5}],
        epochs=2,
        batch_size=10,
        schedule="constant",
        after_step=lambda: projected.append(module.weight.detach().clone()),
    )
    assert seen == [(done, 8, True) for done in range(9)]
    assert len(projected) == 8
    assert torch.equal(projected[-1], module.weight)
    assert module.weight.grad is None


@pytest.mark.parametrize("rate", [1e38, 3e19])
def test_divergence_names_the_learning_rate(rate: float) -> None:
    module = FromZero()
    with pytest.raises(TrainingStopped, match=r"Lower its learning_rate, which is .*e\+"):
        fit_head(
            module,
            given_set(),
            CrossEntropyLoss([30, 5, 1]),
            [{"params": [module.weight], "lr": rate, "weight_decay": 1.0}],
            epochs=3,
            batch_size=10,
            schedule="constant",
        )


def test_an_overflow_in_the_last_update_is_noticed() -> None:
    module = FromZero()

    def overflow() -> None:
        module.weight.data.fill_(math.inf)

    with pytest.raises(TrainingStopped, match="at batch 1"):
        fit_head(
            module,
            given_set(),
            CrossEntropyLoss([30, 5, 1]),
            [{"params": [module.weight], "lr": 0.1}],
            epochs=1,
            batch_size=100,
            schedule="constant",
            after_step=overflow,
        )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("epochs", 0, "epochs"),
        ("batch_size", 0, "batch_size"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", math.nan, "learning_rate"),
        ("weight_decay", -1.0, "weight_decay"),
    ],
)
def test_wrong_options_are_refused(option: str, value: float, message: str) -> None:
    options = {"epochs": 1, "batch_size": 1, "learning_rate": 1.0, option: value}
    with pytest.raises(ConfigError, match=message):
        check_descent(**options)  # type: ignore[arg-type] # a dictionary of ints and floats
