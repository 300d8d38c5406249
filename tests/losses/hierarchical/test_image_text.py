import copy
import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from taxonet.errors import ConfigError, DataError
from taxonet.losses import HierarchicalImageTextLoss, ImageTextContrastiveLoss
from taxonet.losses.image_text import Duplicates
from tests.reference import image_text as slow

every_treatment = pytest.mark.parametrize("duplicates", get_args(Duplicates))
WEIGHTS = (1.0, 0.5, 2.0)
LABELS = torch.tensor([[1, 3, 7], [1, 4, -1], [2, -1, -1], [1, 3, 8], [1, 3, 7]])
SCALES = torch.tensor([2.0, 5.0, 14.0], dtype=torch.float64)


def features(*lengths: int, rows: int = 5, seed: int = 0) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [
        F.normalize(torch.randn(rows, length, dtype=torch.float64, generator=draw), dim=1)
        for length in lengths
    ]


IMAGES, TEXTS = features(4, 3, 6), features(4, 3, 6, seed=1)


@every_treatment
@given(
    labels=st.lists(st.lists(st.integers(-1, 2), min_size=2, max_size=2), min_size=1, max_size=6),
    weights=st.tuples(st.floats(0, 3), st.floats(0.1, 3)),
)
def test_equals_the_loop(
    duplicates: Duplicates, labels: list[list[int]], weights: tuple[float, float]
) -> None:
    images, texts = features(3, 4, rows=len(labels)), features(3, 4, rows=len(labels), seed=1)
    expected = slow.hierarchical_image_text(
        [level.tolist() for level in images],
        [level.tolist() for level in texts],
        labels,
        [2.0, 5.0],
        weights=weights,
        duplicates=duplicates,
    )
    loss = HierarchicalImageTextLoss(weights, duplicates=duplicates)
    value = loss(images, texts, torch.tensor(labels), SCALES[:2])
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_by_hand() -> None:
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    genus, species = torch.stack([one, one]), torch.stack([one, other])
    labels, scales = torch.tensor([[1, 2], [1, 3]]), torch.tensor([1.0, math.log(3)])
    # Genus, two of one label and equal features: log 2 each way. Species: log(4 / 3) each way.
    loss = HierarchicalImageTextLoss([10.0, 100.0])
    both = [genus, species]
    value = loss(both, both, labels, scales)
    assert value.item() == pytest.approx(10 * 2 * 0.6931472 + 100 * 2 * 0.2876821, rel=1e-6)


@every_treatment
def test_one_level_is_the_flat_loss(duplicates: Duplicates) -> None:
    flat = ImageTextContrastiveLoss(duplicates)
    for level in range(3):
        weights = [3.0 * (level == other) for other in range(3)]
        loss = HierarchicalImageTextLoss(weights, duplicates=duplicates)
        torch.testing.assert_close(
            loss(IMAGES, TEXTS, LABELS, SCALES),
            3 * flat(IMAGES[level], TEXTS[level], LABELS[:, level], SCALES[level]),
        )


def test_a_level_of_weight_0_is_not_computed() -> None:
    nothing = torch.full((5, 4), torch.nan)
    loss = HierarchicalImageTextLoss((0.0, 0.5, 2.0))
    value = loss([nothing, *IMAGES[1:]], [nothing, *TEXTS[1:]], LABELS, SCALES)
    assert value.isfinite()


def test_levels_may_be_stacked() -> None:
    images, texts = torch.stack(features(4, 4, 4)), torch.stack(features(4, 4, 4, seed=1))
    loss = HierarchicalImageTextLoss(WEIGHTS)
    assert torch.equal(
        loss(images, texts, LABELS, SCALES), loss([*images], [*texts], LABELS, SCALES)
    )


@every_treatment
def test_gradients_are_those_of_the_value(duplicates: Duplicates) -> None:
    loss = HierarchicalImageTextLoss(WEIGHTS, duplicates=duplicates)
    leaves = [part.clone().requires_grad_() for part in (*IMAGES, *TEXTS, SCALES)]
    assert torch.autograd.gradcheck(
        lambda *parts: loss(parts[:3], parts[3:6], LABELS, parts[6]), leaves
    )


