import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from taxonet.errors import ConfigError, DataError
from taxonet.models import PrototypeHead
from taxonet.models.prototype import Distance, root
from taxonet.registry import HEADS
from tests.reference import prototypes as slow

KINDS: tuple[Distance, ...] = ("euclidean", "squared_euclidean", "cosine")
every_distance = pytest.mark.parametrize("distance", KINDS)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def head_at(
    prototypes: torch.Tensor,
    distance: Distance = "euclidean",
    temperature: torch.Tensor | None = None,
) -> PrototypeHead:
    classes, size = prototypes.shape
    head = PrototypeHead(
        size, classes, distance=distance, channel_temperature=temperature is not None
    ).to(prototypes.dtype)
    head.set_prototypes(prototypes)
    if temperature is not None:
        assert head.log_temperature is not None
        with torch.no_grad():
            head.log_temperature.copy_(temperature.log())
    return head


@every_distance
@given(rows=st.integers(1, 4), classes=st.integers(1, 4), seed=st.integers(0, 1000))
def test_equals_the_loop(distance: Distance, rows: int, classes: int, seed: int) -> None:
    points, prototypes = draw(rows, 3, seed=seed), draw(classes, 3, seed=seed + 1)
    t = draw(3, seed=seed + 2).exp()
    head = head_at(prototypes, distance, None if distance == "cosine" else t)
    expected = slow.logits(points.numpy(), prototypes.numpy(), kind=distance, t=t.tolist())
    torch.testing.assert_close(
        head(points), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9
    )


def test_a_case_by_hand() -> None:
    prototypes = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    point = torch.tensor([[3.0, 4.0]])
    assert head_at(prototypes)(point).tolist() == [[-2.5, -2.0]]
    assert head_at(prototypes, "squared_euclidean")(point).tolist() == [[-12.5, -8.0]]
    # 9 / 9 + 16 / 16 = 2 and 16 / 16 = 1.
    warm = head_at(prototypes, temperature=torch.tensor([9.0, 16.0]))(point)
    assert warm.tolist() == [[pytest.approx(-math.sqrt(2) / 2), pytest.approx(-0.5)]]
    # cos = 0.6; a prototype of norm 0 has the cosine 0.
    cosine = head_at(prototypes, "cosine")(point)
    assert cosine.tolist() == [[-0.5, pytest.approx(-0.2)]]


def test_temperatures_of_one_change_nothing() -> None:
    points, prototypes = draw(5, 4), draw(3, 4, seed=1)
    plain, warm = head_at(prototypes), head_at(prototypes, temperature=torch.ones(4))
    assert torch.equal(plain(points), warm(points))
    assert torch.equal(plain.temperature, warm.temperature)


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean"])
def test_the_largest_logit_is_the_nearest_prototype(distance: Distance) -> None:
    points, prototypes = draw(50, 4), draw(7, 4, seed=1)
    nearest = torch.cdist(points, prototypes).argmin(dim=1)
    assert torch.equal(head_at(prototypes, distance)(points).argmax(dim=1), nearest)


def test_squared_distances_are_a_linear_classifier() -> None:
    """With weights c and biases -|c|^2 / 2, but for a term that all classes share."""
    points, prototypes = draw(5, 4), draw(3, 4, seed=1)
    linear = points @ prototypes.T - prototypes.square().sum(dim=1) / 2
    probs = head_at(prototypes, "squared_euclidean")(points).softmax(dim=1)
    torch.testing.assert_close(probs, linear.softmax(dim=1))


@given(seed=st.integers(0, 1000), spread=st.sampled_from([0.01, 1.0, 100.0]))
def test_theorem_1(seed: int, spread: float) -> None:
    """The pull on a prototype is half the error in the probability, however far the sample is."""
    point, prototypes = spread * draw(1, 6, seed=seed), spread * draw(4, 6, seed=seed + 1)
    head, y = head_at(prototypes), seed % 4
    torch.autograd.backward(F.cross_entropy(head(point), torch.tensor([y])))
    probs = head(point).softmax(dim=1)[0]
    gradient = head.weight.grad
    assert gradient is not None
    for z in range(4):
        half_error = (1 - probs[z]) / 2 if z == y else probs[z] / 2
        torch.testing.assert_close(gradient[z].norm(), half_error, rtol=1e-6, atol=1e-12)
        away = F.normalize(prototypes[z] - point[0], dim=0)
        # A step against the gradient draws the target's prototype in and pushes others off.
        sign = 1 if z == y else -1
        torch.testing.assert_close(gradient[z], sign * half_error * away, rtol=1e-6, atol=1e-9)


def test_theorem_1_needs_the_plain_distance() -> None:
    point, prototypes = draw(1, 6), draw(4, 6, seed=1)
    for head in (
        head_at(prototypes, "squared_euclidean"),
        head_at(prototypes, temperature=torch.full((6,), 4.0)),
    ):
        torch.autograd.backward(F.cross_entropy(head(point), torch.tensor([0])))
        half_error = (1 - head(point).softmax(dim=1)[0, 0]) / 2
        assert head.weight.grad is not None
        assert abs(head.weight.grad[0].norm() - half_error) > 0.05


