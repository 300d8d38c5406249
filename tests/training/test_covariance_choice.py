import numpy as np
import pytest
import torch

from taxonet.errors import ConfigError, DataError
from taxonet.training.covariance import HeadChoice, split_classes


def test_the_line_between_head_and_tail() -> None:
    tail, head = split_classes(torch.tensor([3, 100, 99, 101]), tail_shots=100)
    assert tail.tolist() == [0, 2]
    assert head.tolist() == [1, 3]
    none, _ = split_classes([5, 6], tail_shots=5)
    assert none.tolist() == []
    with pytest.raises(ConfigError, match=r"No class has 100 .* the largest has 9"):
        split_classes([9, 3])
    with pytest.raises(ConfigError, match="tail_shots must be at least 1 image, but is 0"):
        split_classes([9, 3], tail_shots=0)


def test_without_similarity_every_head_class_is_equally_likely() -> None:
    choice = HeadChoice([5], [1, 2, 7])
    drawn = choice.draw(torch.full((6000,), 5), 0)
    share = torch.bincount(drawn, minlength=8) / 6000
    # Five standard deviations of a share of 1/3 over 6,000 draws are 0.03.
    assert share.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 0, 0, 0, 0, 1 / 3], abs=0.03)


def test_with_similarity_only_the_nearest_are_drawn() -> None:
    similarity = [[0.1, 0.9, 0.5], [0.7, 0.2, 0.3]]
    choice = HeadChoice([4, 0], [1, 2, 3], similarity=similarity, k=2)
    assert choice.candidates(4).tolist() == [2, 3]
    assert choice.candidates(0).tolist() == [1, 3]
    drawn = choice.draw(torch.tensor([4, 0] * 100), 1)
    assert set(drawn[::2].tolist()) == {2, 3}
    assert set(drawn[1::2].tolist()) == {1, 3}


def test_ties_with_the_last_of_the_nearest_take_part() -> None:
    choice = HeadChoice([0], [1, 2, 3, 4], similarity=[[0.5, 0.8, 0.5, 0.1]], k=2)
    assert choice.candidates(0).tolist() == [1, 2, 3]
    everyone = HeadChoice([0], [1, 2], similarity=[[0.5, 0.8]], k=10)
    assert everyone.candidates(0).tolist() == [1, 2]


def test_permuting_classes_permutes_the_candidates() -> None:
    rng = np.random.default_rng(0)
    similarity = rng.integers(0, 4, (3, 5)) / 4  # with ties
    tail, head = np.array([0, 3, 6]), np.array([1, 2, 4, 5, 7])
    place = rng.permutation(8)
    rows, columns = rng.permutation(3), rng.permutation(5)
    plain = HeadChoice(tail, head, similarity=similarity, k=2)
    permuted = HeadChoice(
        place[tail[rows]], place[head[columns]], similarity=similarity[rows][:, columns], k=2
    )
    for t in tail:
        expected = sorted(place[plain.candidates(int(t))].tolist())
        assert sorted(permuted.candidates(int(place[t])).tolist()) == expected


def test_head_images_draw_nothing_and_no_tail_is_allowed() -> None:
    assert HeadChoice([2], [0, 1]).draw(torch.tensor([0, 1]), 0).tolist() == [-1, -1]
    assert HeadChoice([], [0, 1]).draw(torch.tensor([0, 1]), 0).tolist() == [-1, -1]
    assert HeadChoice([], [0], similarity=np.zeros((0, 1))).draw(torch.tensor([0])).tolist() == [-1]


def test_the_draw_follows_its_key_and_not_the_global_state() -> None:
    choice, target = HeadChoice([0], range(1, 50)), torch.zeros(40, dtype=torch.int64)
    torch.manual_seed(0)
    first = choice.draw(target, 7, "epoch", 3)
    torch.manual_seed(1)
    assert torch.equal(choice.draw(target, 7, "epoch", 3), first)
    assert not torch.equal(choice.draw(target, 7, "epoch", 4), first)


@pytest.mark.parametrize(
    ("tail", "head", "k", "message"),
    [
        ([0], [], 5, "1 tail and 0 head classes"),
        ([0, 1], [1, 2], 5, "1 of them repeated"),
        ([0], [1], 0, "k must be at least 1 head class, but is 0"),
    ],
)
def test_wrong_options_are_refused(tail: list[int], head: list[int], k: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HeadChoice(tail, head, k=k)


@pytest.mark.parametrize(
    ("similarity", "message"),
    [([[0.5]], r"shape \(1, 2\), tail by head classes, but is \(1, 1\)"), ([[0.5, np.nan]], "nan")],
)
def test_wrong_similarities_are_refused(similarity: list[list[float]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        HeadChoice([0], [1, 2], similarity=similarity)
