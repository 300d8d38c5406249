import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError, DataError
from taxonet.losses import (
    LDAMLoss,
    RIDELoss,
    cross_entropy_loss,
    expert_diversity,
    ldam_margins,
    relative_temperatures,
)
from taxonet.registry import EXPERT_LOSSES
from tests.reference.experts import ride

COUNTS = [40, 9, 3, 1]
WEIGHTS = torch.tensor([0.25, 0.5, 1.0, 2.25])


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
    target=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    margin=st.floats(0, 0.6),
    scale=st.floats(1, 8),  # beyond, the exponentials of the loop overflow
    diversity_weight=st.floats(0, 1),
    temperature=st.floats(0.5, 3),
    frequency_share=st.floats(0, 0.9),
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(
    experts: int,
    target: list[int],
    margin: float,
    scale: float,
    diversity_weight: float,
    temperature: float,
    frequency_share: float,
    weighted: bool,
    seed: int,
) -> None:
    scores = random_scores(experts, len(target), seed=seed)
    slow = ride(
        [expert.tolist() for expert in scores],
        target,
        counts=COUNTS,
        margins=ldam_margins(COUNTS, margin).tolist(),
        scale=scale,
        diversity_weight=diversity_weight,
        temperature=temperature,
        frequency_share=frequency_share,
        class_weights=WEIGHTS.tolist() if weighted else None,
    )
    loss = RIDELoss(
        COUNTS,
        diversity_weight=diversity_weight,
        diversity_temperature=temperature,
        frequency_share=frequency_share,
        max_margin_cos=margin,
        scale=scale,
    )
    if weighted:
        loss.reweight(WEIGHTS)
    fast = loss(scores, torch.tensor(target)).item()
    assert fast == pytest.approx(slow, rel=1e-4, abs=1e-4)  # margins, temperatures are float32


def test_a_case_by_hand() -> None:
    # Mean (0, 0): a half each; the experts answer 3/4, 1/4 and 1/4, 3/4.
    scores = [torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[0.0, math.log(3.0)]])]
    divergence = 2 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert expert_diversity(scores, torch.ones(2)).item() == pytest.approx(divergence)
    loss = RIDELoss([1, 1], base="ce", diversity_weight=0.5)
    expected = -math.log(0.75) - math.log(0.25) - 0.5 * divergence
    assert loss(scores, torch.tensor([0])).item() == pytest.approx(expected)


def test_the_temperatures_of_the_paper_s_definition() -> None:
    # b = 0.5 * 4 * (40, 9, 3, 1) / 53 + 0.5, over the largest.
    raw = [0.5 + 2 * count / 53 for count in COUNTS]
    assert relative_temperatures(COUNTS, 0.5).tolist() == pytest.approx([b / raw[0] for b in raw])
    assert relative_temperatures(COUNTS, 0.0).tolist() == [1.0] * 4
    assert relative_temperatures([7, 7, 7], 0.9).tolist() == pytest.approx([1.0] * 3)


def test_without_diversity_it_is_the_sum_of_the_classification_losses() -> None:
    scores, target = random_scores(3, 5), torch.tensor([0, 1, 2, 3, 0])
    ldam = LDAMLoss(COUNTS)
    assert RIDELoss(COUNTS, diversity_weight=0.0)(scores, target).item() == pytest.approx(
        sum(ldam(expert, target).item() for expert in scores)
    )
    plain = RIDELoss(COUNTS, base="ce", diversity_weight=0.0)
    assert (plain.takes, plain.scale) == ("logits", 1.0)
    assert plain(scores, target).item() == pytest.approx(
        sum(cross_entropy_loss(expert, target).item() for expert in scores)
    )


def test_disagreement_pays_and_agreement_is_free() -> None:
    (scores,) = random_scores(1, 5)
    temperatures = torch.ones(4)
    assert expert_diversity([scores, scores], temperatures).item() == pytest.approx(0.0)
    near = expert_diversity([scores, scores + 0.1 * scores.flip(1)], temperatures)
    far = expert_diversity([scores, scores + scores.flip(1)], temperatures)
    assert 0 < near < far


def test_the_slope_of_the_diversity_is_own_less_common() -> None:
    scores = [expert.requires_grad_() for expert in random_scores(2, 1)]
    first, _ = torch.autograd.grad(expert_diversity(scores, torch.ones(4)), scores)
    mean = (scores[0] + scores[1]).detach() / 2
    torch.testing.assert_close(first, scores[0].detach().softmax(1) - mean.softmax(1))


def test_a_rare_class_is_driven_further_apart() -> None:
    scores = [torch.zeros(1, 2), torch.zeros(1, 2)]
    scores[0][0, 1], scores[1][0, 1] = 1.0, -1.0  # they differ on the rare class
    common = [expert.flip(1) for expert in scores]
    temperatures = relative_temperatures([90, 10], 0.5).float()
    assert expert_diversity(scores, temperatures) > expert_diversity(common, temperatures)


def test_deferred_temperatures_wait_for_the_class_weights() -> None:
    scores, target = random_scores(2, 4), torch.tensor([0, 1, 2, 3])
    options = {"base": "ce", "frequency_share": 0.5}
    always = EXPERT_LOSSES.build("ride", options, COUNTS)
    deferred = EXPERT_LOSSES.build("ride", {**options, "distribution_aware": "deferred"}, COUNTS)
    even = EXPERT_LOSSES.build("ride", {**options, "frequency_share": 0.0}, COUNTS)
    assert deferred(scores, target) == even(scores, target) != always(scores, target)
    for loss in (always, deferred):
        loss.reweight(WEIGHTS)
    assert deferred(scores, target) == always(scores, target)
    deferred.reweight(None)
    assert deferred(scores, target) == even(scores, target)


def test_gradcheck() -> None:
    target = torch.tensor([0, 1, 2])
    scores = [expert.requires_grad_() for expert in random_scores(2, 3)]
    loss = RIDELoss(COUNTS, frequency_share=0.5, scale=4.0).double()
    assert torch.autograd.gradcheck(lambda a, b: loss([a, b], target), scores)


def test_wrong_options_are_refused() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"base": "bs"}, "base must be 'ldam' or 'ce'"),
        ({"distribution_aware": "never"}, "distribution_aware must be"),
        ({"diversity_weight": -0.1}, "diversity_weight"),
        ({"diversity_temperature": 0.0}, "diversity_temperature must be above 0, but is 0"),
        ({"frequency_share": 1.0}, "frequency_share"),
        ({"max_margin_cos": -1.0}, "max_margin_cos"),
        ({"scale": 0.0}, "scale"),
    ]
    for options, message in wrong:
        with pytest.raises(ConfigError, match=message):
            EXPERT_LOSSES.get("ride")(COUNTS, **options)
    with pytest.raises(DataError, match="4 classes"):
        RIDELoss(COUNTS).reweight(torch.ones(3))
