"""What every registered hierarchical loss must do, whatever it computes."""

import copy
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import taxonet.losses.hierarchical
from taxonet.errors import ConfigError, DataError
from taxonet.losses.hierarchical import HierarchicalLoss
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy import Taxonomy
from tests.reference import hierarchical_losses as slow

PAGE = Path(__file__).parents[3] / "docs" / "hierarchical-losses.md"
#: Options of a loss and the loops that give its value and its probabilities with them. Nothing is
#: cut here: the cuts are looked at in test_random_cut.py.
CASES: list[tuple[str, dict[str, Any], Callable[..., float], Callable[..., list[float]]]] = [
    ("flat_softmax", {}, slow.flat_softmax, slow.flat_probabilities),
    (
        "hierarchical_cross_entropy",
        {"alpha": 0.3},
        slow.hierarchical_cross_entropy,
        slow.flat_probabilities,
    ),
    ("soft_labels", {"beta": 4.0}, slow.soft_labels, slow.flat_probabilities),
    (
        "levelwise_cross_entropy",
        {"levels": None},
        slow.levelwise,
        slow.levelwise_probabilities,
    ),
    (
        "conditional_softmax",
        {},
        slow.conditional_softmax,
        slow.conditional_softmax_probabilities,
    ),
    (
        "conditional_sigmoid",
        {},
        slow.conditional_sigmoid,
        slow.conditional_sigmoid_probabilities,
    ),
    (
        "multilabel_focal",
        {"alpha": 0.25, "gamma": 2.0},
        slow.multilabel_focal,
        slow.multilabel_probabilities,
    ),
    (
        "multilabel_focal",
        {"alpha": 0.6, "gamma": 0.0},
        slow.multilabel_focal,
        slow.multilabel_probabilities,
    ),
    ("parameter_sharing_softmax", {}, slow.parameter_sharing, slow.shared_probabilities),
    (
        "soft_max_margin",
        {"margin": "edge", "tau": 1.0},
        slow.soft_max_margin,
        slow.subtree_probabilities,
    ),
    (
        "soft_max_margin",
        {"margin": "information", "tau": 0.7},
        slow.soft_max_margin,
        slow.subtree_probabilities,
    ),
    ("descendant_softmax", {"form": "root"}, slow.descendant_softmax, slow.subtree_probabilities),
    ("descendant_softmax", {"form": "cousin"}, slow.descendant_softmax, slow.subtree_probabilities),
    ("random_cut", {"cut_probability": 0.0}, slow.parameter_sharing, slow.random_cut_probabilities),
]
every_case = pytest.mark.parametrize(
    ("name", "options", "value", "probabilities"),
    CASES,
    ids=[f"{name} {options}" for name, options, _, _ in CASES],
)
every_loss = pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name, options, _, _ in CASES],
    ids=[f"{name} {options}" for name, options, _, _ in CASES],
)
#: A leaf and an inner node at depth 1, an only child that has an only child, a pair of leaves.
RAGGED = [-1, 0, 0, 0, 2, 3, 3, 4]


@st.composite
def trees(draw: st.DrawFn) -> Taxonomy:
    size = draw(st.integers(1, 12))
    parents = [-1, *(draw(st.integers(0, node - 1)) for node in range(1, size))]
    return Taxonomy.from_parents([f"n{node}" for node in range(size)], parents)


def named(parents: list[int]) -> Taxonomy:
    return Taxonomy.from_parents([f"n{node:04}" for node in range(len(parents))], parents)


def build(name: str, options: dict[str, Any], tree: Taxonomy) -> HierarchicalLoss:
    loss = HIERARCHICAL_LOSSES.build(name, options, tree)
    assert isinstance(loss, HierarchicalLoss)
    return loss


