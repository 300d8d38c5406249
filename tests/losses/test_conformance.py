"""What every registered loss must do, whatever it computes."""

import copy
import inspect
import pickle
from pathlib import Path

import pytest
import torch

import taxonet.losses
from taxonet.errors import ConfigError, DataError
from taxonet.registry import LOSSES
from tests.reference.long_tail_losses import smoothed_cross_entropies, weighted_mean
from tests.reference.scores import Batch, extreme_batch, permute_classes, random_batch

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
COUNTS = torch.tensor([40, 9, 3, 1])
ONE_IMAGE_EACH = torch.ones(4, dtype=torch.int64)
every_loss = pytest.mark.parametrize("name", LOSSES.names())
smoothing_losses = pytest.mark.parametrize(
    "name",
    [name for name in LOSSES.names() if "label_smoothing" in LOSSES.options(name).model_fields],
)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    return 2 * draw - 1, torch.tensor([0, 1, 2, 3, 0, 0])


def build(name: str, counts: torch.Tensor = COUNTS, **options: float) -> taxonet.losses.Loss:
    loss = LOSSES.build(name, options, counts)
    assert isinstance(loss, taxonet.losses.Loss)
    return loss


def test_the_room_is_registered() -> None:
    assert set(LOSSES.names()) >= {
        "am_softmax",
        "arcface",
        "balanced_softmax",
        "class_balanced",
        "cross_entropy",
        "dbm",
        "dual_margin",
        "focal",
        "ldam",
        "logit_adjustment",
        "sphereface",
    }


def test_norms_mean_something_after_the_margins_of_the_am_softmax_family() -> None:
    meaningful = {name for name in LOSSES.names() if build(name).norm_is_meaningful}
    assert meaningful == {"am_softmax", "arcface", "dbm", "dual_margin", "sphereface"}


@every_loss
def test_it_declares_itself(name: str) -> None:
    loss = build(name)
    assert loss.takes in {"logits", "cosines"}
    assert isinstance(loss.norm_is_meaningful, bool)
    assert loss.classes == 4
    assert (loss.scale == 1.0) == (loss.takes == "logits")
    assert type(loss).__name__ in taxonet.losses.__all__


