import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError, DataError
from taxonet.losses import (
    ArcFaceLoss,
    BalancedSoftmaxLoss,
    DBMLoss,
    class_balanced_weights,
    cross_entropy_loss,
    dbm_logits,
    dbm_margins,
)
from taxonet.losses.dbm import Base, Positives
from taxonet.models import CosineHead
from tests.reference.long_tail_losses import dbm, dbm_psi
from tests.reference.scores import Batch, extreme_batch, permute_classes, random_batch

BEYOND = 1.0000002
COUNTS = [90, 1, 400, 7]  # the rarest class is not the last
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
counts_of_classes = st.lists(st.integers(1, 10**6), min_size=2, max_size=8)
all_bases = pytest.mark.parametrize("base", ["ce", "bs", "cb"])
all_positives = pytest.mark.parametrize("positives", ["hard", "all", "none"])


# (a) against the loop


@given(
    counts=counts_of_classes,
    widest=st.floats(0, 1),
    power=st.floats(0, 2),
    weight=st.floats(0, 2),
    scale=st.floats(0.5, 40),
    base=st.sampled_from(["ce", "bs", "cb"]),
    positives=st.sampled_from(["hard", "all", "none"]),
    monotone=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(
    counts: list[int],
    widest: float,
    power: float,
    weight: float,
    scale: float,
    base: Base,
    positives: Positives,
    monotone: bool,
    seed: int,
) -> None:
    cosines, target = random_batch(6, len(counts), seed)
    psi = dbm_psi(
        cosines.numpy(),
        target.tolist(),
        counts=counts,
        max_margin=widest,
        power=power,
        instance_weight=weight,
        positives=positives,
        monotone=monotone,
    )
    slow = dbm(cosines.numpy(), target.tolist(), psi, counts=counts, scale=scale, base=base)
    loss = DBMLoss(
        counts,
        max_margin_rad=widest,
        power=power,
        instance_weight=weight,
        scale=scale,
        base=base,
        positives=positives,
        monotone=monotone,
    )
    # The module keeps margins, priors and weights in float32, hence the tolerance.
    assert loss(cosines, target).item() == pytest.approx(slow, rel=2e-5, abs=1e-6)


# (b) figures by hand


@pytest.mark.parametrize("counts", list(itertools.permutations([5, 100, 20, 500])))
def test_margins_by_hand_whatever_the_order(counts: tuple[int, ...]) -> None:
    margins = dbm_margins(counts, max_margin_rad=0.3, power=1.0)
    expected = {5: 0.3, 20: 0.075, 100: 0.015, 500: 0.003}
    np.testing.assert_allclose(margins.numpy(), [expected[count] for count in counts], rtol=1e-15)
    assert margins.max().item() == 0.3
    kept = DBMLoss(counts, max_margin_rad=0.3).class_margins_rad
    assert torch.equal(kept, margins.float())


def test_the_power_by_hand() -> None:
    margins = dbm_margins([400, 4, 100], max_margin_rad=0.2, power=0.5)
    np.testing.assert_allclose(margins.numpy(), [0.02, 0.2, 0.04], rtol=1e-15)


@pytest.mark.parametrize(
    ("other", "positives", "degrees"),
    [
        # The target at 60 degrees with m_C = 30; (1 - cos 60) / 2 = 1/4 of it again is 7.5.
        (0.6, "hard", 97.5),
        (0.4, "hard", 90.0),
        (0.5, "hard", 90.0),  # not strictly nearer
        (0.6, "none", 90.0),
        (0.6, "all", 97.5),
        (0.4, "all", 97.5),
    ],
)
def test_hard_positives_by_hand(other: float, positives: Positives, degrees: float) -> None:
    logits = dbm_logits(
        torch.tensor([[other, 0.5]], dtype=torch.float64),
        torch.tensor([1]),
        class_margins_rad=torch.tensor([0.1, math.pi / 6], dtype=torch.float64),
        positives=positives,
        scale=2.0,
    )
    assert logits[0, 0].item() == 2 * other
    assert logits[0, 1].item() == pytest.approx(2 * math.cos(math.radians(degrees)), abs=1e-12)


def test_the_indicator_looks_at_the_cosines_before_any_margin() -> None:
    # After its margin of 30 degrees the target (cos 30) would lose against 0.5; before, it wins.
    logits = dbm_logits(
        torch.tensor([[0.5, math.sqrt(0.75)]], dtype=torch.float64),
        torch.tensor([1]),
        class_margins_rad=torch.tensor([0.0, math.pi / 4], dtype=torch.float64),
        scale=1.0,
    )
    assert logits[0, 1].item() < 0.5
    assert logits[0, 1].item() == pytest.approx(math.cos(math.radians(75)), abs=1e-12)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        # cos(60 + 30) = 0 against 0.25 * 4 = 1: log(1 + e). Priors 3/4 and 1/4: log(1 + 3 e).
        ("ce", 1.3132617),
        ("bs", math.log(1 + 3 * math.e)),
        ("cb", 1.3132617),
    ],
)
def test_the_bases_by_hand(base: Base, expected: float) -> None:
    loss = DBMLoss([3, 1], max_margin_rad=math.pi / 6, scale=4.0, base=base)
    value = loss(torch.tensor([[0.25, 0.5]]), torch.tensor([1]))
    assert value.item() == pytest.approx(expected, rel=1e-6)


