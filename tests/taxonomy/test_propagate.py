from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import TaxonomyError
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import (
    class_to_node_probs,
    logsumexp_up,
    max_up,
    paths_to,
    sibling_log_softmax,
    sum_down,
    sum_up,
    tree_index,
)
from tests.reference.taxonomy import (
    slow_ancestors,
    slow_logsumexp_up,
    slow_max_up,
    slow_sibling_log_softmax,
    slow_sum_down,
    slow_sum_up,
)

Pass = Callable[[Taxonomy, torch.Tensor], torch.Tensor]
PASSES: tuple[Pass, ...] = (sum_up, logsumexp_up, max_up, sum_down, sibling_log_softmax)
HALF = (torch.float16, torch.bfloat16)
each_pass = pytest.mark.parametrize("passing", PASSES, ids=lambda f: f.__name__)


@st.composite
def trees(draw: st.DrawFn) -> Taxonomy:
    size = draw(st.integers(1, 15))
    parents = [-1, *(draw(st.integers(0, node - 1)) for node in range(1, size))]
    return Taxonomy.from_parents([f"n{node}" for node in range(size)], parents)


def random_values(*shape: int) -> torch.Tensor:
    return torch.from_numpy(generator("propagate", *shape).normal(size=shape))


@given(trees())
def test_sum_up_agrees_with_a_loop(tree: Taxonomy) -> None:
    values = random_values(3, len(tree))
    sums = sum_up(tree, values)
    expected = slow_sum_up(tree.parent.tolist(), values.numpy())
    np.testing.assert_allclose(sums.numpy(), expected, atol=1e-12)


@given(trees())
def test_the_gradient_of_a_node_is_the_sum_over_its_ancestors(tree: Taxonomy) -> None:
    values = random_values(2, len(tree)).requires_grad_()
    weight = random_values(2, len(tree)).flip(0)
    (gradient,) = torch.autograd.grad((sum_up(tree, values) * weight).sum(), values)
    expected = [weight[:, tree.ancestors(node)].sum(dim=1) for node in range(len(tree))]
    torch.testing.assert_close(gradient, torch.stack(expected, dim=1))


def test_gradients_of_both_orders() -> None:
    tree = Taxonomy.from_parents(list("abcdef"), [-1, 0, 0, 1, 1, 4])
    values = random_values(2, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sum_up(tree, x), [values])
    assert torch.autograd.gradgradcheck(lambda x: sum_up(tree, x).square(), [values])
    probs = random_values(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: class_to_node_probs(tree, [2, 3, 5], x), [probs])


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64]
)
def test_the_type_is_kept(dtype: torch.dtype) -> None:
    tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
    sums = sum_up(tree, torch.tensor([[1, 2, 3, 4]], dtype=dtype))
    assert sums.dtype == dtype
    assert sums.tolist() == [[10, 6, 3, 4]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_once_and_not_at_every_level(dtype: torch.dtype) -> None:
    size = 3000  # added one by one, ones would stop at 2048 in float16 and at 256 in bfloat16
    tree = Taxonomy.from_parents([str(i) for i in range(size)], np.arange(-1, size - 1))
    sums = sum_up(tree, torch.ones(1, size, dtype=dtype))
    expected = torch.arange(size, 0, -1).to(dtype)
    assert torch.equal(sums[0], expected)


def test_the_input_is_left_alone_and_rows_do_not_mix() -> None:
    tree = Taxonomy.from_edges([("a", "b"), ("b", "c")])
    values = random_values(4, 3)
    before = values.clone()
    sums = sum_up(tree, values)
    assert torch.equal(values, before)
    for row in range(4):
        assert torch.equal(sum_up(tree, values[row : row + 1]), sums[row : row + 1])


def test_a_deep_chain() -> None:
    tree = Taxonomy.from_parents([str(i) for i in range(5000)], np.arange(-1, 4999))
    values = torch.ones(1, 5000, requires_grad=True)
    sums = sum_up(tree, values)
    assert sums[0].tolist() == list(range(5000, 0, -1))
    (gradient,) = torch.autograd.grad(sums.sum(), values)
    assert gradient[0].tolist() == list(range(1, 5001))


def test_class_probabilities_at_leaves_and_inside() -> None:
    tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
    probs = torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    nodes = class_to_node_probs(tree, np.array([1, 2, 4]), probs)
    assert nodes.tolist() == [[1.0, 0.75, 0.25, 0.0, 0.25], [1.0, 0.0, 1.0, 0.0, 0.0]]
    assert torch.equal(class_to_node_probs(tree, torch.tensor([1, 2, 4]), probs), nodes)


def test_index_tensors_are_made_once_for_equal_taxonomies() -> None:
    edges = [("a", "b"), ("a", "c")]
    one = tree_index(Taxonomy.from_edges(edges), torch.device("cpu"))
    assert tree_index(Taxonomy.from_edges(edges), torch.device("cpu")) is one


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 2, 4)])
def test_values_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
    with pytest.raises(TaxonomyError, match=r"Expected values \(B, 4\).* got \("):
        sum_up(tree, torch.zeros(shape))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([1, 2], r"got \(2,\) and \(1, 3\)"),
        ([1, 2, 4], "nodes 0 to 3"),
        ([-1, 2, 3], "nodes 0 to 3"),
        ([[1, 2, 3]], r"got \(1, 3\)"),
    ],
)
def test_classes_that_do_not_fit_are_refused(nodes: list[int], message: str) -> None:
    tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
    with pytest.raises(TaxonomyError, match=message):
        class_to_node_probs(tree, nodes, torch.zeros(1, 3))


