import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import splu

from taxonet.errors import ConfigError, DataError, TaxonomyError
from taxonet.inference import diffuse
from taxonet.inference.compiled import _held_nodes
from taxonet.inference.elimination import (
    _compiled_pass,
    edge_weights,
    eliminate,
    eliminate_by_levels,
    elimination,
)
from taxonet.inference.lanes import LANES
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from tests.reference.diffusion import normalised_adjacency, slow_limit, slow_steps

CPU = torch.device("cpu")


def tree_of(parents: np.ndarray) -> Taxonomy:
    return Taxonomy.from_parents([str(i) for i in range(len(parents))], parents)


def ragged(size: int) -> Taxonomy:
    """Every node hangs below any node before it: leaves at all depths."""
    draws = generator("ragged", size).random(size)
    return tree_of(np.concatenate(([-1], (draws[1:] * np.arange(1, size)).astype(np.int64))))


def shallow(size: int) -> Taxonomy:
    """Most nodes are leaves of one level, as in a real taxonomy."""
    inner = max(1, size // 20)
    draws = generator("shallow", size).random(size)
    below = np.minimum(np.arange(1, size), inner)
    return tree_of(np.concatenate(([-1], (draws[1:] * below).astype(np.int64))))


def star(size: int) -> Taxonomy:
    return tree_of(np.concatenate(([-1], np.zeros(size - 1, dtype=np.int64))))


def chain(size: int) -> Taxonomy:
    return tree_of(np.arange(-1, size - 1))


def random_scores(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(generator("diffusion", *shape).normal(size=shape)).to(dtype)


def sparse_limit(tree: Taxonomy, scores: np.ndarray, alpha: float) -> np.ndarray:
    """Eq. 1 and 4 through scipy, in float64."""
    size = len(tree)
    below = np.arange(1, size)
    half = sparse.coo_array((np.ones(size - 1), (tree.parent[1:], below)), shape=(size, size))
    joined = (half + half.T).tocsr()
    degree = np.maximum(np.asarray(joined.sum(axis=1)).ravel(), 1)
    scale = sparse.diags_array(degree**-0.5)
    system = sparse.eye_array(size) - alpha * (scale @ joined @ scale)
    solved: np.ndarray = splu(system.tocsc()).solve((1 - alpha) * scores.T).T
    return solved


@st.composite
def trees(draw: st.DrawFn) -> Taxonomy:
    size = draw(st.integers(1, 40))
    return tree_of(np.array([-1, *(draw(st.integers(0, node - 1)) for node in range(1, size))]))


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "taxonet.inference.compiled", None)
    _compiled_pass.cache_clear()
    yield
    _compiled_pass.cache_clear()


@given(tree=trees(), alpha=st.floats(0, 0.99))
def test_the_limit_is_the_inverse_of_the_paper(tree: Taxonomy, alpha: float) -> None:
    scores = random_scores(3, len(tree))
    expected = slow_limit(tree.parent.tolist(), scores.numpy(), alpha=alpha)
    limit = diffuse(scores, tree, alpha=alpha)
    np.testing.assert_allclose(limit.numpy(), expected, atol=1e-11)


@given(tree=trees(), alpha=st.floats(0, 0.99), steps=st.integers(0, 12))
def test_steps_are_those_of_the_paper(tree: Taxonomy, alpha: float, steps: int) -> None:
    scores = random_scores(3, len(tree))
    expected = slow_steps(tree.parent.tolist(), scores.numpy(), alpha=alpha, steps=steps)
    found = diffuse(scores, tree, alpha=alpha, steps=steps)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@given(tree=trees())
def test_edge_weights_are_the_entries_of_the_adjacency(tree: Taxonomy) -> None:
    adjacency = normalised_adjacency(tree.parent.tolist())
    expected = [0.0, *(adjacency[i, tree.parent[i]] for i in range(1, len(tree)))]
    np.testing.assert_allclose(edge_weights(tree), expected, rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.3, 0.9])
@pytest.mark.parametrize("make", [ragged, shallow, star, chain])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 500])
def test_sixty_steps_and_a_sparse_factorisation_agree(
    make: Callable[[int], Taxonomy], size: int, alpha: float
) -> None:
    tree = make(size)
    scores = random_scores(5, size, dtype=torch.float32)
    limit = diffuse(scores, tree, alpha=alpha)
    exact = sparse_limit(tree, scores.double().numpy(), alpha)
    scale = np.abs(exact).max()
    np.testing.assert_allclose(limit.numpy(), exact, atol=1e-5 * scale)
    if alpha == 0.3:
        np.testing.assert_allclose(
            diffuse(scores, tree, alpha=alpha, steps=60).numpy(), exact, atol=1e-5 * scale
        )


