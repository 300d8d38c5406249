import math
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError
from taxonet.losses import (
    BalancedSoftmaxLoss,
    DBMLoss,
    NestedCollaborativeLoss,
    hard_class_mask,
    mutual_divergence,
)
from taxonet.registry import EXPERT_LOSSES
from tests.reference.experts import nested_collaborative

COUNTS = [40, 9, 3, 1]


def random_scores(experts: int, rows: int, classes: int = 4, seed: int = 0) -> list[torch.Tensor]:
    draw = torch.rand(
        experts,
        rows,
        classes,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(seed),
    )
    return list((2 * draw - 1).unbind(0))


@given(
    experts=st.integers(2, 4),
    hard_classes=st.integers(1, 4),
    factor=st.floats(0, 2),
    target=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    dbm_margin=st.none() | st.floats(0, 0.3),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(
    experts: int,
    hard_classes: int,
    factor: float,
    target: list[int],
    dbm_margin: float | None,
    seed: int,
) -> None:
    scores = random_scores(experts, len(target), seed=seed)
    slow = nested_collaborative(
        [expert.tolist() for expert in scores],
        target,
        counts=COUNTS,
        hard_classes=hard_classes,
        factor=factor,
        dbm_margin=dbm_margin,
    )
    loss = NestedCollaborativeLoss(
        COUNTS,
        hard_classes=hard_classes,
        factor=factor,
        base="bs" if dbm_margin is None else "dbm-bs",
        max_margin_rad=dbm_margin or 0.0,
    )
    fast = loss(scores, torch.tensor(target)).item()
    assert fast == pytest.approx(slow, rel=1e-5, abs=1e-6)  # priors and margins are float32


def test_a_case_by_hand() -> None:
    # Counts 1 and 1: the logits are the scores. Expert 1: (log 3, 0), expert 2: (0, 0), target 1.
    # Hard is the target alone, so that class 0 is 0 there and both answer one half.
    loss = NestedCollaborativeLoss([1, 1], hard_classes=1, factor=2.0)
    scores = [torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)]
    there = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    back = 0.5 * math.log(2 / 3) + 0.5 * math.log(2.0)
    expected = math.log(4) + 3 * math.log(2) + 2 * (there + back)
    assert loss(scores, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-6)


def test_with_all_classes_hard_both_halves_are_equal() -> None:
    scores, target = random_scores(3, 5), torch.tensor([0, 1, 2, 3, 0])
    loss = NestedCollaborativeLoss(COUNTS, hard_classes=4, factor=0.6)
    balanced = BalancedSoftmaxLoss(COUNTS)
    on_all = torch.stack([balanced(expert, target) for expert in scores]).sum()
    mutual = mutual_divergence([balanced.adjusted(expert, target) for expert in scores])
    expected = 2 * (on_all + 0.6 * mutual)
    assert loss(scores, target).item() == pytest.approx(expected.item(), rel=1e-6)


def test_experts_that_agree_have_nothing_to_learn_from_one_another() -> None:
    (scores,) = random_scores(1, 5)
    assert mutual_divergence([scores, scores.clone(), scores + 3]).item() == pytest.approx(0.0)
    target = torch.tensor([0, 1, 2, 3, 0])
    values = [
        NestedCollaborativeLoss(COUNTS, hard_classes=2, factor=factor)([scores, scores], target)
        for factor in (0.0, 5.0)
    ]
    assert values[0].item() == pytest.approx(values[1].item())


def test_the_order_of_experts_matters_for_the_choice_of_hard_classes_alone() -> None:
    scores, target = random_scores(3, 6), torch.tensor([0, 1, 2, 3, 0, 1])
    free = NestedCollaborativeLoss(COUNTS, hard_classes=4)
    values = [free([scores[i] for i in order], target).item() for order in permutations(range(3))]
    assert values == pytest.approx([values[0]] * 6, rel=1e-12)
    nested = NestedCollaborativeLoss(COUNTS, hard_classes=2)
    assert nested(scores, target) != nested(scores[::-1], target)
    assert nested(scores, target).item() == pytest.approx(
        nested([scores[0], scores[2], scores[1]], target).item(), rel=1e-12
    )


