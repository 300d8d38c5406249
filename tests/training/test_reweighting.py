import pytest
import torch

from taxonet.errors import ConfigError
from taxonet.losses import (
    ClassBalancedLoss,
    CrossEntropyLoss,
    NestedCollaborativeLoss,
    RIDELoss,
    class_balanced_weights,
)
from taxonet.recipes import ReweightingRecipe
from taxonet.training.reweighting import Reweighting

COUNTS = [50, 5]
CPU = torch.device("cpu")


@pytest.mark.parametrize(("given", "first"), [(None, 8), (3, 2)])
def test_weights_come_late_and_stay(given: int | None, first: int) -> None:
    loss = CrossEntropyLoss(COUNTS)
    late = Reweighting(
        loss, COUNTS, choice=ReweightingRecipe(from_epoch=given, beta=0.9), epochs=10
    )
    weighted = []
    for epoch in range(10):
        late.start_epoch(epoch, CPU)
        weighted.append(loss.class_weights is not None)
    assert weighted == [epoch >= first for epoch in range(10)]
    assert loss.class_weights is not None
    torch.testing.assert_close(loss.class_weights.double(), class_balanced_weights(COUNTS, 0.9))


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_short_runs_are_weighted_in_their_last_epoch(epochs: int) -> None:
    loss = CrossEntropyLoss(COUNTS)
    late = Reweighting(loss, COUNTS, choice=ReweightingRecipe(), epochs=epochs)
    late.start_epoch(epochs - 1, CPU)
    assert loss.class_weights is not None


def test_a_resumed_run_finds_the_weights_of_its_epoch() -> None:
    loss = CrossEntropyLoss(COUNTS)
    Reweighting(loss, COUNTS, choice=ReweightingRecipe(), epochs=10).start_epoch(9, CPU)
    assert loss.class_weights is not None


def test_experts_of_ride_are_weighed_and_others_refused() -> None:
    ride = RIDELoss(COUNTS)
    Reweighting(ride, COUNTS, choice=ReweightingRecipe(), epochs=2).start_epoch(0, CPU)
    weights = [ride.classification.class_weights]
    Reweighting(ride, COUNTS, choice=ReweightingRecipe(from_epoch=1), epochs=2).start_epoch(0, CPU)
    weights.append(ride.classification.class_weights)
    assert [one is None for one in weights] == [True, False]
    for loss in (ClassBalancedLoss(COUNTS), NestedCollaborativeLoss(COUNTS, hard_classes=1)):
        with pytest.raises(ConfigError, match="Set reweighting to null"):
            Reweighting(loss, COUNTS, choice=ReweightingRecipe(), epochs=1)