@pytest.mark.parametrize("make", [ragged, shallow, star, chain])
def test_a_hundred_thousand_nodes(make: Callable[[int], Taxonomy]) -> None:
    tree = make(100_000)
    scores = random_scores(3, 100_000, dtype=torch.float32).abs()
    limit = diffuse(scores, tree).numpy()
    np.testing.assert_allclose(
        limit, sparse_limit(tree, scores.double().numpy(), 0.3), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("make", [ragged, shallow, star, chain])
def test_a_hundred_thousand_nodes_without_numba(
    make: Callable[[int], Taxonomy], without_numba: None
) -> None:
    test_a_hundred_thousand_nodes(make)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 40])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 300, 20_000])
def test_compiled_equals_plain(size: int, rows: int, dtype: torch.dtype) -> None:
    for tree in (ragged(size), shallow(size), star(size), chain(min(size, 300))):
        scores = random_scores(rows, len(tree), dtype=dtype)
        multipliers = elimination(tree, 0.3, dtype, CPU)
        assert _compiled_pass() is not None
        fast, plain = eliminate(scores, multipliers), eliminate_by_levels(scores, multipliers)
        assert fast.shape == plain.shape
        assert fast.dtype == plain.dtype == dtype
        # A star's root sums thousands of scores of both signs.
        scale = max(1.0, float(plain.abs().max())) if rows else 1.0
        torch.testing.assert_close(fast, plain, rtol=1e-6, atol=1e-6 * scale)


@given(tree=trees())
def test_all_inner_nodes_are_held_and_whole_blocks_of_leaves_follow(tree: Taxonomy) -> None:
    if len(tree) < LANES:
        return
    held = _held_nodes(tree.parent)
    inner = [node for node in range(len(tree)) if tree.children(node)]
    assert max(inner) < held <= len(tree)
    assert LANES <= held < max(max(inner) + 1, LANES) + LANES
    assert (len(tree) - held) % LANES == 0


def test_many_threads_give_what_one_gives() -> None:
    tree = shallow(9000)
    scores = random_scores(133, 9000, dtype=torch.float32)
    multipliers = elimination(tree, 0.3, torch.float32, CPU)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        many = eliminate(scores, multipliers)
        torch.set_num_threads(1)
        one = eliminate(scores, multipliers)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(many, one)


def test_without_numba_torch_serves(without_numba: None) -> None:
    assert _compiled_pass() is None
    tree = ragged(50)
    scores = random_scores(2, 50)
    expected = slow_limit(tree.parent.tolist(), scores.numpy(), alpha=0.3)
    np.testing.assert_allclose(diffuse(scores, tree).numpy(), expected, atol=1e-12)


def test_known_figures() -> None:
    # Two leaves below a root, alpha = 1/2: I - W/2 has the inverse worked out by hand.
    tree = star(3)
    weight = 2**-0.5
    limit = diffuse(torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64), tree, alpha=0.5)
    root = 0.5 * weight / 2 / (1 - 2 * (0.5 * weight) ** 2)
    leaf = 0.5 * weight * root
    np.testing.assert_allclose(limit.numpy(), [[root, 0.5 + leaf, leaf]], rtol=1e-12)


def test_no_alpha_changes_nothing_and_a_single_node_keeps_its_part() -> None:
    tree = ragged(30)
    scores = random_scores(2, 30)
    assert torch.equal(diffuse(scores, tree, alpha=0.0), scores)
    alone = torch.tensor([[2.0]])
    assert diffuse(alone, star(1), alpha=0.25).item() == 1.5
    assert diffuse(alone, star(1), alpha=0.25, steps=3).item() == 1.5
    assert diffuse(alone, star(1), alpha=0.25, steps=0).item() == 2.0


def test_the_map_is_symmetric_and_keeps_its_first_eigenvector() -> None:
    tree = ragged(60)
    matrix = diffuse(torch.eye(60, dtype=torch.float64), tree, alpha=0.7)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-14)
    neighbours = np.bincount(tree.parent[1:], minlength=60) + 1.0
    neighbours[0] -= 1
    steady = torch.from_numpy(np.sqrt(neighbours)).unsqueeze(0)  # of eigenvalue 1
    torch.testing.assert_close(diffuse(steady, tree, alpha=0.7), steady)