def test_without_any_label_it_is_zero_and_gradients_exist() -> None:
    images = [part.clone().requires_grad_() for part in IMAGES]
    scales = SCALES.clone().requires_grad_()
    value = HierarchicalImageTextLoss(WEIGHTS)(images, TEXTS, torch.full((5, 3), -1), scales)
    torch.autograd.backward(value)
    assert value.item() == 0
    for part in (*images, scales):
        assert part.grad is not None
        assert not part.grad.any()


@every_treatment
def test_the_order_of_images_and_of_levels_does_not_matter(duplicates: Duplicates) -> None:
    plain = HierarchicalImageTextLoss(WEIGHTS, duplicates=duplicates)
    rows, levels = torch.tensor([3, 0, 4, 2, 1]), [2, 0, 1]
    other = HierarchicalImageTextLoss([WEIGHTS[level] for level in levels], duplicates=duplicates)
    value = other(
        [IMAGES[level][rows] for level in levels],
        [TEXTS[level][rows] for level in levels],
        LABELS[rows][:, levels],
        SCALES[levels],
    )
    torch.testing.assert_close(value, plain(IMAGES, TEXTS, LABELS, SCALES))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    images, texts = ([part.to(dtype) for part in parts] for parts in (IMAGES, TEXTS))
    loss = HierarchicalImageTextLoss(WEIGHTS)
    value = loss(images, texts, LABELS, SCALES)
    assert value.dtype is torch.float32
    raised = [part.float() for part in images], [part.float() for part in texts]
    assert torch.equal(value, loss(*raised, LABELS, SCALES))


def test_copies_give_the_same_loss_and_repr_holds_the_options() -> None:
    loss = HierarchicalImageTextLoss(WEIGHTS, duplicates="masked")
    again = HierarchicalImageTextLoss(**eval(f"dict({loss.extra_repr()})"))
    for twin in (copy.deepcopy(loss), again):
        given = IMAGES, TEXTS, LABELS, SCALES
        assert torch.equal(twin(*given), loss(*given))
    assert loss.extra_repr() == "level_weights=(1.0, 0.5, 2.0), duplicates='masked'"


def test_it_names_what_is_wrong() -> None:
    loss = HierarchicalImageTextLoss(WEIGHTS)
    with pytest.raises(DataError, match=r"weights for 3 levels.*features for 2 and 3"):
        loss(IMAGES[:2], TEXTS, LABELS, SCALES)
    with pytest.raises(DataError, match="features for 3 and 2"):
        loss(IMAGES, TEXTS[:2], LABELS, SCALES)
    with pytest.raises(DataError, match=r"labels \(B, 3\).*labels \(5, 2\)"):
        loss(IMAGES, TEXTS, LABELS[:, :2], SCALES)
    with pytest.raises(DataError, match=r"labels \(3,\)"):
        loss(IMAGES, TEXTS, LABELS[0], SCALES)
    with pytest.raises(DataError, match=r"logit_scales \(2,\)"):
        loss(IMAGES, TEXTS, LABELS, SCALES[:2])
    with pytest.raises(DataError, match=r"logit_scales \(3, 1\)"):
        loss(IMAGES, TEXTS, LABELS, SCALES[:, None])
    with pytest.raises(DataError, match="image_features must be of unit length"):
        loss([2 * part for part in IMAGES], TEXTS, LABELS, SCALES)


@pytest.mark.parametrize("weights", [(), (0.0, 0.0)])
def test_weights_that_leave_nothing_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"at least one of them above 0, but are \["):
        HierarchicalImageTextLoss(weights)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="level_weights must be a finite number of at least 0"):
        HierarchicalImageTextLoss((1.0, -1.0))
    with pytest.raises(ConfigError, match="duplicates must be"):
        HierarchicalImageTextLoss((1.0,), duplicates="mask")  # type: ignore[arg-type]  # a recipe's
