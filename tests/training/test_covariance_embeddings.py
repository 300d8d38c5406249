"""Covariances of classes of stored embeddings, and what a transfer between them does."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.training.covariance import (
    EmbeddingCovariances,
    check_embedding_budget,
    embedding_memory,
    transfer_embeddings,
    weight_towards_identity,
    weight_towards_sphere,
)
from tests.reference.covariance import slow_covariances, slow_embedding_transfer

SIZE = 6
COUNTS = (40, 25, 5, 2, 1)


def gaussians(*counts: int, size: int = SIZE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Embeddings of classes with correlated values, unlike from class to class."""
    rng = torch.Generator().manual_seed(seed)
    found = []
    for label, count in enumerate(counts):
        mixing = torch.randn(size, size, generator=rng)
        found.append(torch.randn(count, size, generator=rng) @ mixing + 3 * label)
    return torch.cat(found), torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def learned(*counts: int, columns: int = SIZE, size: int = SIZE) -> EmbeddingCovariances:
    return EmbeddingCovariances(
        *gaussians(*counts, size=size), classes=len(counts), columns=columns
    )


@pytest.mark.parametrize("size", [1, 2, SIZE, 60])
def test_covariances_are_those_of_the_definition(size: int) -> None:
    embeddings, targets = gaussians(*COUNTS, size=size)
    found = EmbeddingCovariances(embeddings, targets, len(COUNTS), columns=min(size, 39))
    slow = slow_covariances(embeddings.double().numpy(), targets.tolist())
    for label, expected in slow.items():
        ours = found.covariance(label).numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_directions_that_are_left_out_share_their_mean(columns: int) -> None:
    embeddings, targets = gaussians(*COUNTS)
    found = EmbeddingCovariances(embeddings, targets, len(COUNTS), columns=columns)
    slow = slow_covariances(embeddings.double().numpy(), targets.tolist())
    for label, expected in slow.items():
        ours = found.covariance(label).double().numpy()
        # Eigenvalues in the coordinates in which the pooled covariance, that of class 4, is I.
        kept, whole = (
            np.sort(np.linalg.eigvals(np.linalg.solve(slow[4], one)).real)[::-1]
            for one in (ours, expected)
        )
        np.testing.assert_allclose(kept[:columns], whole[:columns], rtol=2e-3)
        np.testing.assert_allclose(kept[columns:], whole[columns:].mean(), rtol=2e-3)


def test_a_transfer_is_that_of_the_definition() -> None:
    embeddings, targets = gaussians(*COUNTS)
    found = EmbeddingCovariances(embeddings, targets, len(COUNTS), columns=SIZE)
    slow = slow_covariances(embeddings.double().numpy(), targets.tolist())
    heads = torch.where(targets >= 2, targets % 2, -1)
    changed = transfer_embeddings(embeddings, targets, heads, found)
    for row, (label, head) in enumerate(zip(targets.tolist(), heads.tolist(), strict=True)):
        expected = embeddings[row].numpy()
        if head >= 0:
            members = embeddings[targets == label].double().numpy()
            # The covariance of a class of one embedding is the pooled one.
            expected = slow_embedding_transfer(
                expected, members.mean(0), slow[label], slow[head], slow[4]
            )
        np.testing.assert_allclose(changed[row].numpy(), expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("columns", [1, 3, SIZE])
def test_the_covariance_becomes_exactly_the_heads(columns: int) -> None:
    one = learned(*COUNTS, columns=columns)
    for tail, head in ((2, 0), (3, 1), (0, 1)):
        change = one.colour(
            one.whiten(torch.eye(SIZE), torch.full((SIZE,), tail)), torch.full((SIZE,), head)
        )
        lent = change.T @ one.covariance(tail) @ change
        expected = one.covariance(head)
        torch.testing.assert_close(
            lent, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())
        )


@given(seed=st.integers(0, 10**6))
def test_samples_of_the_tail_get_the_covariance_of_the_head(seed: int) -> None:
    one = learned(*COUNTS)
    rng = torch.Generator().manual_seed(seed)
    root = torch.linalg.cholesky(one.covariance(2).double()).float()
    samples = torch.randn(20_000, SIZE, generator=rng) @ root.T + one.mean[2]
    label = torch.full((20_000,), 2)
    changed = transfer_embeddings(samples, label, torch.zeros_like(label), one)
    torch.testing.assert_close(changed.mean(0), one.mean[2], rtol=0, atol=0.15)
    expected = one.covariance(0)
    assert (changed.T.cov() - expected).norm() < 0.06 * expected.norm()


def test_equal_covariances_change_nothing() -> None:
    embeddings, targets = gaussians(30, 9)
    shifted = torch.cat([embeddings, embeddings + 5])
    labels = torch.cat([targets, targets + 2])
    one = EmbeddingCovariances(shifted, labels, 4, columns=SIZE)
    for heads in (labels, (labels + 2) % 4):  # itself, and its twin elsewhere
        changed = transfer_embeddings(shifted, labels, heads, one)
        torch.testing.assert_close(changed, shifted, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(
        transfer_embeddings(shifted, labels, (labels + 1) % 4, one), shifted, atol=0.1
    )


def test_a_class_of_one_photo_borrows_the_mean_alone() -> None:
    embeddings, targets = gaussians(*COUNTS)
    one = EmbeddingCovariances(embeddings, targets, len(COUNTS), columns=SIZE)
    alone = embeddings[targets == 4]
    assert torch.equal(one.mean[4], alone[0])
    label, head = torch.tensor([4]), torch.tensor([0])
    assert torch.equal(transfer_embeddings(alone, label, head, one), alone)
    # An augmented view of it is no deviation between photos of the class.
    assert torch.equal(transfer_embeddings(alone + 1, label, head, one), alone + 1)


def test_it_does_not_depend_on_the_coordinates() -> None:
    """The pooled covariance is the ruler: a rotation of all embeddings rotates what comes out."""
    embeddings, targets = gaussians(*COUNTS)
    turn = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(9))).Q
    heads = torch.where(targets >= 2, 0, -1)
    results = []
    for given_ in (embeddings, 7 * embeddings @ turn):
        one = EmbeddingCovariances(given_, targets, len(COUNTS), columns=3)
        results.append(transfer_embeddings(given_, targets, heads, one))
    torch.testing.assert_close(7 * results[0] @ turn, results[1], rtol=1e-3, atol=1e-2)


