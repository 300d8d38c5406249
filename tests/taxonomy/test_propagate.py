import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import TaxonomyError
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import class_to_node_probs, sum_up, tree_index
from tests.reference.taxonomy import slow_sum_up


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
