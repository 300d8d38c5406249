import math

import pytest
import torch

from taxonet import metrics
from taxonet.inference import energy, max_logit, max_softmax
from taxonet.inference import novelty as room
from taxonet.registry import NOVELTY_SCORES

ALL = ["embedding_norm", "energy", "entropy", "max_logit", "max_softmax"]


def inputs(
    dtype: torch.dtype = torch.float64, classes: int = 7
) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    embedding = torch.randn(9, 5, generator=chance, dtype=torch.float64)
    cosines = torch.rand(9, classes, generator=chance, dtype=torch.float64) * 2 - 1
    return embedding.to(dtype), cosines.to(dtype)


def slow(name: str, embedding: list[float], scores: list[float], scale: float) -> float:
    """The definitions, one image at a time."""
    weights = [math.exp(scale * score) for score in scores]
    probs = [weight / sum(weights) for weight in weights]
    return {
        "embedding_norm": -math.sqrt(sum(x * x for x in embedding)),
        "energy": -math.log(sum(weights)),
        "entropy": -sum(p * math.log(p) for p in probs if p > 0),
        "max_logit": -max(scale * score for score in scores),
        "max_softmax": 1 - max(probs),
    }[name]


def test_one_threshold_serves_both_rooms() -> None:
    assert room.threshold_at_tpr is metrics.threshold_at_tpr
    known = max_logit(torch.zeros(4, 1), torch.tensor([[4.0], [3.0], [2.0], [1.0]]), 1.0)
    assert room.threshold_at_tpr(known, 0.75) == -2
    assert room.threshold_at_tpr(known) == -1


def test_the_registry_holds_all_scores() -> None:
    assert set(ALL) <= set(NOVELTY_SCORES.names())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scale", [1.0, 16.0])
def test_scores_equal_loops(name: str, scale: float) -> None:
    embedding, scores = inputs()
    novelty = NOVELTY_SCORES.build(name, {}, embedding, scores, scale)
    expected = [
        slow(name, x, s, scale) for x, s in zip(embedding.tolist(), scores.tolist(), strict=True)
    ]
    torch.testing.assert_close(novelty, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("name", ALL)
def test_higher_is_more_novel(name: str) -> None:
    embedding = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    scores = torch.tensor([[0.9, -0.2, -0.1], [0.1, 0.0, 0.05]])  # clear, then doubtful
    clear, doubtful = NOVELTY_SCORES.get(name)(embedding, scores, 8.0).tolist()
    assert doubtful > clear


@pytest.mark.parametrize("name", ALL)
def test_each_image_is_scored_alone(name: str) -> None:
    embedding, scores = inputs(torch.float32)
    score = NOVELTY_SCORES.get(name)
    together = score(embedding, scores, 4.0)
    alone = torch.cat([score(embedding[i : i + 1], scores[i : i + 1], 4.0) for i in range(9)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_classes_does_not_matter(name: str) -> None:
    embedding, scores = inputs()
    score = NOVELTY_SCORES.get(name)
    torch.testing.assert_close(score(embedding, scores.flip(1), 4.0), score(embedding, scores, 4.0))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_is_raised_to_float32(name: str, dtype: torch.dtype) -> None:
    embedding, scores = inputs(dtype)
    novelty = NOVELTY_SCORES.get(name)(embedding, scores, 32.0)
    assert novelty.dtype == torch.float32
    exact = NOVELTY_SCORES.get(name)(embedding.double(), scores.double(), 32.0)
    torch.testing.assert_close(novelty.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_extreme_and_masked_scores_stay_numbers(name: str) -> None:
    scores = torch.tensor([[500.0, -500.0, 0.0], [1.0, -torch.inf, 0.0]])
    assert NOVELTY_SCORES.get(name)(torch.zeros(2, 4), scores, 1.0).isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_a_single_class_is_never_in_doubt(name: str) -> None:
    novelty = NOVELTY_SCORES.get(name)(torch.ones(1, 4), torch.tensor([[0.5]]), 2.0).item()
    expected = {"embedding_norm": -2, "energy": -1, "max_logit": -1}.get(name, 0)
    assert novelty == pytest.approx(expected)


def test_confident_images_keep_their_order_in_float32() -> None:
    scores = torch.tensor([[20.0, 0.0], [21.0, 0.0], [40.0, 0.0]])
    novelty = max_softmax(torch.zeros(3, 1), scores, 1.0)
    assert (scores.softmax(1).amax(1)[1:] == 1).all()  # where 1 - p would tie
    assert novelty[0] > novelty[1] > novelty[2] > 0


def test_equal_largest_scores_count_once() -> None:
    assert max_softmax(torch.zeros(1, 1), torch.tensor([[2.0, 2.0, 2.0, 2.0]]), 1.0).item() == 0.75


def test_a_shift_of_logits_shows_in_energy_and_max_logit_alone() -> None:
    embedding, scores = inputs()
    shifted = scores + 3
    for score in (energy, max_logit):
        torch.testing.assert_close(
            score(embedding, shifted, 2.0), score(embedding, scores, 2.0) - 6
        )
    for name in ("entropy", "max_softmax"):
        score = NOVELTY_SCORES.get(name)
        torch.testing.assert_close(score(embedding, shifted, 2.0), score(embedding, scores, 2.0))