def test_hard_are_the_target_and_what_the_first_expert_believes_without_priors() -> None:
    scores = torch.tensor([[0.4, 0.1, 0.3, 0.2], [0.4, 0.1, 0.3, 0.2]])
    mask = hard_class_mask(scores, torch.tensor([0, 1]), hard_classes=2)
    assert mask.tolist() == [[True, False, True, False], [True, True, False, False]]
    # Class 0 is by far the commonest, and yet no hard one where the first expert puts it last.
    loss = NestedCollaborativeLoss([10**6, 2, 1], hard_classes=2, factor=0.0)
    first = torch.tensor([[-1.0, 0.5, 0.0]])
    other = torch.tensor([[0.0, 0.0, 0.0]], requires_grad=True)
    balanced = BalancedSoftmaxLoss([10**6, 2, 1])
    target = torch.tensor([1])
    on_hard = loss([first, other], target) - balanced(first, target) - balanced(other, target)
    (gradient,) = torch.autograd.grad(on_hard, other)
    assert gradient[0].tolist()[0] == pytest.approx(0.0, abs=1e-9)
    assert gradient[0].tolist()[2] > 0


def test_dbm_without_margin_is_balanced_softmax_of_the_scaled_cosines() -> None:
    scores, target = random_scores(2, 5), torch.tensor([0, 1, 2, 3, 0])
    dbm = NestedCollaborativeLoss(COUNTS, hard_classes=2, base="dbm-bs", max_margin_rad=0.0)
    plain = NestedCollaborativeLoss(COUNTS, hard_classes=2)
    assert (dbm.takes, dbm.scale) == ("cosines", 32.0)
    assert (plain.takes, plain.scale) == ("logits", 1.0)
    assert dbm(scores, target).item() == pytest.approx(
        plain([32 * expert for expert in scores], target).item(), rel=1e-9
    )


def test_the_mutual_terms_see_margins_and_priors() -> None:
    scores, target = random_scores(2, 5), torch.tensor([0, 1, 2, 3, 0])
    loss = NestedCollaborativeLoss(COUNTS, hard_classes=4, factor=1.0, base="dbm-bs")
    dbm = DBMLoss(COUNTS, base="bs")
    adjusted = [dbm.adjusted(expert, target) for expert in scores]
    expected = 2 * (dbm(scores[0], target) + dbm(scores[1], target) + mutual_divergence(adjusted))
    assert loss(scores, target).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("base", ["bs", "dbm-bs"])
def test_gradcheck(base: str) -> None:
    loss = EXPERT_LOSSES.build(
        "nested_collaborative", {"hard_classes": 2, "base": base}, COUNTS
    ).double()
    target = torch.tensor([0, 1, 2])
    scores = [expert.requires_grad_() for expert in random_scores(2, 3)]
    assert torch.autograd.gradcheck(lambda a, b: loss([a, b], target), scores)


@pytest.mark.parametrize("hard_classes", [0, -1, 5])
def test_wrong_numbers_of_hard_classes_are_refused(hard_classes: int) -> None:
    with pytest.raises(ConfigError, match=f"from 1 to 4.*but is {hard_classes}"):
        NestedCollaborativeLoss(COUNTS, hard_classes=hard_classes)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="factor must be"):
        NestedCollaborativeLoss(COUNTS, hard_classes=2, factor=-1.0)
    with pytest.raises(ConfigError, match="base must be 'bs' or 'dbm-bs', but is 'ce'"):
        EXPERT_LOSSES.get("nested_collaborative")(COUNTS, hard_classes=2, base="ce")
    with pytest.raises(ConfigError, match="hard_classes"):
        EXPERT_LOSSES.check("nested_collaborative", {})