def test_classes_and_rows_may_come_in_any_order() -> None:
    embeddings, targets = gaussians(*COUNTS)
    heads = torch.where(targets >= 2, targets % 2, -1)
    order = torch.tensor([3, 0, 4, 1, 2])
    rows = torch.randperm(len(targets), generator=torch.Generator().manual_seed(1))
    one = EmbeddingCovariances(embeddings, targets, 5, columns=3)
    other = EmbeddingCovariances(embeddings[rows], order[targets[rows]], 5, columns=3)
    renamed = torch.where(heads >= 0, order[heads.clamp_min(0)], -1)
    torch.testing.assert_close(
        transfer_embeddings(embeddings[rows], order[targets[rows]], renamed[rows], other),
        transfer_embeddings(embeddings, targets, heads, one)[rows],
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_values_and_gradients_are_finite_with_dead_values_and_twins(scale: float) -> None:
    """More values than photos, values that never vary, and a class of the same photo thrice."""
    embeddings, targets = gaussians(20, 6, size=100)
    embeddings[:, 40:] = 0
    embeddings = scale * torch.cat([embeddings, embeddings[:1].repeat(3, 1)])
    targets = torch.cat([targets, torch.tensor([2, 2, 2])])
    one = EmbeddingCovariances(embeddings, targets, 3, columns=19)
    given_ = embeddings.clone().requires_grad_()
    changed = transfer_embeddings(given_, targets, torch.where(targets > 0, 0, -1), one)
    (gradient,) = torch.autograd.grad(changed.sum(), given_)
    assert changed.isfinite().all()
    assert gradient.isfinite().all()
    assert (changed - embeddings).abs().max() < 100 * embeddings.abs().max()


def test_the_gradient_is_that_of_finite_differences() -> None:
    embeddings, targets = gaussians(*COUNTS)
    one = EmbeddingCovariances(embeddings, targets, len(COUNTS), columns=3).double()
    some = embeddings[-6:].double().requires_grad_()
    labels, heads = targets[-6:], torch.tensor([0, 1, -1, 0, 1, 0])
    assert torch.autograd.gradcheck(
        lambda given_: transfer_embeddings(given_, labels, heads, one), (some,)
    )


def test_half_precision_comes_back_in_half_precision() -> None:
    embeddings, targets = gaussians(*COUNTS)
    one = EmbeddingCovariances(embeddings, targets, 5, columns=3)
    heads = torch.where(targets >= 2, 0, -1)
    changed = transfer_embeddings(embeddings.bfloat16(), targets, heads, one)
    assert changed.dtype is torch.bfloat16
    whole = transfer_embeddings(embeddings, targets, heads, one)
    torch.testing.assert_close(changed.float(), whole, rtol=0.05, atol=0.5)


def test_embeddings_that_never_vary_are_refused() -> None:
    with pytest.raises(ConfigError, match="all equal"):
        EmbeddingCovariances(torch.ones(5, 3), torch.tensor([0, 0, 0, 1, 1]), 2, columns=1)


def test_memory_is_what_the_buffers_take() -> None:
    one = learned(*COUNTS, columns=3)
    held = sum(one_.numel() * one_.element_size() for one_ in one.buffers())
    assert embedding_memory(5, SIZE, columns=3) == held
    check_embedding_budget(5, SIZE, columns=3, budget_bytes=held)
    with pytest.raises(ConfigError, match=r"lower transfer\.rank"):
        check_embedding_budget(5, SIZE, columns=3, budget_bytes=held - 1)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_weights_are_near_the_best_ones(spread: float) -> None:
    """The best weight is known where the true covariance is: E<S - T, S - C> / E|S - T|^2."""
    size, freedom, draws = 12, 30, 400
    rng = np.random.default_rng(0)
    true = np.exp(spread * np.linspace(-1, 1, size))
    samples = rng.normal(size=(draws, freedom, size)) * np.sqrt(true)
    estimates = np.einsum("nfi,nfj->nij", samples, samples) / freedom
    traces = np.trace(estimates, axis1=1, axis2=2)
    squares = np.square(estimates).sum((1, 2))
    for weight, targets in (
        (weight_towards_identity, np.eye(size)[None]),
        (weight_towards_sphere, traces[:, None, None] / size * np.eye(size)),
    ):
        apart = estimates - targets
        best = (apart * (estimates - np.diag(true))).sum() / np.square(apart).sum()
        ours = np.mean(
            [
                weight(float(t), float(s), size=size, freedom=freedom)
                for t, s in zip(traces, squares, strict=True)
            ]
        )
        assert abs(ours - best) < 0.08
