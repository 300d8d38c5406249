"""What one step learns from: a batch, or the kept part of an extended one."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from taxonet.losses import AMSoftmaxLoss
from taxonet.models import CosineHead, Network, Normalisation
from taxonet.recipes import SelectionRecipe
from taxonet.training import train
from taxonet.training.objectives import ClassificationObjective
from taxonet.training.selection import random_keep
from tests.small_set import config


class Lengths(nn.Module):
    """An embedding whose norm is the brightness of the image."""

    def forward(self, images: Tensor) -> Tensor:
        length = images.mean(dim=(1, 2, 3))
        return torch.stack([length, torch.zeros_like(length)], dim=1)


def objective_of(selection: SelectionRecipe | None) -> ClassificationObjective:
    head = CosineHead(2, 2)
    head.load_state_dict({**head.state_dict(), "weight": torch.eye(2)})
    loss = AMSoftmaxLoss([1, 1], margin_cos=0.0, scale=1.0)
    return ClassificationObjective(
        Network(Lengths(), head, normalisation=Normalisation((0.0,) * 3, (1.0,) * 3)),
        loss,
        selection=selection,
    )


# Bright images are of class 0 and dark ones of class 1; the last two are added tail images.
PIXELS = torch.tensor([250, 10, 200, 20, 30, 240], dtype=torch.uint8)
IMAGES = PIXELS[:, None, None, None].expand(-1, 3, 2, 2)
TARGET = torch.tensor([0, 1, 0, 1, 1, 0])
TAIL = torch.tensor([False, False, False, False, True, True])
# Every image has the cosines 1 and 0: its loss is log(1 + 1/e) or log(1 + e).
RIGHT, WRONG = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))


@pytest.mark.parametrize(
    ("selection", "keep", "images", "tail_kept", "loss"),
    [
        (None, 4, 6, 2, (3 * RIGHT + 3 * WRONG) / 6),
        (SelectionRecipe(keep="lowest_norm"), 4, 4, 1, (RIGHT + 3 * WRONG) / 4),
        (SelectionRecipe(keep="lowest_norm"), 3, 3, 1, WRONG),
        (SelectionRecipe(keep="lowest_norm"), 6, 6, 2, (3 * RIGHT + 3 * WRONG) / 6),
        (SelectionRecipe(keep="lowest_norm"), 9, 6, 2, (3 * RIGHT + 3 * WRONG) / 6),
    ],
)
def test_the_lowest_norms_enter_the_loss(
    selection: SelectionRecipe | None, keep: int, images: int, tail_kept: int, loss: float
) -> None:
    output = objective_of(selection)(IMAGES, TARGET, TAIL, keep=keep, key=("step",))
    assert (output.images, output.tail_kept) == (images, tail_kept)
    assert output.loss.item() == pytest.approx(loss, abs=1e-6)


def test_random_selection_draws_by_the_key_of_the_step() -> None:
    objective = objective_of(SelectionRecipe(keep="random"))
    counts = set()
    for step in range(20):
        output = objective(IMAGES, TARGET, TAIL, keep=4, key=("step", step))
        chosen = random_keep(6, 4, "step", step)
        expected = torch.where(TARGET[chosen] == 0, RIGHT, WRONG).mean()
        assert output.loss.item() == pytest.approx(expected.item(), abs=1e-6)
        assert (output.images, output.tail_kept) == (4, int(TAIL[chosen].sum()))
        counts.add(output.tail_kept)
    assert counts == {0, 1, 2}


def test_an_extended_batch_keeps_exactly_its_size(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the tail images that were kept are counted in the log."""
    seen: list[tuple[int, int, int]] = []
    forward = ClassificationObjective.forward

    def watched(self: ClassificationObjective, images: Tensor, *rest: Any, **named: Any) -> Any:
        output = forward(self, images, *rest, **named)
        seen.append((len(images), output.images, output.tail_kept))
        return output

    monkeypatch.setattr(ClassificationObjective, "forward", watched)
    changes = ("batch_size=8", "selection.extra=3", "selection.probability=1.0")
    run = tmp_path / "run"
    train(config(photos, run, *changes, "selection.tail_shots=9", recipe="taxonet"))
    assert [given for given, _, _ in seen] == [11] * 10
    assert [kept for _, kept, _ in seen] == [8] * 10
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    kept_of_epoch = [sum(tail for _, _, tail in seen[i : i + 5]) for i in (0, 5)]
    assert [record["tail_kept"] for record in records] == kept_of_epoch
    assert 0 < sum(kept_of_epoch) < 30
