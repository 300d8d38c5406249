"""What every registered second stage must do, whatever it fits."""

import copy
import doctest
import inspect
import math
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import taxonet.training.second_stage as room
from taxonet.errors import ConfigError, DataError
from taxonet.models import Head, LinearHead
from taxonet.registry import SECOND_STAGES
from taxonet.training.second_stage import CachedEmbeddings, EmbeddingSource, SecondStage
from tests.long_tailed_gaussians import COUNTS, SIZE, gaussians

PAGE = Path(__file__).parents[2] / "docs" / "second-stages.md"
every_stage = pytest.mark.parametrize("name", SECOND_STAGES.names())


def build(name: str) -> SecondStage:
    stage = SECOND_STAGES.build(name, {})
    assert isinstance(stage, SecondStage)
    return stage


def fit(name: str, source: EmbeddingSource | None = None, seed: int = 0) -> Head:
    data = gaussians()
    return build(name).fit(source or data.source, head=data.head, class_counts=COUNTS, seed=seed)


def assert_same(one: Head, other: Head) -> None:
    assert repr(one) == repr(other)
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])


def test_the_room_is_registered() -> None:
    assert set(SECOND_STAGES.names()) >= {
        "crt",
        "lws",
        "max_norm",
        "ncm",
        "prototype",
        "tau_norm",
    }


@every_stage
def test_it_declares_itself(name: str) -> None:
    stage = build(name)
    assert type(stage).__name__ in room.__all__
    option = next(iter(SECOND_STAGES.check(name, {})))
    with pytest.raises(FrozenInstanceError):
        setattr(stage, option, 1)
    assert stage == SECOND_STAGES.build(name, SECOND_STAGES.check(name, {}))
    with pytest.raises(ConfigError, match="no option 'colour'"):
        SECOND_STAGES.check(name, {"colour": 1})


@every_stage
def test_it_gives_a_finite_head_of_the_right_sizes(name: str) -> None:
    head = fit(name)
    assert (head.classes, head.embedding_size) == (len(COUNTS), SIZE)
    scores = head(gaussians().test)
    assert scores.shape == (len(gaussians().test), len(COUNTS))
    assert scores.isfinite().all()
    for parameter in head.parameters():
        assert parameter.dtype is torch.float32
        assert parameter.isfinite().all()
        assert parameter.requires_grad
        assert parameter.grad is None


@every_stage
def test_it_depends_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the state that must not matter
    before = torch.get_rng_state()
    first = fit(name)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    with torch.no_grad():
        assert_same(fit(name), first)
    if name in ("ncm", "tau_norm"):
        assert_same(fit(name, seed=1), first)
    else:
        assert not torch.equal(fit(name, seed=1).weight, first.weight)


@every_stage
def test_nothing_given_is_changed(name: str) -> None:
    data = gaussians()
    head = copy.deepcopy(data.head)
    embeddings, targets = data.embeddings.clone(), data.targets.clone()
    fitted = build(name).fit(data.source, head=head, class_counts=COUNTS, seed=0)
    assert_same(head, data.head)
    assert all(parameter.grad is None for parameter in head.parameters())
    assert torch.equal(embeddings, data.embeddings)
    assert torch.equal(targets, data.targets)
    with torch.no_grad():
        fitted.weight.add_(1)
    assert_same(head, data.head)


@every_stage
def test_the_order_of_classes_does_not_matter(name: str) -> None:
    data = gaussians()
    classes = torch.tensor([3, 0, 5, 1, 4, 2])
    place = torch.argsort(classes)  # the new index of each old class
    old = copy.deepcopy(data.head)
    with torch.no_grad():
        old.weight.copy_(data.head.weight[classes])
        old.bias.copy_(data.head.bias[classes])
    permuted = build(name).fit(
        CachedEmbeddings(data.embeddings, place[data.targets]),
        head=old,
        class_counts=torch.tensor(COUNTS)[classes],
        seed=0,
    )
    head = fit(name)
    if name in ("ncm", "tau_norm"):
        torch.testing.assert_close(permuted.weight, head.weight[classes])
    with torch.no_grad():
        same = permuted(data.test).argmax(dim=1) == place[head(data.test).argmax(dim=1)]
    # Other images are drawn, so a few predictions near a boundary differ.
    assert same.double().mean() > (1 - 1e-9 if name in ("ncm", "tau_norm") else 0.9)


@every_stage
def test_state_round_trip(name: str) -> None:
    head, other = fit(name), copy.deepcopy(fit(name))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    other.load_state_dict(head.state_dict())
    assert_same(other, head)
    assert torch.equal(other(gaussians().test), head(gaussians().test))


@every_stage
def test_half_precision_and_inference_tensors_are_taken(name: str) -> None:
    data = gaussians()
    half = data.embeddings.half()
    with torch.inference_mode():
        inferred = half.clone()
    head = fit(name, CachedEmbeddings(half.float(), data.targets))
    assert_same(fit(name, CachedEmbeddings(inferred, data.targets)), head)


class Counting:
    """A source that notes which epochs it is asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def epoch(self, number: int) -> tuple[Tensor, Tensor]:
        self.asked.append(number)
        return gaussians().source.epoch(number)


@every_stage
def test_each_epoch_is_asked_for_once_and_in_order(name: str) -> None:
    source = Counting()
    fit(name, source)
    epochs = SECOND_STAGES.check(name, {}).get("epochs", 0)
    means = [0] if name in ("ncm", "prototype") else []
    assert source.asked == [*means, *range(1, epochs + 1)]


@every_stage
def test_progress_ends_at_the_total(name: str) -> None:
    data, seen = gaussians(), list[tuple[int, int]]()
    options = SECOND_STAGES.check(name, {})
    build(name).fit(
        data.source,
        head=data.head,
        class_counts=COUNTS,
        seed=0,
        on_step=lambda done, total, _: seen.append((done, total)),
    )
    batches = options.get("epochs", 0) * math.ceil(sum(COUNTS) / options.get("batch_size", 1))
    # A stage that fits nothing has nothing to tell.
    assert seen == ([(done, batches) for done in range(batches + 1)] if batches else [])


@every_stage
def test_it_names_what_is_wrong(name: str) -> None:
    data, stage = gaussians(), build(name)
    with pytest.raises(DataError, match="6 classes, but the head of stage 1 has 5"):
        stage.fit(data.source, head=LinearHead(SIZE, 5), class_counts=COUNTS, seed=0)
    with pytest.raises(DataError, match=r"\[5\] have \[0\]"):
        stage.fit(data.source, head=data.head, class_counts=[*COUNTS[:5], 0], seed=0)
    if name == "tau_norm":  # which asks for no embedding
        return
    first_five = CachedEmbeddings(data.embeddings[:659], data.targets[:659])
    with pytest.raises(DataError, match="1 of 6 have none, the first of index 5"):
        fit(name, first_five)


@every_stage
def test_it_has_documentation_and_a_reference(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
    text = inspect.getdoc(SECOND_STAGES.get(name)) or ""
    assert "Examples:" in text
    assert "Reference:" in text


def test_the_page_prints_what_it_says() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert results.attempted >= 5
    assert results.failed == 0
