import copy
import math
import pickle
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from taxonet.errors import ConfigError, DataError
from taxonet.losses import ImageTextContrastiveLoss, image_text_contrastive_loss
from taxonet.losses.image_text import Duplicates
from tests.reference import image_text as slow

TREATMENTS: tuple[Duplicates, ...] = get_args(Duplicates)
every_treatment = pytest.mark.parametrize("duplicates", TREATMENTS)
LABELS = torch.tensor([5, 2, 5, -1, 7, 2])
SCALE = 14.3


def features(rows: int, seed: int = 0, length: int = 4) -> tuple[Tensor, Tensor]:
    draw = torch.randn(
        2, rows, length, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    images, texts = F.normalize(draw, dim=2)
    return images, texts


@every_treatment
@given(
    labels=st.lists(st.integers(-1, 3), min_size=1, max_size=7),
    scale=st.floats(0.01, 50),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(
    duplicates: Duplicates, labels: list[int], scale: float, seed: int
) -> None:
    images, texts = features(len(labels), seed)
    expected = slow.image_text(
        images.tolist(), texts.tolist(), labels, scale, duplicates=duplicates
    )
    loss = ImageTextContrastiveLoss(duplicates)
    value = loss(images, texts, torch.tensor(labels), scale)
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("duplicates", "of_images", "of_texts"),
    [
        # With e^(scale) = 3, rows of exponentials are (3, 3, 1), (1, 1, 1), (1, 1, 3) for images,
        # and (3, 1, 1), (3, 1, 1), (1, 1, 3) for texts; pairs 0 and 1 share their label.
        ("negatives", (7 / 3, 3, 5 / 3), (5 / 3, 5, 5 / 3)),
        ("positives", (7 / 3, 3, 5 / 3), (5 / 3**0.5, 5 / 3**0.5, 5 / 3)),
        ("masked", (4 / 3, 2, 5 / 3), (4 / 3, 2, 5 / 3)),
    ],
)
def test_a_case_by_hand(
    duplicates: Duplicates, of_images: tuple[float, ...], of_texts: tuple[float, ...]
) -> None:
    images = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])  # the second image is a dead one
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = ImageTextContrastiveLoss(duplicates)
    value = loss(images, texts, torch.tensor([4, 4, 9]), math.log(3))
    assert value.item() == pytest.approx(math.log(math.prod(of_images + of_texts)) / 3, abs=1e-6)


@every_treatment
def test_without_repeated_labels_it_is_twice_what_clip_minimises(duplicates: Duplicates) -> None:
    images, texts = features(5)
    logits = SCALE * images @ texts.T
    own = torch.arange(5)
    clip = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    loss = ImageTextContrastiveLoss(duplicates)
    value = loss(images, texts, torch.tensor([3, 1, 4, 0, 5]), SCALE)
    torch.testing.assert_close(value, 2 * clip, rtol=1e-12, atol=0)


def test_positives_are_cross_entropy_with_even_targets() -> None:
    images, texts = features(4)
    logits = SCALE * images @ texts.T
    target = torch.tensor(
        [[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1]], dtype=torch.float64
    )
    both = F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
    value = ImageTextContrastiveLoss()(images, texts, torch.tensor([1, 0, 1, 3]), SCALE)
    torch.testing.assert_close(value, both, rtol=1e-12, atol=0)


@every_treatment
def test_images_without_a_label_are_as_if_they_were_not_there(duplicates: Duplicates) -> None:
    images, texts = (part.requires_grad_() for part in features(6))
    loss, known = ImageTextContrastiveLoss(duplicates), LABELS >= 0
    value = loss(images, texts, LABELS, SCALE)
    torch.testing.assert_close(value, loss(images[known], texts[known], LABELS[known], SCALE))
    torch.autograd.backward(value)
    for part in (images, texts):
        assert part.grad is not None
        assert part.grad[3].tolist() == [0.0] * 4
        assert part.grad[known].abs().sum() > 0


@every_treatment
@pytest.mark.parametrize("rows", [1, 3])
def test_without_any_label_it_is_zero_and_so_is_its_gradient(
    duplicates: Duplicates, rows: int
) -> None:
    images, texts = (part.requires_grad_() for part in features(rows))
    scale = torch.tensor(SCALE, requires_grad=True)
    value = ImageTextContrastiveLoss(duplicates)(images, texts, torch.full((rows,), -1), scale)
    torch.autograd.backward(value)
    assert value.item() == 0
    for part in (images, texts, scale):
        assert part.grad is not None
        assert not part.grad.any()


