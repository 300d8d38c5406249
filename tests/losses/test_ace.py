import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError, DataError
from taxonet.losses import ACELoss, cross_entropy_loss, split_classes
from tests.reference.experts import ace

COUNTS = [400, 60, 12, 5]


def random_scores(experts: int, rows: int, seed: int = 0) -> list[torch.Tensor]:
    draw = torch.randn(
        experts, rows, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return list(draw.unbind(0))


@given(
    most_images=st.sampled_from([(100,), (100, 19), (60, 12), (100, 30, 5)]),
    target=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    suppression=st.floats(0, 2),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(
    most_images: tuple[int, ...], target: list[int], suppression: float, seed: int
) -> None:
    scores = random_scores(len(most_images) + 1, len(target), seed)
    slow = ace(
        [expert.tolist() for expert in scores],
        target,
        counts=COUNTS,
        most_images=most_images,
        suppression=suppression,
    )
    loss = ACELoss(COUNTS, most_images=most_images, suppression=suppression)
    assert loss(scores, torch.tensor(target)).item() == pytest.approx(slow, rel=1e-9, abs=1e-9)


def test_a_case_by_hand() -> None:
    # Expert 1 has both images; expert 2 the second, and is silenced on class 0 there alone.
    loss = ACELoss([400, 5], most_images=(19,), suppression=0.5)
    scores = [torch.zeros(2, 2), torch.tensor([[9.0, 9.0], [3.0, 3.0]])]
    expected = math.log(2) + (math.log(2) + 0.5 * 3**2)
    assert loss(scores, torch.tensor([0, 1])).item() == pytest.approx(expected)


def test_the_classes_of_each_expert() -> None:
    assert split_classes([400, 100, 99, 20, 19, 1], (100, 19)).int().tolist() == [
        [1, 1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 1, 1],
    ]


def test_the_learning_rates_follow_the_images() -> None:
    loss = ACELoss(COUNTS)
    assert loss.learning_rate_factors.tolist() == pytest.approx([1.0, 77 / 477, 17 / 477])
    assert loss.expert_classes.sum(1).tolist() == [4, 3, 2]


def test_an_expert_without_own_images_costs_nothing_and_learns_nothing() -> None:
    scores = [expert.requires_grad_() for expert in random_scores(3, 2)]
    loss = ACELoss(COUNTS)
    value = loss(scores, torch.tensor([0, 0]))
    torch.autograd.backward(value)
    assert value.item() == pytest.approx(cross_entropy_loss(scores[0], torch.tensor([0, 0])).item())
    for expert in scores[1:]:
        assert expert.grad is not None
        assert expert.grad.abs().sum() == 0


def test_where_all_experts_have_all_classes_it_is_the_sum_of_cross_entropies() -> None:
    scores, target = random_scores(2, 5), torch.tensor([0, 1, 2, 3, 0])
    loss = ACELoss(COUNTS, most_images=(400,))
    assert loss(scores, target).item() == pytest.approx(
        sum(cross_entropy_loss(expert, target).item() for expert in scores)
    )


def test_suppression_draws_foreign_logits_to_0_from_both_sides() -> None:
    rare = torch.tensor([[5.0, -5.0, 0.0, 0.0]], requires_grad=True)
    loss = ACELoss(COUNTS, most_images=(19,), suppression=10.0)
    torch.autograd.backward(loss([torch.zeros(1, 4), rare], torch.tensor([3])))
    assert rare.grad is not None
    assert rare.grad[0, :2].tolist() == pytest.approx([100.0, -100.0], rel=0.02)


def test_gradcheck() -> None:
    loss, target = ACELoss(COUNTS), torch.tensor([0, 1, 3, 2])
    scores = [expert.requires_grad_() for expert in random_scores(3, 4)]
    assert torch.autograd.gradcheck(lambda a, b, c: loss([a, b, c], target), scores)


@pytest.mark.parametrize(
    ("most_images", "message"),
    [
        ((), r"falling|each below the one"),
        ((19, 100), r"each below the one before, but is \(19, 100\)"),
        ((100, 100), "each below the one before"),
        ((100, 4), "rarest class has 5 training images"),
    ],
)
def test_wrong_splits_are_refused(most_images: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ACELoss(COUNTS, most_images=most_images)


def test_another_number_of_experts_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(100, 19\) makes 3 experts, .* those of 2"):
        ACELoss(COUNTS)(random_scores(2, 1), torch.tensor([0]))
    with pytest.raises(ConfigError, match="suppression"):
        ACELoss(COUNTS, suppression=-1.0)
