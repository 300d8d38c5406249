import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError
from taxonet.losses import AMSoftmaxLoss, CrossEntropyLoss, DualMarginLoss
from taxonet.training.selection import check_selection, lowest_norms, random_keep


@given(
    norms=st.lists(st.integers(0, 5), min_size=1, max_size=20),
    share=st.floats(0, 1),
    seed=st.integers(0, 100),
)
def test_lowest_norms_equal_a_sort(norms: list[int], share: float, seed: int) -> None:
    keep = max(1, round(share * len(norms)))
    # Norms on the axes are exact, so that ties are ties.
    embeddings = torch.zeros(len(norms), 3)
    axes = np.random.default_rng(seed).integers(0, 3, len(norms))
    for row, (norm, axis) in enumerate(zip(norms, axes, strict=True)):
        embeddings[row, int(axis)] = -norm
    by_norm_then_position = sorted(range(len(norms)), key=lambda row: (norms[row], row))
    assert lowest_norms(embeddings, keep).tolist() == sorted(by_norm_then_position[:keep])


def test_half_precision_norms_do_not_overflow() -> None:
    embeddings = torch.tensor([[6e4, 6e4], [6e4, 5e4]], dtype=torch.float16)
    assert lowest_norms(embeddings, 1).tolist() == [1]


def test_a_norm_that_is_not_a_number_comes_last() -> None:
    embeddings = torch.tensor([[float("nan")], [9.0], [float("inf")], [1.0]])
    assert lowest_norms(embeddings, 2).tolist() == [1, 3]
    assert lowest_norms(embeddings, 3).tolist() == [1, 2, 3]


def test_only_the_kept_carry_a_gradient() -> None:
    embeddings = torch.tensor([[3.0], [1.0], [2.0]], requires_grad=True)
    kept = lowest_norms(embeddings, 2)
    torch.autograd.backward(embeddings[kept].sum())
    assert embeddings.grad is not None
    assert embeddings.grad.tolist() == [[0.0], [1.0], [1.0]]


@given(count=st.integers(1, 60), share=st.floats(0, 1), key=st.integers(0, 10**6))
def test_random_keep_is_a_subset_in_order(count: int, share: float, key: int) -> None:
    keep = max(1, round(share * count))
    kept = random_keep(count, keep, key)
    assert kept.dtype is torch.int64
    assert len(kept) == keep
    assert sorted(set(kept.tolist())) == kept.tolist()
    assert int(kept[0]) >= 0
    assert int(kept[-1]) < count


def test_random_keep_follows_its_key_and_not_the_global_state() -> None:
    torch.manual_seed(0)
    first = random_keep(40, 32, 0, "epoch", 3)
    torch.manual_seed(1)
    assert torch.equal(random_keep(40, 32, 0, "epoch", 3), first)
    assert not torch.equal(random_keep(40, 32, 0, "epoch", 4), first)


def test_random_keep_is_fair() -> None:
    kept = torch.cat([random_keep(10, 8, step) for step in range(2000)])
    share = torch.bincount(kept, minlength=10) / 2000
    # Five standard deviations of a share of 0.8 over 2,000 draws are 0.045.
    assert share.tolist() == pytest.approx([0.8] * 10, abs=0.045)


@pytest.mark.parametrize("keep", [0, 4, -1])
def test_keep_outside_the_batch_is_refused(keep: int) -> None:
    with pytest.raises(ConfigError, match=f"not {keep}"):
        lowest_norms(torch.zeros(3, 2), keep)
    with pytest.raises(ConfigError, match=f"not {keep}"):
        random_keep(3, keep, 0)


def test_selection_needs_a_margin_loss() -> None:
    check_selection(AMSoftmaxLoss([3, 1]))
    check_selection(DualMarginLoss([3, 1]))
    check_selection(DualMarginLoss([3, 1], dual=False))
    with pytest.raises(ConfigError, match=r"CrossEntropyLoss is none.*am_softmax, arcface"):
        check_selection(CrossEntropyLoss([3, 1]))