@pytest.mark.parametrize(
    ("duplicates", "expected"),
    [("positives", 2 * math.log(4)), ("negatives", 2 * math.log(4)), ("masked", 0.0)],
)
def test_a_batch_of_one_label_whose_features_are_equal(
    duplicates: Duplicates, expected: float
) -> None:
    images, texts = (part.expand(4, 4).clone().requires_grad_() for part in features(1))
    value = ImageTextContrastiveLoss(duplicates)(images, texts, torch.full((4,), 3), 100.0)
    torch.autograd.backward(value)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    for part in (images, texts):
        assert part.grad is not None
        assert part.grad.isfinite().all()


def test_a_batch_of_one_label_costs_the_entropy_of_its_target_at_least() -> None:
    images, texts = features(5)
    labels = torch.full((5,), 3)
    assert ImageTextContrastiveLoss("positives")(images, texts, labels, 2.0) > 2 * math.log(5)
    assert ImageTextContrastiveLoss("masked")(images, texts, labels, 2.0) == 0


def test_equal_labels_repel_by_the_literal_formula_only() -> None:
    """The slope of the loss in the inner product of an image and the other text of its label."""
    texts = torch.eye(3, dtype=torch.float64)
    slopes = {}
    for duplicates in TREATMENTS:
        images = (0.5 * texts).requires_grad_()
        loss = ImageTextContrastiveLoss(duplicates)
        torch.autograd.backward(loss(images, texts, torch.tensor([1, 1, 2]), 1.0))
        assert images.grad is not None
        slopes[duplicates] = images.grad[0, 1].item()
    assert slopes["negatives"] > 0
    assert slopes["masked"] == 0
    assert slopes["positives"] < 0


def test_with_one_text_a_label_positives_and_negatives_are_one() -> None:
    """What one pair of a label pushes away, another of it pulls."""
    gradients, values = [], []
    for duplicates in ("positives", "negatives", "masked"):
        images, names = (part.requires_grad_() for part in features(8))
        value = ImageTextContrastiveLoss(duplicates)(images[:6], names[LABELS], LABELS, SCALE)
        torch.autograd.backward(value)
        assert images.grad is not None
        assert names.grad is not None
        values.append(value)
        gradients.append(torch.cat([images.grad, names.grad]))
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-12)
    assert values[2] < values[0] - 0.1
    assert not torch.allclose(gradients[2], gradients[0])


@every_treatment
def test_a_single_pair_costs_nothing(duplicates: Duplicates) -> None:
    images, texts = features(1)
    assert ImageTextContrastiveLoss(duplicates)(images, texts, torch.tensor([0]), SCALE) == 0


@every_treatment
def test_gradients_are_those_of_the_value(duplicates: Duplicates) -> None:
    images, texts = (part.requires_grad_() for part in features(6))
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    loss = ImageTextContrastiveLoss(duplicates)
    assert torch.autograd.gradcheck(lambda v, t, s: loss(v, t, LABELS, s), (images, texts, scale))


@every_treatment
@pytest.mark.parametrize("scale", [1e-6, 100.0, 1e4])
def test_extremes_are_finite(duplicates: Duplicates, scale: float) -> None:
    right = torch.tensor([1.0000002, 0.0])
    images = torch.stack([right, -right, right, -right]).requires_grad_()
    texts = torch.stack([-right, -right, right, right]).requires_grad_()
    logit_scale = torch.tensor(scale, requires_grad=True)
    for labels in ([0, 0, 1, 1], [0, 1, 2, 3], [1, 1, 1, 1]):
        value = ImageTextContrastiveLoss(duplicates)(
            images, texts, torch.tensor(labels), logit_scale
        )
        torch.autograd.backward(value)
        assert value.isfinite()
    for part in (images, texts, logit_scale):
        assert part.grad is not None
        assert part.grad.isfinite().all()


def test_a_wrong_pair_costs_twice_the_scale_in_each_direction() -> None:
    right = torch.tensor([1.0, 0.0])
    images, texts = torch.stack([right, -right]), torch.stack([-right, right])
    value = ImageTextContrastiveLoss()(images, texts, torch.tensor([0, 1]), 1e4)
    assert value.item() == pytest.approx(4e4)


@every_treatment
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(duplicates: Duplicates, dtype: torch.dtype) -> None:
    images, texts = (part.to(dtype) for part in features(6))
    loss = ImageTextContrastiveLoss(duplicates)
    value = loss(images, texts, LABELS, torch.tensor(64, dtype=dtype))
    assert value.dtype is torch.float32
    assert torch.equal(value, loss(images.float(), texts.float(), LABELS, 64.0))
    assert torch.equal(value, loss(images.float(), texts, LABELS, 64.0))