def star(size: int) -> Taxonomy:
    return Taxonomy.from_parents([str(i) for i in range(size)], [-1] + [0] * (size - 1))


def chain(size: int) -> Taxonomy:
    return Taxonomy.from_parents([str(i) for i in range(size)], np.arange(-1, size - 1))


SLOW: dict[Pass, Callable[..., np.ndarray]] = {
    logsumexp_up: slow_logsumexp_up,
    max_up: slow_max_up,
    sum_down: slow_sum_down,
    sibling_log_softmax: slow_sibling_log_softmax,
}


@pytest.mark.parametrize("passing", SLOW, ids=lambda f: f.__name__)
@given(tree=trees())
def test_each_pass_agrees_with_a_loop(passing: Pass, tree: Taxonomy) -> None:
    values = 3 * random_values(3, len(tree))
    expected = SLOW[passing](tree.parent.tolist(), values.numpy())
    np.testing.assert_allclose(passing(tree, values).numpy(), expected, atol=1e-12)


@given(tree=trees())
def test_nodes_of_minus_infinity_do_not_count(tree: Taxonomy) -> None:
    values, chance = random_values(2, 40, len(tree))
    absent = chance > 0.5
    values = values.masked_fill(absent, -torch.inf).requires_grad_()
    sums = logsumexp_up(tree, values)
    expected = slow_logsumexp_up(tree.parent.tolist(), values.detach().numpy())
    np.testing.assert_allclose(sums.detach().numpy(), expected, atol=1e-12)
    (gradient,) = torch.autograd.grad(sums[sums.isfinite()].sum(), values)
    assert bool(gradient.isfinite().all())
    assert bool((gradient[absent] == 0).all())
    largest = slow_max_up(tree.parent.tolist(), values.detach().numpy())
    assert np.array_equal(max_up(tree, values).detach().numpy(), largest)


@each_pass
def test_both_orders_of_gradients_of_each_pass(passing: Pass) -> None:
    tree = Taxonomy.from_parents(list("abcdefgh"), [-1, 0, 0, 1, 1, 1, 4, 4])
    values = random_values(2, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: passing(tree, x), [values])
    assert torch.autograd.gradgradcheck(lambda x: passing(tree, x).square(), [values])