# (c) identities


@all_positives
@pytest.mark.parametrize("monotone", [False, True])
def test_without_a_margin_it_is_the_cosine_softmax(positives: Positives, monotone: bool) -> None:
    cosines, target = random_batch(8, 4)
    cosines[0, 0], cosines[1, 1], cosines[2, 2] = 1.0, -1.0, BEYOND
    make = {"max_margin_rad": 0.0, "positives": positives, "monotone": monotone}
    plain = cross_entropy_loss(32.0 * cosines, target)
    assert torch.equal(build(COUNTS, make)(cosines, target), plain)
    balanced = BalancedSoftmaxLoss(COUNTS)(32.0 * cosines, target)
    assert torch.equal(build(COUNTS, {**make, "base": "bs"})(cosines, target), balanced)


def build(counts: list[int], options: dict[str, Any]) -> DBMLoss:
    return DBMLoss(counts, **options)


@given(count=st.integers(1, 10**6), margin=st.floats(0, 1), monotone=st.booleans())
def test_equal_counts_without_the_instance_margin_are_arcface(
    count: int, margin: float, monotone: bool
) -> None:
    batch = random_batch(6, 3)
    counts = [count] * 3
    torch.testing.assert_close(
        DBMLoss(counts, max_margin_rad=margin, positives="none", monotone=monotone)(*batch),
        ArcFaceLoss(counts, margin_rad=margin, monotone=monotone)(*batch),
        rtol=1e-6,  # the margins are float32
        atol=1e-9,
    )


@all_bases
def test_no_weight_on_the_instance_margin_leaves_the_class_margin(base: Base) -> None:
    batch = random_batch(6, 4)
    assert torch.equal(
        DBMLoss(COUNTS, instance_weight=0.0, positives="all", base=base)(*batch),
        DBMLoss(COUNTS, positives="none", base=base)(*batch),
    )


def test_hard_lies_between_none_and_all() -> None:
    cosines, target = random_batch(40, 4)
    losses: dict[Positives, torch.Tensor] = {
        positives: DBMLoss(COUNTS, positives=positives).per_image(cosines, target)
        for positives in ("none", "hard", "all")
    }
    hard = cosines.argmax(1) != target
    assert 0 < hard.sum() < 40
    assert torch.equal(losses["hard"][hard], losses["all"][hard])
    assert torch.equal(losses["hard"][~hard], losses["none"][~hard])
    assert bool((losses["none"][hard] < losses["all"][hard]).all())


