"""What a step with mixed images learns from."""

import pytest
import torch
from torch import Tensor, nn

from taxonet.losses import CrossEntropyLoss
from taxonet.models import LinearHead, Network, Normalisation
from taxonet.recipes import MixingRecipe
from taxonet.training.objectives import MixingObjective


class Brightness(nn.Module):
    """The mean of each image, as its only feature."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(1, 2, 3)).unsqueeze(1)


def objective(name: str, probability: float = 1.0) -> MixingObjective:
    head = LinearHead(1, 2)
    head.load_state_dict({"weight": torch.tensor([[0.0], [1.0]]), "bias": torch.zeros(2)})
    recipe = MixingRecipe.model_validate({"name": name, "probability": probability})
    return MixingObjective(
        Network(Brightness(), head, normalisation=Normalisation((0.0,) * 3, (1.0,) * 3)),
        CrossEntropyLoss([1, 1]),
        mixing=recipe,
    )


IMAGES = torch.tensor([0, 255, 0, 255], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 8, 8)
TARGET = torch.tensor([0, 1, 0, 1])
PARTS = torch.zeros(4, dtype=torch.int64)


def step(name: str, key: int, *, part: Tensor = PARTS, probability: float = 1.0) -> float:
    output = objective(name, probability)(IMAGES, TARGET, part, keep=4, key=("step", key))
    assert output.images == int((part == 0).sum())
    return float(output.loss.item())


def test_without_chance_nothing_is_mixed() -> None:
    # A dark image costs log 2, a bright one log(1 + 1/e).
    plain = (2 * 0.6931472 + 2 * 0.3132617) / 4
    for name in ("mixup", "cutmix", "cmo"):
        assert step(name, 0, probability=0.0) == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_the_loss_is_that_of_both_labels_by_their_shares(name: str) -> None:
    # An image mixed from class 0 (dark) and class 1 (bright) has the brightness of class 1's share,
    # b, and costs log(1 + e^b) - b * b in all: so every batch costs the mean of that.
    seen = {round(step(name, key), 6) for key in range(12)}
    assert len(seen) > 3
    mixed = torch.linspace(0, 1, 200)
    costs = torch.log1p(mixed.exp()) - mixed * mixed
    pure = torch.tensor([0.6931472, 0.3132617])
    assert all(min(pure.min(), costs.min()) - 1e-4 <= one <= costs.max() + 1e-4 for one in seen)


def test_cmo_pastes_the_second_part_onto_the_first() -> None:
    part = torch.tensor([0, 1, 0, 1])  # dark images in the batch proper, bright ones pasted
    for key in range(6):
        loss = step("cmo", key, part=part)
        # Both images get the same box: brightness and share of class 1 are one number b.
        share = torch.linspace(0, 1, 2001)
        costs = torch.log1p(share.exp()) - share * share
        assert (costs - loss).abs().min() < 1e-3


def test_a_shorter_second_part_is_enough() -> None:
    # Broken photos left three images and two to paste; of one, BatchNorm could not learn.
    images, target = torch.cat([IMAGES, IMAGES[:1]]), torch.cat([TARGET, TARGET[:1]])
    for part, left in (([0, 1, 0, 0, 1], 2), ([0, 1, 0, 0, 0], 4), ([0, 0, 0, 0, 0], 5)):
        output = objective("cmo")(images, target, torch.tensor(part), keep=4, key=("step", 1))
        assert output.images == left
        assert torch.isfinite(output.loss)