def test_equal_maxima_share_the_gradient() -> None:
    tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
    values = torch.tensor([[1.0, 2.0, 2.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(max_up(tree, values)[:, 0].sum(), values)
    assert gradient.tolist() == [[0.0, 0.5, 0.5, 0.0]]


@each_pass
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_extremes_give_no_nan_and_the_type_stays(passing: Pass, dtype: torch.dtype) -> None:
    tree = Taxonomy.from_parents(list("abcdef"), [-1, 0, 0, 1, 1, 4])
    rows = [[1e4] * 6, [-1e4] * 6, [1e4, -1e4] * 3, [0.0, 1e-4, -1e-4, 1e4, -1e4, 0.0]]
    values = torch.tensor(rows, dtype=dtype, requires_grad=True)
    results = passing(tree, values)
    assert results.dtype == dtype
    (gradient,) = torch.autograd.grad(results.sum(), values)
    assert bool(results.isfinite().all())
    assert bool(gradient.isfinite().all())
    assert gradient.dtype == dtype


@each_pass
@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_is_the_rounded_result_of_float32(passing: Pass, dtype: torch.dtype) -> None:
    tree = chain(600)
    values = (random_values(2, 600) / 8).to(dtype)
    assert torch.equal(passing(tree, values), passing(tree, values.float()).to(dtype))


def test_known_logarithms_of_equal_scores() -> None:
    assert logsumexp_up(star(101), torch.zeros(1, 101))[0, 0].item() == pytest.approx(np.log(101))
    logs = sibling_log_softmax(star(101), torch.full((1, 101), 7.0))
    np.testing.assert_allclose(logs[0, 1:].numpy(), -np.log(100), rtol=1e-6)
    assert logs[0, 0] == 0


@given(tree=trees())
def test_siblings_share_one(tree: Taxonomy) -> None:
    probs = sibling_log_softmax(tree, 5 * random_values(2, len(tree))).exp()
    for node in range(len(tree)):
        children = list(tree.children(node))
        if children:
            np.testing.assert_allclose(probs[:, children].sum(dim=1).numpy(), 1, atol=1e-12)
    below = sum_down(tree, probs.log()).exp()[:, torch.tensor(tree.leaves)]
    np.testing.assert_allclose(below.sum(dim=1).numpy(), 1, atol=1e-12)


@each_pass
def test_a_single_node(passing: Pass) -> None:
    tree = Taxonomy.from_parents(["root"], [-1])
    value = torch.tensor([[3.0], [-2.0]], requires_grad=True)
    expected = torch.zeros(2, 1) if passing is sibling_log_softmax else value.detach()
    result = passing(tree, value)
    assert torch.equal(result.detach(), expected)
    (gradient,) = torch.autograd.grad(result.sum(), value)
    assert bool((gradient == (0 if passing is sibling_log_softmax else 1)).all())


@each_pass
@pytest.mark.parametrize("tree", [star(40), chain(40)], ids=["star", "chain"])
def test_rows_do_not_mix_and_the_input_is_left_alone(passing: Pass, tree: Taxonomy) -> None:
    values = random_values(3, 40)
    before = values.clone()
    together = passing(tree, values)
    assert torch.equal(values, before)
    for row in range(3):
        assert torch.equal(passing(tree, values[row : row + 1]), together[row : row + 1])


def test_no_rows_are_fine() -> None:
    for passing in PASSES:
        assert passing(star(4), torch.zeros(0, 4)).shape == (0, 4)


def test_a_deep_chain_in_every_pass() -> None:
    tree = chain(3000)
    ones = torch.ones(1, 3000, requires_grad=True)
    assert sum_down(tree, ones)[0].tolist() == list(range(1, 3001))
    np.testing.assert_allclose(
        logsumexp_up(tree, torch.zeros(1, 3000))[0].numpy(),
        np.log(np.arange(3000, 0, -1)),
        atol=2e-4,  # float32, rounded at every level
    )
    assert max_up(tree, torch.arange(3000.0).unsqueeze(0))[0].tolist() == [2999.0] * 3000
    assert not sibling_log_softmax(tree, ones).any()
    (gradient,) = torch.autograd.grad(sum_down(tree, ones).sum(), ones)
    assert gradient[0].tolist() == list(range(3000, 0, -1))


@given(tree=trees())
def test_paths_are_those_of_a_loop(tree: Taxonomy) -> None:
    nodes = torch.arange(len(tree)).flip(0)
    paths, counts = paths_to(tree, nodes)
    parent = tree.parent.tolist()
    assert paths.shape == counts.shape == (len(tree), int(tree.depth.max()) + 1)
    for node, path, count in zip(nodes.tolist(), paths.tolist(), counts.tolist(), strict=True):
        expected = slow_ancestors(parent, node)[::-1]
        more = len(path) - len(expected)
        assert path == expected + [node] * more
        assert count == [True] * len(expected) + [False] * more


def test_paths_are_as_long_as_the_deepest_that_was_asked_for() -> None:
    tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
    assert paths_to(tree, torch.tensor([0]))[0].tolist() == [[0]]
    assert paths_to(tree, torch.tensor([2, 0]))[0].tolist() == [[0, 2], [0, 0]]
    paths, counts = paths_to(tree, torch.zeros(0, dtype=torch.int64))
    assert paths.shape == counts.shape == (0, 1)


@pytest.mark.parametrize("nodes", [[4], [-1], [[1]]])
def test_paths_to_what_is_no_node_are_refused(nodes: list[int]) -> None:
    tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
    with pytest.raises(TaxonomyError, match=r"[nN]odes"):
        paths_to(tree, torch.tensor(nodes))


@each_pass
def test_index_tensors_made_without_gradients_serve_gradients(passing: Pass) -> None:
    tree = Taxonomy.from_parents([passing.__name__, "left", "right"], [-1, 0, 0])
    with torch.inference_mode():
        passing(tree, torch.zeros(1, 3))
    values = torch.zeros(1, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(passing(tree, values).sum(), values)
    assert gradient.shape == values.shape


@each_pass
@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 2, 4)])
def test_every_pass_refuses_another_shape(passing: Pass, shape: tuple[int, ...]) -> None:
    tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
    with pytest.raises(TaxonomyError, match=r"Expected values \(B, 4\).* got \("):
        passing(tree, torch.zeros(shape))