def test_the_class_balanced_base_is_the_plain_one_reweighted() -> None:
    batch = random_batch(6, 4)
    late = DBMLoss(COUNTS)
    late.reweight(class_balanced_weights(COUNTS, 0.9999))
    torch.testing.assert_close(DBMLoss(COUNTS, base="cb")(*batch), late(*batch), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("widest", "degrees"), [(0.1, 169.0), (0.3, 147.0)])
@pytest.mark.parametrize("monotone", [False, True])
def test_the_farthest_hard_positives_are_pulled_only_by_the_continuation(
    widest: float, degrees: float, monotone: bool
) -> None:
    loss = DBMLoss([1, 1], max_margin_rad=widest, scale=4.0, monotone=monotone)
    for angle, towards in [(degrees - 1, True), (degrees + 1, monotone)]:
        cosine = math.cos(math.radians(angle))
        cosines = torch.tensor([[cosine, 0.5]], dtype=torch.float64, requires_grad=True)
        loss(cosines, torch.tensor([0])).backward()
        assert cosines.grad is not None
        assert (cosines.grad[0, 0].item() < 0) == towards


@all_positives
@given(widest=st.floats(0, 1.5))
def test_the_continuation_is_monotone(positives: Positives, widest: float) -> None:
    of_target = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    cosines = torch.stack([of_target, torch.full_like(of_target, 0.3)], dim=1)
    logits = dbm_logits(
        cosines,
        torch.zeros(2001, dtype=torch.int64),
        class_margins_rad=torch.tensor([widest, 0.0], dtype=torch.float64),
        positives=positives,
        scale=1.0,
        monotone=True,
    )
    assert bool((logits[:, 0].diff() > 0).all())


# (d) gradients and numbers at the edge


@all_positives
@pytest.mark.parametrize("monotone", [False, True])
def test_gradcheck(positives: Positives, monotone: bool) -> None:
    cosines, target = random_batch(6, 4)
    loss = DBMLoss(
        COUNTS, max_margin_rad=0.5, scale=8.0, base="bs", positives=positives, monotone=monotone
    )
    assert torch.autograd.gradcheck(lambda z: loss(z, target), (cosines.requires_grad_(),))


def test_the_instance_margin_carries_gradient() -> None:
    # psi = cos(t + m (1 + (1 - cos t) / 2)): its slope in cos t by hand, at t = 90 degrees.
    margin = 0.4
    cosines = torch.tensor([[0.0, 0.5]], dtype=torch.float64, requires_grad=True)
    logits = dbm_logits(
        cosines,
        torch.tensor([0]),
        class_margins_rad=torch.tensor([margin, 0.0], dtype=torch.float64),
        scale=1.0,
    )
    (gradient,) = torch.autograd.grad(logits[0, 0], cosines)
    # -sin(t + m_all) (dt / dcos + dm / dcos) = -sin(t + m_all) (-1 - m / 2)
    expected = math.sin(math.pi / 2 + 1.5 * margin) * (1 + margin / 2)
    assert gradient[0].tolist() == pytest.approx([expected, 0.0], rel=1e-12)