@every_loss
def test_value_and_every_gradient_are_finite(name: str) -> None:
    loss = build(name)
    scores, target = batch()
    scores.requires_grad_()
    value = loss(scores, target)
    value.backward()
    assert value.shape == ()
    assert value.item() > 0
    for tensor in (scores, *loss.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0


@every_loss
def test_a_better_score_of_the_target_costs_less(name: str) -> None:
    loss = build(name)
    scores, target = batch()
    better = scores.clone()
    better[torch.arange(6), target] += 0.1
    assert loss(better, target) < loss(scores, target)


@every_loss
@pytest.mark.parametrize("order", [[3, 1, 0, 2], [1, 2, 3, 0], [3, 2, 1, 0]])
def test_the_order_of_classes_does_not_matter(name: str, order: list[int]) -> None:
    plain = random_batch(6, 4)
    classes = torch.tensor(order)
    permuted = permute_classes(plain, classes)
    value = build(name, COUNTS[classes])(*permuted)
    torch.testing.assert_close(value, build(name)(*plain), rtol=1e-6, atol=0)


@every_loss
def test_the_order_of_images_does_not_matter(name: str) -> None:
    loss = build(name)
    scores, target = random_batch(6, 4)
    rows = torch.tensor([5, 0, 3, 1, 4, 2])
    value = loss.per_image(scores, target)
    torch.testing.assert_close(
        loss.per_image(scores[rows], target[rows]), value[rows], rtol=1e-12, atol=0
    )


@every_loss
@pytest.mark.parametrize("counts", [COUNTS, ONE_IMAGE_EACH], ids=["long tail", "one image each"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_finite_at_the_ends(name: str, dtype: torch.dtype, counts: torch.Tensor) -> None:
    loss = build(name, counts)
    ends = (60.0,) if loss.takes == "logits" else (1.0, 1.0000002, 1.01)
    for end in ends:
        scores, target = extreme_batch(end, dtype)
        scores.requires_grad_()
        value = loss(scores, target)
        value.backward()
        assert value.isfinite()
        assert scores.grad is not None
        assert scores.grad.isfinite().all()
        assert scores.grad.abs().sum() > 0


@every_loss
def test_gradients_are_those_of_the_value(name: str) -> None:
    loss = build(name).double()
    scores, target = random_batch(5, 4)
    assert torch.autograd.gradcheck(lambda z: loss(z, target), (scores.requires_grad_(),))


def image_terms(loss: taxonet.losses.Loss, given: Batch, **options: torch.Tensor) -> torch.Tensor:
    """The loss of a batch less what does not depend on its images."""
    penalty = loss.penalty()
    value: torch.Tensor = loss(*given, **options)
    return value if penalty is None else value - penalty


@every_loss
def test_sample_weights_multiply_each_image(name: str) -> None:
    loss = build(name)
    given = random_batch(6, 4)
    ones = torch.ones(6, dtype=torch.float64)
    assert torch.equal(loss(*given, sample_weights=ones), loss(*given))
    draw = torch.Generator().manual_seed(1)
    first, second = torch.rand(2, 6, dtype=torch.float64, generator=draw)
    mixed = image_terms(loss, given, sample_weights=2 * first - 3 * second)
    parts = [image_terms(loss, given, sample_weights=weights) for weights in (first, second)]
    torch.testing.assert_close(mixed, 2 * parts[0] - 3 * parts[1], rtol=1e-6, atol=1e-9)
    # Only the weighted image is left, divided by the whole batch.
    loss.reweight(None)
    only_third = (torch.arange(6) == 2).double()
    alone = image_terms(loss, given, sample_weights=only_third)
    torch.testing.assert_close(6 * alone, loss.per_image(*given)[2], rtol=1e-6, atol=1e-9)


@every_loss
def test_class_weights_follow_the_formula(name: str) -> None:
    loss = build(name)
    given = random_batch(6, 4)
    loss.reweight(None)
    plain = image_terms(loss, given)
    losses = loss.per_image(*given).tolist()
    assert plain.item() == pytest.approx(sum(losses) / 6, rel=1e-6)
    loss.reweight(torch.full((4,), 2.5))
    torch.testing.assert_close(image_terms(loss, given), plain, rtol=1e-6, atol=0)
    weights = [0.5, 0.0, 3.0, 1.0]
    loss.reweight(torch.tensor(weights))
    expected = weighted_mean(losses, given.target.tolist(), weights)
    assert image_terms(loss, given).item() == pytest.approx(expected, rel=1e-6)


@every_loss
def test_wrong_class_weights_are_refused(name: str) -> None:
    loss = build(name)
    with pytest.raises(DataError, match=r"4 classes, but got class weights of shape \(3,\)"):
        loss.reweight(torch.ones(3))
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(DataError, match="finite and at least 0"):
            loss.reweight(torch.tensor([1.0, 1.0, 1.0, wrong]))


@smoothing_losses
def test_label_smoothing_follows_the_formula(name: str) -> None:
    given = random_batch(6, 4)
    smoothed = build(name, label_smoothing=0.3)
    logits = smoothed.adjusted(*given)
    expected = smoothed_cross_entropies(logits.numpy(), given.target.tolist(), 0.3)
    assert smoothed.per_image(*given).tolist() == pytest.approx(expected, rel=1e-9)
    assert torch.equal(build(name, label_smoothing=0.0)(*given), build(name)(*given))
    with pytest.raises(ConfigError, match="label_smoothing must be a share"):
        build(name, label_smoothing=1.0)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    loss = build(name)
    scores, target = batch()
    rounded = scores.to(dtype)
    assert torch.equal(loss(rounded, target), loss(rounded.float(), target))


@every_loss
def test_state_and_copies_give_the_same_loss(name: str) -> None:
    loss = build(name)
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.add_(0.3)
    value = loss(*batch())
    loaded = build(name)
    loaded.load_state_dict(loss.state_dict())
    for twin in (loaded, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(twin(*batch()), value)


@every_loss
def test_its_repr_holds_its_options(name: str) -> None:
    loss = build(name)
    options = eval(f"dict({loss.extra_repr()})")
    assert options == LOSSES.check(name, {})
    again = LOSSES.build(name, options, COUNTS)
    assert repr(again) == repr(loss)
    assert repr(loss).startswith(type(loss).__name__)


@every_loss
def test_it_names_what_is_wrong(name: str) -> None:
    scores, target = batch()
    loss = build(name)
    with pytest.raises(DataError, match="4 classes"):
        loss(scores[:, :3], target)
    with pytest.raises(DataError, match=r"0\.\.3"):
        loss(scores, target + 1)
    with pytest.raises(DataError, match="at least 2 classes"):
        LOSSES.build(name, {}, [5])
    with pytest.raises(DataError, match=r"\[2\] have \[0\]"):
        LOSSES.build(name, {}, [5, 1, 0])
    with pytest.raises(ConfigError, match="no option 'colour'"):
        LOSSES.check(name, {"colour": 1})


@every_loss
def test_it_has_documentation_and_a_reference(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
    assert "Examples:" in (inspect.getdoc(LOSSES.get(name)) or "")
