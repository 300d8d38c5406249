"""What every registered contrastive loss must do, whatever it computes."""

import copy
import inspect
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import taxonet.losses
from taxonet.errors import ConfigError, DataError
from taxonet.registry import CONTRASTIVE_LOSSES

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
COUNTS = torch.tensor([40, 9, 3, 1])
#: A loss that is made for a tree is called otherwise; its tests are in tests/losses/hierarchical.
FLAT = [
    name
    for name in CONTRASTIVE_LOSSES.names()
    if not getattr(CONTRASTIVE_LOSSES.get(name), "needs_tree", False)
]
every_loss = pytest.mark.parametrize("name", FLAT)


def batch(
    target: tuple[int, ...] = (0, 1, 2, 3, 0, 0), seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.randn(4 + 2 * len(target), 5, generator=torch.Generator().manual_seed(seed))
    vectors = F.normalize(draw, dim=1)
    return vectors[:4], vectors[4:].view(-1, 2, 5), torch.tensor(target)


def build(name: str) -> taxonet.losses.ContrastiveLoss:
    loss = CONTRASTIVE_LOSSES.build(name, {}, COUNTS)
    assert isinstance(loss, taxonet.losses.ContrastiveLoss)
    return loss


def assert_learns(loss: taxonet.losses.ContrastiveLoss, centers: Tensor, views: Tensor) -> None:
    assert views.grad is not None
    assert views.grad.isfinite().all()
    assert views.grad.abs().sum() > 0
    if centers.grad is not None:
        assert centers.grad.isfinite().all()
    for parameter in loss.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_the_room_is_registered() -> None:
    assert set(FLAT) >= {
        "balanced_contrastive",
        "dro",
        "gaussian_mixture",
        "supcon",
    }


@every_loss
def test_it_declares_itself(name: str) -> None:
    loss = build(name)
    assert isinstance(loss.needs_unit_length, bool)
    assert isinstance(loss.needs_centers, bool)
    assert loss.classes == 4
    assert type(loss).__name__ in taxonet.losses.__all__


@every_loss
@pytest.mark.parametrize(
    "target",
    [
        pytest.param((0, 1, 2, 3, 0, 0), id="all classes, three with one image"),
        pytest.param((2, 2, 2), id="one class only"),
        pytest.param((0, 1), id="classes are absent"),
    ],
)
def test_value_and_every_gradient_are_finite(name: str, target: tuple[int, ...]) -> None:
    loss = build(name)
    centers, views, labels = batch(target)
    value = loss(centers.requires_grad_(), views.requires_grad_(), labels)
    torch.autograd.backward(value)
    assert value.shape == ()
    assert value.item() > 0
    assert_learns(loss, centers, views)


@every_loss
def test_a_single_image_is_a_batch(name: str) -> None:
    centers, views, labels = batch((3,))
    value = build(name)(centers, views.requires_grad_(), labels)
    torch.autograd.backward(value)
    assert value.isfinite()
    assert views.grad is not None
    assert views.grad.isfinite().all()


@every_loss
def test_duplicates_and_opposites_are_finite(name: str) -> None:
    loss = build(name)
    right = torch.tensor([1.0, 0.0])
    centers = torch.stack([right, -right, right, right]).requires_grad_()
    views = torch.stack([right, -right, right, right, -right, -right]).view(3, 2, 2)
    views = (views * 1.0000002).requires_grad_()
    value = loss(centers, views, torch.tensor([0, 0, 1]))
    torch.autograd.backward(value)
    assert value.isfinite()
    for tensor in (centers, views):
        assert tensor.grad is None or tensor.grad.isfinite().all()
    again = loss(centers, views[[0, 0, 0]], torch.tensor([0, 0, 0]))
    assert again.isfinite()


@every_loss
def test_views_of_one_class_that_draw_together_cost_less(name: str) -> None:
    loss = build(name)
    centers, views, labels = batch()
    nearer = F.normalize(views + 0.3 * centers[labels][:, None], dim=2)
    nearer = F.normalize(nearer + 0.3 * nearer.flip(1), dim=2)
    assert loss(centers, nearer, labels) < loss(centers, views, labels)


@every_loss
def test_centres_may_be_left_out_where_they_are_not_used(name: str) -> None:
    loss = build(name)
    centers, views, labels = batch((0, 1))  # the mixture needs the centres of absent classes only
    if loss.needs_centers:
        assert not torch.equal(loss(centers, views, labels), loss(-centers, views, labels))
    else:
        assert torch.equal(loss(centers, views, labels), loss(None, views, labels))
        with pytest.raises(DataError, match=r"0\.\.3"):
            loss(None, views, labels + 3)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    loss = build(name)
    centers, views, labels = batch()
    halves = centers.to(dtype), views.to(dtype)
    value = loss(*halves, labels)
    assert value.dtype is torch.float32
    assert torch.equal(value, loss(halves[0].float(), halves[1].float(), labels))
    assert torch.equal(value, loss(halves[0].float(), halves[1], labels))


@every_loss
def test_autocast_changes_nothing(name: str) -> None:
    loss = build(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(*batch())
    assert torch.equal(value, loss(*batch()))


@every_loss
def test_the_order_of_images_views_and_classes_does_not_matter(name: str) -> None:
    centers, views, labels = batch()
    loss = build(name)
    plain = loss(centers.double(), views.double(), labels)
    rows, classes = torch.tensor([5, 0, 3, 1, 4, 2]), torch.tensor([2, 0, 3, 1])
    place = torch.argsort(classes)  # the new index of each old class
    permuted = CONTRASTIVE_LOSSES.build(name, {}, COUNTS[classes])
    again = permuted(centers[classes].double(), views[rows].double(), place[labels[rows]])
    torch.testing.assert_close(again, plain, rtol=1e-6, atol=0)  # buffers are float32


@every_loss
def test_state_and_copies_give_the_same_loss(name: str) -> None:
    loss = build(name)
    value = loss(*batch())
    loaded = build(name)
    loaded.load_state_dict(loss.state_dict())
    for twin in (loaded, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(twin(*batch()), value)


@every_loss
def test_its_repr_holds_its_options(name: str) -> None:
    loss = build(name)
    options = eval(f"dict({loss.extra_repr()})")
    assert options == CONTRASTIVE_LOSSES.check(name, {})
    again = CONTRASTIVE_LOSSES.build(name, options, COUNTS)
    assert repr(again) == repr(loss)
    assert repr(loss).startswith(type(loss).__name__)


@every_loss
def test_it_names_what_is_wrong(name: str) -> None:
    centers, views, labels = batch()
    loss = build(name)
    with pytest.raises(DataError, match=r"4 classes .* got torch.float32 of shape \(3, 5\)"):
        loss(centers[:3], views, labels)
    with pytest.raises(DataError, match=r"shape \(4, 4\), one for each class"):
        loss(centers, views[:, :, :4], labels)
    with pytest.raises(DataError, match=r"shape \(B, 2, D\).*\(6, 1, 5\)"):
        loss(centers, views[:, :1], labels)
    with pytest.raises(DataError, match=r"\(0, 2, 5\)"):
        loss(centers, views[:0], labels[:0])
    with pytest.raises(DataError, match=r"torch\.int64"):
        loss(centers, views.long(), labels)
    with pytest.raises(DataError, match=r"int64 of shape \(6,\)"):
        loss(centers, views, labels[:5])
    with pytest.raises(DataError, match=r"0\.\.3"):
        loss(centers, views, labels + 1)
    if loss.needs_unit_length:
        with pytest.raises(DataError, match=r"views must be of unit length.*is 3 long"):
            loss(centers, 3 * views, labels)
        with pytest.raises(DataError, match="class_centers must be of unit length"):
            loss(2 * centers, views, labels)
    with pytest.raises(DataError, match="at least 2 classes"):
        CONTRASTIVE_LOSSES.build(name, {}, [5])
    with pytest.raises(ConfigError, match="no option 'colour'"):
        CONTRASTIVE_LOSSES.check(name, {"colour": 1})
    with pytest.raises(ConfigError, match="temperature"):
        CONTRASTIVE_LOSSES.build(name, {"temperature": 0.0}, COUNTS)


@every_loss
def test_it_has_documentation_and_a_reference(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
    text = inspect.getdoc(CONTRASTIVE_LOSSES.get(name)) or ""
    for part in ("Examples:", "Reference:", "Differs from the authors' code"):
        assert part in text
