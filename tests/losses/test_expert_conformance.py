"""What every registered loss of several experts must do, whatever it computes."""

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import taxonet.losses
from taxonet.errors import ConfigError, DataError
from taxonet.registry import EXPERT_LOSSES

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
COUNTS = torch.tensor([400, 90, 12, 1])
EXPERTS = 3
#: The options without which a loss cannot be built, and the forms that take other scores.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "nested_collaborative": [{"hard_classes": 2}, {"hard_classes": 2, "base": "dbm-bs"}],
    "ride": [{}, {"base": "ce"}],
}
CASES = [(name, options) for name in EXPERT_LOSSES.names() for options in VARIANTS.get(name, [{}])]
every_loss = pytest.mark.parametrize(
    ("name", "options"), CASES, ids=[f"{name} {options}" for name, options in CASES]
)


def batch(target: tuple[int, ...] = (0, 1, 2, 3, 0, 0)) -> tuple[list[Tensor], Tensor]:
    draw = torch.rand(EXPERTS, len(target), 4, generator=torch.Generator().manual_seed(0))
    return list((2 * draw - 1).unbind(0)), torch.tensor(target)


def build(name: str, options: dict[str, Any]) -> taxonet.losses.ExpertLoss:
    loss = EXPERT_LOSSES.build(name, options, COUNTS)
    assert isinstance(loss, taxonet.losses.ExpertLoss)
    return loss


def test_the_room_is_registered() -> None:
    assert set(EXPERT_LOSSES.names()) >= {"ace", "nested_collaborative", "ride"}


@every_loss
def test_it_declares_itself(name: str, options: dict[str, Any]) -> None:
    loss = build(name, options)
    assert loss.takes in {"logits", "cosines"}
    assert (loss.scale == 1.0) == (loss.takes == "logits")
    assert loss.classes == 4
    assert type(loss).__name__ in taxonet.losses.__all__


@every_loss
@pytest.mark.parametrize(
    "target",
    [
        pytest.param((0, 1, 2, 3, 0, 0), id="all classes, three with one image"),
        pytest.param((3, 3), id="one class only"),
        pytest.param((3,), id="one image"),
    ],
)
def test_value_and_every_gradient_are_finite(
    name: str, options: dict[str, Any], target: tuple[int, ...]
) -> None:
    loss = build(name, options)
    scores, labels = batch(target)
    for expert in scores:
        expert.requires_grad_()
    value = loss(scores, labels)
    torch.autograd.backward(value)
    assert value.shape == ()
    for tensor in (*scores, *loss.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0


@every_loss
def test_finite_at_the_ends(name: str, options: dict[str, Any]) -> None:
    ends = torch.tensor([[1.0, -1.0, 1.0, -1.0], [-1.0000002, 1.0000002, -1.0, 1.0]])
    scores = [ends.clone().requires_grad_(), -ends, ends.flip(0)]
    value = build(name, options)(scores, torch.tensor([1, 1]))
    torch.autograd.backward(value)
    assert value.isfinite()
    assert scores[0].grad is not None
    assert scores[0].grad.isfinite().all()


@every_loss
def test_a_better_score_of_the_target_costs_less(name: str, options: dict[str, Any]) -> None:
    loss = build(name, options)
    scores, labels = batch()
    better = [expert.clone() for expert in scores]
    for expert in better:
        expert[torch.arange(6), labels] += 0.05
    assert loss(better, labels) < loss(scores, labels)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(
    name: str, options: dict[str, Any], dtype: torch.dtype
) -> None:
    loss = build(name, options)
    scores, labels = batch()
    rounded = [expert.to(dtype) for expert in scores]
    value = loss(rounded, labels)
    assert value.dtype is torch.float32
    assert torch.equal(value, loss([expert.float() for expert in rounded], labels))


@every_loss
def test_the_order_of_images_and_classes_does_not_matter(
    name: str, options: dict[str, Any]
) -> None:
    scores, labels = batch()
    plain = build(name, options)([expert.double() for expert in scores], labels)
    rows, classes = torch.tensor([5, 0, 3, 1, 4, 2]), torch.tensor([2, 0, 3, 1])
    place = torch.argsort(classes)  # the new index of each old class
    permuted = EXPERT_LOSSES.build(name, options, COUNTS[classes])
    again = permuted([expert[rows][:, classes].double() for expert in scores], place[labels[rows]])
    torch.testing.assert_close(again, plain, rtol=1e-6, atol=0)  # buffers are float32


@every_loss
def test_it_does_not_change_what_it_is_given(name: str, options: dict[str, Any]) -> None:
    scores, labels = batch()
    before = [expert.clone() for expert in scores]
    build(name, options)(scores, labels)
    assert all(torch.equal(old, new) for old, new in zip(before, scores, strict=True))


@every_loss
def test_state_and_copies_give_the_same_loss(name: str, options: dict[str, Any]) -> None:
    loss = build(name, options)
    value = loss(*batch())
    loaded = build(name, options)
    loaded.load_state_dict(loss.state_dict())
    for twin in (loaded, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(twin(*batch()), value)


@every_loss
def test_its_repr_holds_its_options(name: str, options: dict[str, Any]) -> None:
    loss = build(name, options)
    shown = eval(f"dict({loss.extra_repr()})")
    expected = EXPERT_LOSSES.check(name, options)
    assert {key: shown[key] for key in expected if key != "scale"} == {
        key: value for key, value in expected.items() if key != "scale"
    }
    again = EXPERT_LOSSES.build(name, shown, COUNTS)
    assert repr(again) == repr(loss)
    assert repr(loss).startswith(type(loss).__name__)


@every_loss
def test_it_names_what_is_wrong(name: str, options: dict[str, Any]) -> None:
    scores, labels = batch()
    loss = build(name, options)
    with pytest.raises(DataError, match="4 classes"):
        loss([expert[:, :3] for expert in scores], labels)
    with pytest.raises(DataError, match=r"0\.\.3"):
        loss(scores, labels + 1)
    with pytest.raises(DataError, match="at least 2 experts"):
        loss(scores[:1], labels)
    with pytest.raises(DataError, match="at least 2 classes"):
        EXPERT_LOSSES.build(name, options, [5])
    with pytest.raises(ConfigError, match="no option 'colour'"):
        EXPERT_LOSSES.check(name, {**options, "colour": 1})


@every_loss
def test_it_has_documentation_and_a_reference(name: str, options: dict[str, Any]) -> None:
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
    text = inspect.getdoc(EXPERT_LOSSES.get(name)) or ""
    for part in ("Examples:", "Reference:", "Differs from the authors' code"):
        assert part in text
