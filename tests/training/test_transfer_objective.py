"""What a step of SMART learns from: whose features change, and with what weight."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.losses import CrossEntropyLoss
from taxonet.models import LinearHead, Network, Normalisation
from taxonet.recipes import TransferRecipe
from taxonet.training.covariance import ClassStatistics
from taxonet.training.objectives import TransferObjective
from tests.training.test_methods import make, recipe_of


class Features(nn.Module):
    """A 1x1 convolution to two channels, and their means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.conv(images)
        self.seen.append(features)
        return features.mean(dim=(2, 3))


def features_of(one: TransferObjective) -> Features:
    backbone = one.network.backbone
    assert isinstance(backbone, Features)
    return backbone


def objective(**options: object) -> TransferObjective:
    torch.manual_seed(0)
    backbone = Features()
    return TransferObjective(
        Network(backbone, LinearHead(2, 3), normalisation=Normalisation((0.0,) * 3, (1.0,) * 3)),
        CrossEntropyLoss([100, 50, 3]),
        recipe=TransferRecipe.model_validate({"covariance": "full", **options}),
        layer=backbone.conv,
        statistics=ClassStatistics(3, 2),
        tail_classes=np.array([2]),
        head_classes=np.array([0, 1]),
    )


IMAGES = torch.randint(
    0, 256, (6, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)
TARGET = torch.tensor([0, 1, 2, 2, 0, 2])
PART = torch.tensor([0, 0, 0, 1, 1, 1])


def run(one: TransferObjective) -> tuple[Tensor, dict[str, float]]:
    output = one(IMAGES, TARGET, PART, keep=3, key=("step", 0))
    return output.loss, dict(output.figures)


def test_only_tail_images_of_the_second_batch_change() -> None:
    one = objective()
    plain = features_of(one).conv(IMAGES / 255)
    run(one)
    changed = features_of(one).seen[-1]
    same = [bool(torch.allclose(changed[i], plain[i], atol=1e-6)) for i in range(6)]
    assert same == [True, True, True, False, True, False]


def test_statistics_are_of_the_features_before_the_change() -> None:
    one = objective()
    plain = features_of(one).conv(IMAGES / 255).detach()
    run(one)
    for label in range(3):
        positions = plain[label == TARGET].movedim(1, -1).reshape(-1, 2)
        torch.testing.assert_close(one.statistics.mean[label], positions.mean(0))
        torch.testing.assert_close(one.statistics.variance[label], positions.var(0, unbiased=False))


def test_the_weights_of_tail_images_are_logged_and_in_their_range() -> None:
    _, figures = run(objective(weight_min=0.2, weight_max=0.3))
    assert set(figures) >= {"weight_min", "weight_median", "weight_max"}
    assert 0.2 - 1e-6 <= figures["weight_min"] <= figures["weight_max"] <= 0.3 + 1e-6


def test_the_loss_weighs_tail_images_and_may_leave_the_first_batch_out() -> None:
    both, tail = objective(train_on="both"), objective(train_on="tail")
    loss = run(both)[0]
    scores = both.network.head(features_of(both).seen[-1].mean(dim=(2, 3)))
    each = nn.functional.cross_entropy(scores, TARGET, reduction="none")
    rebuilt = objective()
    _, figures = run(rebuilt)
    assert loss < each.mean()  # weights of tail images are below 1 here
    assert loss > each[[0, 1, 2, 4]].sum() / 6
    assert figures["weight_max"] < 1
    output = tail(IMAGES, TARGET, PART, keep=3, key=("step", 0))
    assert output.images == 3


def test_it_says_what_the_statistics_take() -> None:
    said = "Full covariances of 3 classes and 2 channels in float32 take 120 B."
    assert objective().notes == (said,)


def test_the_network_is_left_as_it_was() -> None:
    one = objective()
    run(one)
    assert not features_of(one).conv._forward_hooks
    plain = one.network(IMAGES).embedding
    torch.testing.assert_close(plain, features_of(one).conv(IMAGES / 255).mean(dim=(2, 3)))


def test_heads_are_the_nearest_relatives_where_asked() -> None:
    recipe = recipe_of("method/smart-relatives")
    one = make(recipe)
    assert isinstance(one, TransferObjective)
    # Classes 0, 1 are Acer and 2, 3 are Rosa; 0 and 1 have the images: no relative of 2 or 3.
    assert one.similarity.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_prototypes_are_compared_anew_each_epoch() -> None:
    recipe = recipe_of("method/smart", "transfer.similar=1", "transfer.similarity=prototypes")
    one = make(recipe)
    one.start_epoch(0)
    weight = nn.functional.normalize(one.network.head.weight.detach(), dim=1)
    assert isinstance(one, TransferObjective)
    torch.testing.assert_close(one.similarity, weight[2:] @ weight[:2].T)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("transfer.budget_gb=1e-6",), "beyond the budget .* `covariance: lowrank`"),
        (("transfer.layer=stage9",), "has no layer 'stage9'"),
        (("transfer.tail_shots=500",), "no head class"),
        (("model.experts=2",), "set model.experts=1, or transfer to null"),
    ],
)
def test_what_cannot_work_is_refused_before_training(changes: tuple[str, ...], says: str) -> None:
    recipe = recipe_of("method/smart", *changes)
    with pytest.raises(ConfigError, match=says):
        make(recipe)
