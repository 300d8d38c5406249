import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from taxonet.errors import ConfigError
from taxonet.models import CosineHead, Head, LinearHead
from taxonet.registry import HEADS

#: What a head must be told besides its sizes; nodes of three depths make five.
OPTIONS: dict[str, dict[str, Any]] = {"level_cosine": {"level_sizes": (1, 2, 2)}}

every_head = pytest.mark.parametrize("name", HEADS.names())


def build(name: str, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    head = HEADS.build(name, OPTIONS.get(name, {}), 8, 5)
    assert isinstance(head, Head)
    return head


def embeddings() -> torch.Tensor:
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


@every_head
def test_scores_are_finite_with_gradients_everywhere(name: str) -> None:
    head = build(name)
    x = embeddings().requires_grad_()
    scores = head(x)
    scores.square().sum().backward()
    assert scores.shape == (4, 5)
    for tensor in (x, *head.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0


@every_head
def test_one_image_scores_as_in_its_batch(name: str) -> None:
    head = build(name)
    together = head(embeddings())
    alone = torch.cat([head(row[None]) for row in embeddings()])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)


@every_head
def test_state_and_copies_give_the_same_scores(name: str) -> None:
    head = build(name)
    loaded = build(name, seed=1)
    assert not torch.equal(loaded(embeddings()), head(embeddings()))
    loaded.load_state_dict(head.state_dict())
    for twin in (loaded, copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert torch.equal(twin(embeddings()), head(embeddings()))
        assert twin.scale == head.scale
        assert repr(twin) == repr(head)


@every_head
def test_the_seed_gives_the_weights(name: str) -> None:
    assert torch.equal(build(name).weight, build(name).weight)
    assert not torch.equal(build(name).weight, build(name, seed=1).weight)


@every_head
@pytest.mark.parametrize(("embedding_size", "classes"), [(0, 5), (8, 0)])
def test_sizes_below_one_are_refused(name: str, embedding_size: int, classes: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        HEADS.build(name, OPTIONS.get(name, {}), embedding_size, classes)


def test_kinds_and_scales() -> None:
    linear, cosine = LinearHead(8, 5), CosineHead(8, 5, scale=16.0)
    assert (linear.kind, linear.scale) == ("logits", 1.0)
    assert (cosine.kind, cosine.scale) == ("cosines", 16.0)


def test_linear_is_affine() -> None:
    head = LinearHead(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        head.bias.copy_(torch.tensor([0.5, -0.5]))
    assert head(torch.tensor([[1.0, -1.0]])).tolist() == [[-0.5, -1.5]]


def test_linear_starts_near_equal_probabilities() -> None:
    torch.manual_seed(0)
    probs = LinearHead(512, 10)(F.relu(torch.randn(20, 512))).softmax(dim=1)
    assert probs.max() < 0.25


def test_cosines_equal_torch_and_ignore_lengths() -> None:
    head = CosineHead(8, 5)
    x = embeddings()
    expected = F.cosine_similarity(x[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(x), expected)
    torch.testing.assert_close(head(1000 * x), head(x))
    with torch.no_grad():
        head.weight.mul_(7)
    torch.testing.assert_close(head(x), expected)


def test_prototypes_start_near_norm_one() -> None:
    torch.manual_seed(0)
    norms = CosineHead(256, 100).weight.norm(dim=1)
    assert norms.mean().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_zero_and_huge_embeddings_stay_finite(dtype: torch.dtype) -> None:
    head = CosineHead(8, 5)
    # In float16 the squares of the second row overflow.
    x = torch.stack([torch.zeros(8), torch.full((8,), 6e4)]).to(dtype).requires_grad_()
    cosines = head(x)
    (32.0 * cosines).sum().backward()
    assert cosines[0].tolist() == [0.0] * 5
    assert cosines.abs().max() <= 1 + 1e-6
    assert x.grad is not None
    assert x.grad[0].tolist() == [0.0] * 8
    assert x.grad.isfinite().all()
    assert head.weight.grad is not None
    assert head.weight.grad.isfinite().all()


def test_gradient_where_an_embedding_is_its_prototype() -> None:
    head = CosineHead(8, 5).double()
    x = head.weight.detach()[:1].clone().requires_grad_()
    cosine = head(x)[0, 0]
    cosine.backward()
    assert cosine.item() == pytest.approx(1.0)
    assert x.grad is not None
    # The cosine is at its maximum: no direction raises it.
    assert x.grad.abs().max() < 1e-12


def test_gradcheck_of_cosines() -> None:
    head = CosineHead(8, 5).double()
    x = embeddings().double().requires_grad_()

    def cosines(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        out = torch.func.functional_call(head, {"weight": weight}, (x,))
        assert isinstance(out, torch.Tensor)
        return out

    assert torch.autograd.gradcheck(cosines, (x, head.weight))


def test_cosines_are_float32_under_mixed_precision() -> None:
    head = CosineHead(8, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = head(embeddings())
    assert mixed.dtype is torch.float32
    assert torch.equal(mixed, head(embeddings()))


def test_the_scale_of_training_is_kept_in_the_state() -> None:
    head = CosineHead(8, 5)
    head.scale = 30.0
    loaded = CosineHead(8, 5)
    loaded.load_state_dict(head.state_dict())
    assert loaded.scale == 30.0
    assert "scale=30" in repr(loaded)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_wrong_scale_is_refused(scale: float) -> None:
    with pytest.raises(ConfigError, match="scale"):
        CosineHead(8, 5, scale=scale)
    with pytest.raises(ConfigError, match="scale"):
        CosineHead(8, 5).scale = scale


def test_a_linear_head_takes_no_scale() -> None:
    head = LinearHead(8, 5)
    head.scale = 1.0
    with pytest.raises(ConfigError, match="head 'cosine'"):
        head.scale = 32.0
