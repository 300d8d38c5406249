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

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
COUNTS = torch.tensor([40, 9, 3, 1])
every_loss = pytest.mark.parametrize("name", LOSSES.names())


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    return 2 * draw - 1, torch.tensor([0, 1, 2, 3, 0, 0])


def build(name: str) -> taxonet.losses.Loss:
    loss = LOSSES.build(name, {}, COUNTS)
    assert isinstance(loss, taxonet.losses.Loss)
    return loss


def test_the_room_is_registered() -> None:
    assert set(LOSSES.names()) >= {"am_softmax", "cross_entropy", "dual_margin"}


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