@pytest.mark.parametrize("steps", [None, 0, 1, 4])
@pytest.mark.parametrize("tree", [ragged(12), star(9), chain(9), star(1)])
def test_gradients_of_both_orders(tree: Taxonomy, steps: int | None) -> None:
    scores = random_scores(2, len(tree)).requires_grad_()
    alpha = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)

    def diffused(scores: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        return diffuse(scores, tree, alpha=alpha, steps=steps)

    if steps == 0:  # alpha has no part in it
        assert torch.autograd.gradcheck(lambda x: diffused(x, alpha), [scores])
        return
    assert torch.autograd.gradcheck(diffused, [scores, alpha])
    assert torch.autograd.gradgradcheck(diffused, [scores, alpha])
    assert torch.autograd.gradcheck(lambda x: diffuse(x, tree, steps=steps), [scores])


def test_gradients_without_numba(without_numba: None) -> None:
    test_gradients_of_both_orders(ragged(12), None)


def test_alpha_of_another_type_gets_a_gradient_of_its_own_type() -> None:
    tree = ragged(10)
    for dtype in (torch.float16, torch.float32, torch.float64):
        alpha = torch.tensor(0.5, requires_grad=True)
        scores = random_scores(2, 10, dtype=dtype).requires_grad_()
        for steps in (None, 3):
            value = diffuse(scores, tree, alpha=alpha, steps=steps)
            grads = torch.autograd.grad(value.sum(), [scores, alpha])
            assert grads[0].dtype == dtype
            assert grads[1].dtype == torch.float32
            assert bool(grads[1].isfinite())


def test_diffusing_under_inference_mode_first_does_no_harm() -> None:
    tree = ragged(33)
    scores = random_scores(2, 33)
    with torch.inference_mode():
        diffuse(scores, tree)
        diffuse(scores, tree, steps=2)
    for steps in (None, 2):
        learning = scores.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(diffuse(learning, tree, steps=steps).sum(), learning)
        assert gradient.shape == (2, 33)


def test_the_order_of_names_does_not_matter() -> None:
    edges = [("r", "a"), ("r", "b"), ("a", "c"), ("a", "d"), ("d", "e"), ("b", "f")]
    renamed = {"a": "z", "b": "k", "c": "y", "d": "x", "e": "w", "f": "v"}
    one = Taxonomy.from_edges(edges)
    other = Taxonomy.from_edges([(renamed.get(a, a), renamed[b]) for a, b in edges])
    place = torch.tensor([other.names.index(renamed.get(name, name)) for name in one.names])
    scores = random_scores(3, 7)
    moved = torch.empty_like(scores)
    moved[:, place] = scores
    for steps in (None, 3):
        found = diffuse(moved, other, steps=steps)[:, place]
        torch.testing.assert_close(found, diffuse(scores, one, steps=steps))


def test_rows_do_not_mix_and_the_input_is_left_alone() -> None:
    tree = shallow(100)
    scores = random_scores(19, 100, dtype=torch.float32)
    for layout in (scores, scores.t().contiguous().t(), scores.repeat(1, 2)[:, :100]):
        before = layout.clone()
        for steps in (None, 2):
            together = diffuse(layout, tree, steps=steps)
            assert torch.equal(layout, before)
            assert together.is_contiguous()
            for row in (0, 7, 8, 18):
                alone = diffuse(layout[row : row + 1], tree, steps=steps)
                torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("steps", [None, 12])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_the_rounded_result_of_float32(
    dtype: torch.dtype, steps: int | None
) -> None:
    tree = ragged(200)
    scores = random_scores(4, 200, dtype=dtype)
    found = diffuse(scores, tree, steps=steps)
    assert found.dtype == dtype
    assert torch.equal(found, diffuse(scores.float(), tree, steps=steps).to(dtype))


def test_large_scores_and_alpha_near_one_stay_finite() -> None:
    tree = shallow(1000)
    scores = random_scores(2, 1000, dtype=torch.float32) * 1e30
    assert bool(diffuse(scores, tree, alpha=0.999999).isfinite().all())
    exact = sparse_limit(tree, scores.double().numpy(), 0.999)
    found = diffuse(scores, tree, alpha=0.999).numpy()
    np.testing.assert_allclose(found, exact, atol=1e-4 * np.abs(exact).max())


@pytest.mark.parametrize("alpha", [-0.1, 1.0, 2.0, float("nan"), torch.tensor(1.0)])
def test_alpha_out_of_range_is_refused(alpha: float | torch.Tensor) -> None:
    with pytest.raises(ConfigError, match=r"alpha in \[0, 1\), got"):
        diffuse(torch.zeros(1, 3), star(3), alpha=alpha)


def test_what_does_not_fit_is_refused() -> None:
    tree = star(3)
    with pytest.raises(ConfigError, match=r"no dimension, got torch.float32 of shape \(1,\)"):
        diffuse(torch.zeros(1, 3), tree, alpha=torch.tensor([0.3]))
    with pytest.raises(ConfigError, match="steps of at least 0"):
        diffuse(torch.zeros(1, 3), tree, steps=-1)
    with pytest.raises(DataError, match=r"floating point, but got torch.int64"):
        diffuse(torch.zeros(1, 3, dtype=torch.int64), tree)
    with pytest.raises(TaxonomyError, match=r"\(B, 3\).* got \(1, 4\)"):
        diffuse(torch.zeros(1, 4), tree)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_gpu_gives_what_the_cpu_gives(dtype: torch.dtype) -> None:
    tree = shallow(3000)
    scores = random_scores(5, 3000, dtype=dtype)
    for steps in (None, 12):
        alpha = torch.tensor(0.3, device="cuda", requires_grad=True)
        there = diffuse(scores.cuda(), tree, alpha=alpha, steps=steps)
        here = diffuse(scores, tree, steps=steps)
        torch.testing.assert_close(there.cpu(), here)
        (gradient,) = torch.autograd.grad(there.float().square().sum(), alpha)
        assert bool(gradient.isfinite())