def draw_scores(loss: HierarchicalLoss, rows: int, seed: int = 0, spread: float = 2.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return spread * (2 * torch.rand(rows, loss.columns, dtype=torch.float64, generator=draw) - 1)


def slow_options(name: str, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that the loops of the value and of the probabilities take."""
    if name == "levelwise_cross_entropy":
        return options, options
    if name == "random_cut":
        return {}, {"temperature": 10.0}
    return options, {}


def test_all_losses_are_looked_at() -> None:
    # The one that needs counts is looked at in test_level_margins.py, and the one that compares the
    # images of a batch with one another in test_name_contrast.py.
    looked_at = {name for name, _, _, _ in CASES} | {"levelwise_margin", "image_text"}
    assert looked_at == set(HIERARCHICAL_LOSSES.names())


@every_case
@given(tree=trees(), seed=st.integers(0, 100))
def test_it_equals_the_loop_for_labels_at_every_node(
    name: str,
    options: dict[str, Any],
    value: Callable[..., float],
    probabilities: Callable[..., list[float]],
    tree: Taxonomy,
    seed: int,
) -> None:
    loss = build(name, options, tree)
    parent = tree.parent.tolist()
    of_value, of_probabilities = slow_options(name, options)
    scores, target = draw_scores(loss, len(tree), seed), torch.arange(len(tree))
    expected = [
        value(parent, row, y, **of_value)
        for row, y in zip(scores.tolist(), target.tolist(), strict=True)
    ]
    # Weights and margins are kept in float32.
    assert loss.per_image(scores, target).tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert loss(scores, target).item() == pytest.approx(
        sum(expected) / len(expected), rel=1e-5, abs=1e-6
    )
    rows = [probabilities(parent, row, **of_probabilities) for row in scores.tolist()]
    assert torch.allclose(loss.node_probabilities(scores), torch.tensor(rows).double(), atol=1e-6)


# The loops of sigmoids take the logarithm of 0 there.
@pytest.mark.parametrize(
    ("name", "options", "value"),
    [case[:3] for case in CASES if case[0] not in {"conditional_sigmoid", "multilabel_focal"}],
)
def test_it_equals_the_loop_where_scores_lie_far_apart(
    name: str, options: dict[str, Any], value: Callable[..., float]
) -> None:
    tree = named(RAGGED)
    loss = build(name, options, tree)
    of_value, _ = slow_options(name, options)
    # e^-300 is more than nothing to double precision, and nothing to single.
    scores, target = draw_scores(loss, len(tree), spread=150.0), torch.arange(len(tree))
    expected = [
        value(tree.parent.tolist(), row, y, **of_value)
        for row, y in zip(scores.tolist(), target.tolist(), strict=True)
    ]
    assert loss.per_image(scores, target).tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    single = loss.per_image(scores.float(), target)
    assert single.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@every_loss
@pytest.mark.parametrize(
    "parents",
    [
        pytest.param(RAGGED, id="ragged"),
        pytest.param([-1, 0, 0, 0], id="star"),
        pytest.param([-1, 0, 1, 2], id="chain"),
    ],
)
def test_gradients_are_those_of_the_value(
    name: str, options: dict[str, Any], parents: list[int]
) -> None:
    tree = named(parents)
    loss = build(name, options, tree).double()
    target = torch.arange(len(tree))
    scores = draw_scores(loss, len(tree)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (scores,))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("end", [1.0, 60.0, 1e4])
def test_finite_at_extremes(
    name: str, options: dict[str, Any], dtype: torch.dtype, end: float
) -> None:
    tree = named(RAGGED)
    loss = build(name, options, tree)
    draw = torch.Generator().manual_seed(0)
    target = torch.arange(len(tree)).repeat(8)
    signs = torch.randint(2, (len(target), loss.columns), generator=draw) * 2 - 1
    signs[:8], signs[8:16] = 1, -1
    scores = (signs * end).to(dtype).requires_grad_()
    value = loss(scores, target)
    value.backward()
    assert value.dtype is torch.promote_types(dtype, torch.float32)
    assert value.isfinite()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert scores.grad.abs().sum() > 0
    probabilities = loss.node_probabilities(scores)
    assert probabilities.isfinite().all()
    assert bool((probabilities >= 0).all())
    assert bool((probabilities <= 1 + 1e-6).all())


@every_loss
def test_what_is_certain_and_right_costs_nothing(name: str, options: dict[str, Any]) -> None:
    tree = named(RAGGED)
    loss = build(name, {**options, "beta": 1e3} if name == "soft_labels" else options, tree)
    parent = tree.parent.tolist()
    for y in tree.leaves.tolist():
        on_path = torch.tensor([node in slow.path(parent, y) for node in range(len(tree))])
        nodes = torch.where(on_path, 1e3, -1e3)
        if loss.reads_root and name == "soft_max_margin":
            nodes[: len(tree)] = torch.where(torch.arange(len(tree)) == y, 1e3, -1e3)
        scores = nodes[torch.tensor(tree.leaves)] if loss.takes == "leaves" else nodes
        value = loss(scores.unsqueeze(0), torch.tensor([y])).item()
        if name == "descendant_softmax" and options["form"] == "root":
            assert value > 0  # a path of several nodes cannot have all the energy
        else:
            assert value == pytest.approx(0, abs=1e-6)


@every_loss
def test_scores_that_do_not_count_get_no_gradient(name: str, options: dict[str, Any]) -> None:
    tree = named(RAGGED)
    loss = build(name, options, tree)
    scores = draw_scores(loss, 8).requires_grad_()
    loss(scores, torch.arange(8)).backward()
    assert scores.grad is not None
    if loss.takes == "nodes" and not loss.reads_root:
        assert scores.grad[:, 0].tolist() == [0.0] * 8
        moved = scores.detach().clone()
        for other in (5.0, 1e30, float("nan")):
            moved[:, 0] = other
            assert torch.equal(loss(moved, torch.arange(8)), loss(scores, torch.arange(8)))
            assert torch.equal(loss.node_probabilities(moved), loss.node_probabilities(scores))
    else:
        # In the cousins' form nothing competes with the root: only prediction reads its score.
        first = 1 if options.get("form") == "cousin" else 0
        assert scores.grad.abs().sum(0)[first:].gt(0).all()


@every_loss
@given(order=st.permutations(range(8)), rows=st.permutations(range(8)))
def test_names_of_siblings_and_the_order_of_images_do_not_matter(
    name: str, options: dict[str, Any], order: list[int], rows: list[int]
) -> None:
    plain = named(RAGGED)
    renamed = Taxonomy.from_parents([f"n{place:04}" for place in order], RAGGED)
    place = torch.tensor([renamed.names.index(f"n{order[node]:04}") for node in range(8)])
    loss, again = build(name, options, plain), build(name, options, renamed)
    scores, target = draw_scores(loss, 8), torch.arange(8)
    if loss.takes == "leaves":
        moved_leaves = place[torch.tensor(plain.leaves)]
        columns = torch.searchsorted(torch.tensor(renamed.leaves), moved_leaves)
    else:
        columns = place
    moved = torch.empty_like(scores).index_copy(1, columns, scores)[rows]
    torch.testing.assert_close(
        again.per_image(moved, place[target[rows]]), loss.per_image(scores, target)[rows]
    )
    torch.testing.assert_close(
        again.node_probabilities(moved)[:, place], loss.node_probabilities(scores)[rows]
    )


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(
    name: str, options: dict[str, Any], dtype: torch.dtype
) -> None:
    loss = build(name, options, named(RAGGED))
    scores, target = draw_scores(loss, 8).to(dtype), torch.arange(8)
    single = loss.per_image(scores.float(), target)
    half = loss.per_image(scores, target)
    assert half.dtype is torch.float32
    assert torch.equal(half, single)
    assert loss.node_probabilities(scores).dtype is torch.float32


@every_loss
def test_one_node_is_a_tree(name: str, options: dict[str, Any]) -> None:
    loss = build(name, options, named([-1]))
    scores = torch.tensor([[3.0], [-4.0]], requires_grad=True)
    value = loss(scores, torch.tensor([0, 0]))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert scores.grad is not None
    assert scores.grad.abs().max() < 1e-6
    assert loss.node_probabilities(scores).tolist() == [[1.0], [1.0]]


@every_loss
def test_a_chain_has_nothing_to_decide_where_siblings_compete(
    name: str, options: dict[str, Any]
) -> None:
    tree = named([-1, 0, 1, 2])
    loss = build(name, options, tree)
    scores, target = draw_scores(loss, 4), torch.arange(4)
    competes = {"conditional_sigmoid", "multilabel_focal", "soft_max_margin", "descendant_softmax"}
    if name not in competes or options.get("form") == "cousin":
        assert loss.per_image(scores, target).abs().max() < 1e-6
    else:
        assert loss.per_image(scores, target)[3] > 0


@every_loss
def test_a_deep_chain(name: str, options: dict[str, Any]) -> None:
    depth = 300
    tree = named([*range(-1, depth), depth - 1])  # two leaves at its end
    loss = build(name, options, tree)
    scores = draw_scores(loss, 2, spread=0.1).float().requires_grad_()
    value = loss(scores, torch.tensor([depth, 5]))
    value.backward()
    assert value.isfinite()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


@every_loss
def test_probabilities_form_what_they_must(name: str, options: dict[str, Any]) -> None:
    tree = named(RAGGED)
    loss = build(name, options, tree)
    probabilities = loss.node_probabilities(draw_scores(loss, 5))
    assert probabilities[:, 0].tolist() == [1.0] * 5
    parent = tree.parent.tolist()
    independent = {"multilabel_focal", "random_cut", "levelwise_cross_entropy"}
    sigmoids = independent | {"conditional_sigmoid"}
    for node in range(8):
        below = probabilities[:, slow.children(parent, node)]
        if len(below[0]) == 0:
            continue
        if name in {"soft_max_margin", "descendant_softmax"}:
            assert bool((below.sum(1) <= probabilities[:, node] + 1e-12).all())
        elif name == "conditional_sigmoid":
            assert bool((below.amax(1) <= probabilities[:, node]).all())
        elif name not in sigmoids:
            torch.testing.assert_close(below.sum(1), probabilities[:, node])
    if name == "levelwise_cross_entropy":
        torch.testing.assert_close(probabilities[:, 1:4].sum(1), torch.ones(5).double())


@every_loss
def test_state_and_copies_give_the_same_loss(name: str, options: dict[str, Any]) -> None:
    loss = build(name, options, named(RAGGED))
    batch = draw_scores(loss, 8), torch.arange(8)
    value = loss(*batch)
    loaded = build(name, options, named(RAGGED))
    loaded.load_state_dict(loss.state_dict())
    for twin in (loaded, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(twin(*batch), value)


@every_loss
def test_it_does_not_change_what_it_is_given(name: str, options: dict[str, Any]) -> None:
    loss = build(name, options, named(RAGGED))
    for rows in (1, 8):
        scores, target = draw_scores(loss, rows), torch.arange(rows)
        before = scores.clone(), target.clone()
        loss(scores, target)
        loss.node_probabilities(scores)
        assert torch.equal(scores, before[0])
        assert torch.equal(target, before[1])


@every_loss
def test_rows_do_not_mix(name: str, options: dict[str, Any]) -> None:
    loss = build(name, options, named(RAGGED))
    scores, target = draw_scores(loss, 8), torch.arange(8)
    whole = loss.per_image(scores, target)
    for row in range(8):
        alone = loss.per_image(scores[row : row + 1], target[row : row + 1])
        torch.testing.assert_close(alone, whole[row : row + 1])
    strided = draw_scores(loss, 16)[::2]
    torch.testing.assert_close(
        loss.per_image(strided, target), loss.per_image(strided.contiguous(), target)
    )
    turned = scores.T.contiguous().T
    torch.testing.assert_close(loss.per_image(turned, target), whole)


@every_loss
def test_its_repr_holds_its_options(name: str, options: dict[str, Any]) -> None:
    tree = named(RAGGED)
    loss = build(name, options, tree)
    shown = eval(f"dict({loss.extra_repr()})")
    assert shown == HIERARCHICAL_LOSSES.check(name, options)
    assert repr(build(name, shown, tree)) == repr(loss)


@every_loss
def test_it_declares_itself(name: str, options: dict[str, Any]) -> None:
    tree = named(RAGGED)
    loss = build(name, options, tree)
    assert loss.columns == {"leaves": len(tree.leaves), "nodes": len(tree)}[loss.takes]
    assert type(loss).__name__ in taxonet.losses.hierarchical.__all__
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
    text = inspect.getdoc(HIERARCHICAL_LOSSES.get(name)) or ""
    for part in ("Shape:", "Args:", "Raises:", "Reference:", "Examples:"):
        assert part in text


@every_loss
def test_it_names_what_is_wrong(name: str, options: dict[str, Any]) -> None:
    loss = build(name, options, named(RAGGED))
    scores, target = draw_scores(loss, 3), torch.arange(3)
    with pytest.raises(DataError, match=rf"made for {loss.columns} {loss.takes} .* got \(3, 2\)"):
        loss(scores[:, :2], target)
    with pytest.raises(DataError, match=r"got \(3, 2\)"):
        loss.node_probabilities(scores[:, :2])
    with pytest.raises(DataError, match=r"0\.\.7.*rows \[2\] of the batch have \[8\]"):
        loss(scores, torch.tensor([0, 1, 8]))
    with pytest.raises(DataError, match=r"have \[-1\]"):
        loss.per_image(scores, torch.tensor([0, -1, 2]))
    with pytest.raises(DataError, match=r"int64 of shape \(3,\)"):
        loss(scores, target.int())
    with pytest.raises(DataError, match="floating-point"):
        loss(scores.long(), target)
    with pytest.raises(DataError, match="B >= 1"):
        loss(scores[:0], target[:0])
    with pytest.raises(ConfigError, match="no option 'colour'"):
        HIERARCHICAL_LOSSES.check(name, {"colour": 1})
