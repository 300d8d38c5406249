from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError, DataError
from taxonet.losses import (
    LDAMLoss,
    am_softmax_loss,
    cross_entropy_loss,
    ldam_logits,
    ldam_margins,
)
from tests.reference import long_tail_losses as reference
from tests.reference.scores import Batch, extreme_batch, permute_classes, random_batch

BEYOND = 1.0000002
COUNTS = [400, 90, 7, 1]
counts_of_classes = st.lists(st.integers(1, 10**7), min_size=2, max_size=8)


# (a) against the loop


@given(counts=counts_of_classes, widest=st.floats(0, 1))
def test_margins_equal_the_loop(counts: list[int], widest: float) -> None:
    margins = ldam_margins(counts, widest)
    assert margins.dtype is torch.float64
    expected = reference.ldam_margins(counts, max_margin=widest)
    np.testing.assert_allclose(margins.numpy(), expected, rtol=1e-12)


@given(
    counts=counts_of_classes,
    widest=st.floats(0, 1),
    scale=st.floats(0.5, 64),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(counts: list[int], widest: float, scale: float, seed: int) -> None:
    cosines, target = random_batch(5, len(counts), seed)
    margins = reference.ldam_margins(counts, max_margin=widest)
    pairs = zip(cosines.tolist(), target.tolist(), strict=True)
    psi = [z[y] - margins[y] for z, y in pairs]
    slow = reference.margined(cosines.numpy(), target.tolist(), psi, scale=scale)
    fast = LDAMLoss(counts, max_margin_cos=widest, scale=scale)(cosines, target).item()
    # The module keeps its margins in float32, hence the tolerance.
    assert fast == pytest.approx(slow, rel=1e-5, abs=1e-9)


# (b) figures by hand


def test_margins_by_hand() -> None:
    # Fourth roots 2, 1, 3.
    np.testing.assert_allclose(ldam_margins([16, 1, 81], 0.6).numpy(), [0.3, 0.6, 0.2], rtol=1e-15)


def test_a_case_by_hand() -> None:
    # Margins 0.25 and 0.5; 4 (0.5 - 0.25) = 1 against 0: log(1 + e^-1) = 0.3132617.
    loss = LDAMLoss([16, 1], max_margin_cos=0.5, scale=4.0)
    cosines = torch.tensor([[0.5, 0.0]])
    assert loss(cosines, torch.tensor([0])).item() == pytest.approx(0.3132617, rel=1e-6)
    # -2 against 2: log(1 + e^4) = 4.0181499.
    assert loss(cosines, torch.tensor([1])).item() == pytest.approx(4.0181499, rel=1e-6)


# (c) identities


def test_without_a_margin_it_is_the_cosine_softmax() -> None:
    cosines, target = random_batch(5, 4)
    loss = LDAMLoss(COUNTS, max_margin_cos=0.0)
    assert torch.equal(loss(cosines, target), cross_entropy_loss(30.0 * cosines, target))


@given(count=st.integers(1, 10**7), classes=st.integers(2, 8))
def test_equal_counts_are_am_softmax(count: int, classes: int) -> None:
    cosines, target = random_batch(4, classes)
    torch.testing.assert_close(
        LDAMLoss([count] * classes, max_margin_cos=0.25)(cosines, target),
        am_softmax_loss(cosines, target, margin_cos=0.25, scale=30.0),
        rtol=1e-9,
        atol=0,
    )


@given(counts=counts_of_classes, widest=st.floats(0.01, 1))
def test_the_rarest_class_has_the_largest_margin(counts: list[int], widest: float) -> None:
    margins = ldam_margins(counts, widest)
    assert margins.max().item() == widest
    assert margins[counts.index(min(counts))].item() == widest
    assert bool((margins[np.argsort(counts)].diff() <= 0).all())


# (d) gradients and numbers at the edge


def test_gradcheck() -> None:
    cosines, target = random_batch(4, 4)
    loss = LDAMLoss(COUNTS, scale=8.0)
    assert torch.autograd.gradcheck(lambda z: loss(z, target), (cosines.requires_grad_(),))


@pytest.mark.parametrize("end", [1.0, BEYOND, 1.01])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("counts", [COUNTS, [1, 1, 1, 1], [10**12, 1, 1, 10**12]])
def test_finite_at_and_beyond_the_ends(counts: list[int], dtype: torch.dtype, end: float) -> None:
    cosines, target = extreme_batch(end, dtype)
    cosines.requires_grad_()
    value = LDAMLoss(counts)(cosines, target)
    value.backward()
    assert value.isfinite()
    assert cosines.grad is not None
    assert cosines.grad.isfinite().all()
    assert cosines.grad.abs().sum() > 0


def test_margins_in_half_precision_are_taken_off_in_float32() -> None:
    cosines, target = random_batch(4, 4)
    rounded = cosines.bfloat16()
    margins = torch.tensor([0.01, 0.02, 0.03, 0.04], dtype=torch.bfloat16)
    half = ldam_logits(rounded, target, class_margins_cos=margins, scale=30.0)
    single = ldam_logits(rounded.float(), target, class_margins_cos=margins.float(), scale=30.0)
    assert half.dtype is torch.float32
    assert torch.equal(half, single)


@pytest.mark.parametrize("convert", [LDAMLoss.half, LDAMLoss.bfloat16])
def test_a_module_in_half_precision_still_computes_in_float32(
    convert: Callable[[LDAMLoss], LDAMLoss],
) -> None:
    cosines, target = random_batch(4, 4)
    plain = LDAMLoss(COUNTS)(cosines.float(), target)
    value = convert(LDAMLoss(COUNTS))(cosines.float(), target)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, plain, rtol=1e-2, atol=0)


# (e) permutations


@given(order=st.permutations(range(4)))
def test_the_order_of_classes_and_images_does_not_matter(order: list[int]) -> None:
    batch = random_batch(6, 4)
    classes, rows = torch.tensor(order), torch.tensor([5, 0, 3, 1, 4, 2])
    shuffled = Batch(batch.scores[rows], batch.target[rows])
    counts = torch.tensor(COUNTS)[classes]
    assert torch.equal(ldam_margins(counts, 0.5), ldam_margins(COUNTS, 0.5)[classes])
    torch.testing.assert_close(
        LDAMLoss(counts)(*permute_classes(shuffled, classes)),
        LDAMLoss(COUNTS)(*batch),
        rtol=1e-9,
        atol=0,
    )


# errors


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf")])
def test_wrong_options_are_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match="max_margin_cos must be a finite number of at least 0"):
        LDAMLoss(COUNTS, max_margin_cos=margin)
    with pytest.raises(ConfigError, match="max_margin_cos"):
        ldam_margins(COUNTS, margin)
    with pytest.raises(ConfigError, match="scale"):
        LDAMLoss(COUNTS, scale=0.0)
    with pytest.raises(DataError, match=r"classes \[1\] have \[0\]"):
        ldam_margins([5, 0], 0.5)