@every_distance
def test_gradcheck(distance: Distance) -> None:
    points, prototypes = draw(3, 4).requires_grad_(), draw(2, 4, seed=1)
    t = None if distance == "cosine" else draw(4, seed=2).exp()
    head = head_at(prototypes, distance, t)
    parameters = dict(head.named_parameters())

    def logits(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        state = dict(zip(parameters, values, strict=True))
        out = torch.func.functional_call(head, state, (x,))
        assert isinstance(out, torch.Tensor)
        return out

    assert torch.autograd.gradcheck(logits, (points, *parameters.values()))


@pytest.mark.parametrize(("nearness", "error"), [(1e-2, 1e-6), (1e-4, 1e-5), (1e-5, 1e-3)])
@pytest.mark.parametrize("size", [8, 2048])
def test_a_sample_near_its_prototype(nearness: float, error: float, size: int) -> None:
    """Where |g|^2 - 2 g c + |c|^2 has no correct digit left in float32."""
    points = 3 + draw(4, size).float()
    head = head_at((points * (1 + nearness)).detach())
    exact = (points.double() - head.weight.detach().double()).norm(dim=1)
    torch.testing.assert_close(-2 * head(points).diagonal().double(), exact, rtol=error, atol=0)
    points.requires_grad_()
    torch.autograd.backward(head(points).diagonal().sum())
    assert points.grad is not None
    # The slope of half a distance is a half, near and far.
    torch.testing.assert_close(points.grad.norm(dim=1), torch.full((4,), 0.5), rtol=error, atol=0)


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_sample_on_its_prototype(distance: Distance, dtype: torch.dtype) -> None:
    points = (100 * draw(5, 300)).to(dtype)
    head = PrototypeHead(300, 5, distance=distance)
    head.set_prototypes(points.float())
    if dtype is torch.float64:
        head = head.double()
        head.set_prototypes(points)
    points.requires_grad_()
    logits = head(points)
    assert logits.diagonal().tolist() == [0.0] * 5
    torch.autograd.backward(logits.diagonal().sum())
    for tensor in (points, *head.parameters()):
        assert tensor.grad is not None
        assert torch.equal(tensor.grad, torch.zeros_like(tensor))


def test_the_root_is_flat_at_zero() -> None:
    squares = torch.tensor([0.0, 1e-300, 9.0], dtype=torch.float64, requires_grad=True)
    roots = root(squares)
    torch.autograd.backward(roots.sum())
    assert roots.tolist() == [0.0, pytest.approx(1e-150), 3.0]
    assert squares.grad is not None
    assert squares.grad.tolist() == [0.0, pytest.approx(5e149), pytest.approx(1 / 6)]


@every_distance
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_zero_and_huge_embeddings_stay_finite(distance: Distance, dtype: torch.dtype) -> None:
    head = PrototypeHead(8, 3, distance=distance)
    x = torch.stack([torch.zeros(8), torch.full((8,), 6e4)]).to(dtype).requires_grad_()
    logits = head(x)
    assert logits.dtype is torch.float32
    # The mean: in float16 the sum's gradient over squared distances is out of range.
    logits.mean().backward()
    for tensor in (logits, x.grad, *(parameter.grad for parameter in head.parameters())):
        assert tensor is not None
        assert tensor.isfinite().all()


@every_distance
def test_half_precision_is_computed_in_float32(distance: Distance) -> None:
    head, x = PrototypeHead(8, 3, distance=distance), draw(4, 8).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(x), head(x.clone()))
        mixed = head(x)
    assert torch.equal(mixed, head(x))
    assert torch.equal(head(x.half()), head(x.half().float()))


@every_distance
def test_the_order_of_classes_and_images_does_not_matter(distance: Distance) -> None:
    points, prototypes = draw(6, 4), draw(3, 4, seed=1)
    classes, rows = torch.tensor([2, 0, 1]), torch.tensor([5, 0, 3, 1, 4, 2])
    plain = head_at(prototypes, distance)(points)
    permuted = head_at(prototypes[classes], distance)(points[rows])
    torch.testing.assert_close(permuted, plain[rows][:, classes], rtol=1e-12, atol=1e-15)


def test_cosines_have_no_temperatures() -> None:
    assert HEADS.build("prototype", {"distance": "cosine"}, 4, 3).channel_temperature is False
    assert HEADS.build("prototype", {}, 4, 3).channel_temperature is True
    assert PrototypeHead(4, 3, "cosine", True).log_temperature is None


def test_wrong_options_and_prototypes_are_refused() -> None:
    with pytest.raises(ConfigError, match="option 'distance'"):
        HEADS.check("prototype", {"distance": "manhattan"})
    with pytest.raises(ConfigError, match="'manhattan'"):
        PrototypeHead(4, 3, distance="manhattan")  # type: ignore[arg-type] # the point of the test
    head = PrototypeHead(4, 3)
    with pytest.raises(DataError, match=r"shape \(3, 4\)"):
        head.set_prototypes(torch.zeros(4, 3))
    with pytest.raises(DataError, match="finite"):
        head.set_prototypes(torch.full((3, 4), math.nan))


def test_state_and_copies_keep_prototypes_and_temperatures() -> None:
    head = head_at(draw(3, 4), temperature=draw(4).exp())
    loaded = PrototypeHead(4, 3).double()
    loaded.load_state_dict(head.state_dict())
    for twin in (loaded, copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert torch.equal(twin(draw(5, 4, seed=3)), head(draw(5, 4, seed=3)))
        assert repr(twin) == repr(head)
    assert "distance='euclidean', channel_temperature=True" in repr(head)