@every_treatment
def test_autocast_changes_nothing(duplicates: Duplicates) -> None:
    images, texts = (part.float() for part in features(6))
    loss = ImageTextContrastiveLoss(duplicates)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(images, texts, LABELS, SCALE)
    assert torch.equal(value, loss(images, texts, LABELS, SCALE))


@every_treatment
def test_the_order_of_pairs_and_the_names_of_labels_do_not_matter(duplicates: Duplicates) -> None:
    images, texts = features(6)
    loss, rows = ImageTextContrastiveLoss(duplicates), torch.tensor([4, 0, 5, 2, 1, 3])
    plain = loss(images, texts, LABELS, SCALE)
    torch.testing.assert_close(loss(images[rows], texts[rows], LABELS[rows], SCALE), plain)
    renamed = torch.where(LABELS < 0, LABELS, 10 - LABELS)
    assert torch.equal(loss(images, texts, renamed, SCALE), plain)


@every_treatment
def test_images_and_texts_may_change_places(duplicates: Duplicates) -> None:
    images, texts = features(6)
    loss = ImageTextContrastiveLoss(duplicates)
    torch.testing.assert_close(
        loss(texts, images, LABELS, SCALE), loss(images, texts, LABELS, SCALE)
    )


def test_module_and_function_are_one_and_positives_the_default() -> None:
    images, texts = features(6)
    for duplicates in TREATMENTS:
        assert torch.equal(
            ImageTextContrastiveLoss(duplicates)(images, texts, LABELS, SCALE),
            image_text_contrastive_loss(images, texts, LABELS, SCALE, duplicates=duplicates),
        )
    positives = image_text_contrastive_loss(images, texts, LABELS, SCALE, duplicates="positives")
    assert torch.equal(image_text_contrastive_loss(images, texts, LABELS, SCALE), positives)
    assert ImageTextContrastiveLoss().duplicates == "positives"


@every_treatment
def test_copies_give_the_same_loss_and_repr_holds_the_option(duplicates: Duplicates) -> None:
    images, texts = features(6)
    loss = ImageTextContrastiveLoss(duplicates)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), eval(repr(loss))):
        assert torch.equal(twin(images, texts, LABELS, SCALE), loss(images, texts, LABELS, SCALE))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": lambda x: x[:5]}, r"of one shape.*\(5, 4\) and \(6, 4\).*repeat its row"),
        ({"texts": lambda x: x[:, :3]}, r"of one shape.*\(6, 4\) and \(6, 3\)"),
        ({"images": lambda x: x[0]}, r"shape \(B, D\).*\(4,\)"),
        ({"texts": lambda x: x.long()}, r"floating-point.*torch\.int64"),
        ({"images": lambda x: x[:0], "texts": lambda x: x[:0]}, r"at least 1 pair.*\(0, 4\)"),
        ({"images": lambda x: 3 * x}, r"image_features must be of unit length.* is 3 long"),
        ({"texts": lambda x: 1.02 * x}, r"text_features must be of unit length.* is 1\.02 long"),
        ({"labels": lambda x: x[:5]}, r"int64 of shape \(6,\).*\(5,\)"),
        ({"labels": lambda x: x.double()}, r"int64 of shape \(6,\).*torch\.float64"),
        ({"labels": lambda x: x - 1}, r"-1 for an image without one, but the lowest is -2"),
        ({"scale": lambda x: torch.tensor([x])}, r"no dimensions, but got one of shape \(1,\)"),
        ({"scale": lambda x: 0.0}, r"finite number above 0, but is 0\.0"),
        ({"scale": lambda x: torch.tensor(-x)}, r"above 0, but is -14\.3.*exp\(\)"),
        ({"scale": lambda x: math.inf}, r"finite number above 0, but is inf"),
        ({"scale": lambda x: torch.tensor(math.nan)}, r"finite number above 0, but is nan"),
    ],
)
def test_it_names_what_is_wrong(change: dict[str, Any], message: str) -> None:
    images, texts = features(6)
    given = {"images": images, "texts": texts, "labels": LABELS, "scale": SCALE}
    for name, alter in change.items():
        given[name] = alter(given[name])
    with pytest.raises(DataError, match=message):
        ImageTextContrastiveLoss()(*given.values())


def test_other_treatments_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"'masked', but is 'positive'\. Did you mean 'positives'"
    ):
        ImageTextContrastiveLoss("positive")  # type: ignore[arg-type]  # what a recipe might hold