@all_bases
@all_positives
@pytest.mark.parametrize("monotone", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_finite_at_and_beyond_the_ends(
    dtype: torch.dtype, monotone: bool, positives: Positives, base: Base
) -> None:
    loss = DBMLoss(COUNTS, max_margin_rad=0.3, base=base, positives=positives, monotone=monotone)
    for end in (1.0, BEYOND, 1.01):
        cosines, target = extreme_batch(end, dtype)
        cosines.requires_grad_()
        value = loss(cosines, target)
        value.backward()
        assert value.isfinite()
        assert cosines.grad is not None
        assert cosines.grad.isfinite().all()
        assert cosines.grad.abs().sum() > 0


@pytest.mark.parametrize("counts", [[1, 1], [10**12, 1]])
@pytest.mark.parametrize("widest", [0.0, 0.1, math.pi / 2])
def test_finite_for_classes_of_one_image(counts: list[int], widest: float) -> None:
    for base in ("ce", "bs", "cb"):
        loss = build(counts, {"max_margin_rad": widest, "base": base})
        cosines, target = extreme_batch(1.0, torch.float32, classes=2)
        cosines.requires_grad_()
        value = loss(cosines, target)
        value.backward()
        assert value.isfinite()
        assert cosines.grad is not None
        assert cosines.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_finite_where_an_embedding_is_its_prototype(dtype: torch.dtype) -> None:
    """The state of a prototype head that starts at the one image of a tail class."""
    head = CosineHead(8, 3)
    embedding = torch.zeros(3, 8, dtype=dtype)
    with torch.no_grad():
        embedding[0] = head.weight[0].to(dtype)
        embedding[1] = -head.weight[1].to(dtype)
    embedding.requires_grad_()  # the third one is zero
    value = DBMLoss([50, 2, 1], base="bs")(head(embedding), torch.tensor([0, 1, 2]))
    value.backward()
    assert value.isfinite()
    for gradient in (embedding.grad, head.weight.grad):
        assert gradient is not None
        assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    cosines, target = random_batch(6, 4)
    rounded = cosines.to(dtype)
    margins = torch.tensor([0.001, 0.002, 0.0005, 0.1])
    half = dbm_logits(rounded, target, class_margins_rad=margins, scale=32.0)
    assert half.dtype is torch.float32
    single = dbm_logits(rounded.float(), target, class_margins_rad=margins, scale=32.0)
    assert torch.equal(half, single)


@all_bases
@pytest.mark.parametrize("convert", [DBMLoss.half, DBMLoss.bfloat16])
def test_a_module_in_half_precision_still_computes_in_float32(
    convert: Callable[[DBMLoss], DBMLoss], base: Base
) -> None:
    cosines, target = random_batch(4, 4)
    plain = DBMLoss(COUNTS, base=base)(cosines.float(), target)
    value = convert(DBMLoss(COUNTS, base=base))(cosines.float(), target)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, plain, rtol=1e-2, atol=0)


# (e) permutations


@all_bases
@all_positives
@pytest.mark.parametrize("order", [[2, 0, 3, 1], [3, 2, 1, 0], [1, 3, 0, 2]])
def test_the_order_of_classes_and_images_does_not_matter(
    order: list[int], positives: Positives, base: Base
) -> None:
    batch = random_batch(6, 4)
    classes, rows = torch.tensor(order), torch.tensor([5, 0, 3, 1, 4, 2])
    shuffled = permute_classes(Batch(batch.scores[rows], batch.target[rows]), classes)
    permuted = DBMLoss(torch.tensor(COUNTS)[classes], base=base, positives=positives)
    plain = DBMLoss(COUNTS, base=base, positives=positives)
    torch.testing.assert_close(permuted(*shuffled), plain(*batch), rtol=1e-6, atol=0)


# errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_margin_rad": -0.1}, "max_margin_rad must be an angle in radians"),
        ({"max_margin_rad": 28.6}, "max_margin_rad must be an angle in radians"),
        ({"max_margin_rad": 2.0}, r"must be at most pi radians, but is 4\."),
        ({"power": -1.0}, "power must be a finite number of at least 0"),
        ({"instance_weight": -1.0}, "instance_weight must be a finite number of at least 0"),
        ({"scale": 0.0}, "scale"),
        ({"base": "lws"}, "'ce', 'bs' or 'cb', but is 'lws'"),
        ({"positives": "easy"}, "'hard', 'all' or 'none', but is 'easy'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(COUNTS, options)


def test_margins_refuse_what_the_loss_refuses() -> None:
    with pytest.raises(ConfigError, match="max_margin_rad"):
        dbm_margins(COUNTS, max_margin_rad=28.6, power=1.0)
    with pytest.raises(ConfigError, match="power"):
        dbm_margins(COUNTS, max_margin_rad=0.1, power=-1.0)
    with pytest.raises(DataError, match=r"classes \[1\] have \[0\]"):
        dbm_margins([5, 0], max_margin_rad=0.1, power=1.0)
