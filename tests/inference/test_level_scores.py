import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError, TaxonomyError
from taxonet.inference import diffuse, initial_scores, level_probs
from taxonet.inference.level_scores import Form, Levels
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from tests.reference.diffusion import members_of_level, slow_initial_scores

# a: b, c, d;  b: e, f;  e: g, h, i.  So c, d and f are leaves above the lowest level.
TREE = Taxonomy.from_parents(list("abcdefghi"), [-1, 0, 0, 0, 1, 1, 4, 4, 4])
SCORES = torch.tensor([[9.0, 3.0, 1.0, 4.0, 7.0, 5.0, 2.0, 8.0, 6.0]])


@st.composite
def trees(draw: st.DrawFn) -> Taxonomy:
    size = draw(st.integers(1, 15))
    parents = [-1, *(draw(st.integers(0, node - 1)) for node in range(1, size))]
    return Taxonomy.from_parents([f"n{node}" for node in range(size)], parents)


def random_scores(*shape: int) -> torch.Tensor:
    return torch.from_numpy(generator("level scores", *shape).normal(size=shape))


@given(
    tree=trees(),
    levels=st.sampled_from(["all", "last_two", "leaves"]),
    form=st.sampled_from(["raw", "softmax"]),
    top=st.sampled_from([None, 1, 2, 3, 20]),
)
def test_a_loop_over_levels_agrees(
    tree: Taxonomy, levels: Levels, form: Form, top: int | None
) -> None:
    scores = random_scores(2, len(tree))
    deepest = int(tree.depth.max())
    first = {"all": 1, "last_two": max(1, deepest - 1), "leaves": deepest}[levels]
    expected = [
        slow_initial_scores(
            tree.parent.tolist(),
            tree.depth.tolist(),
            row,
            levels=range(first, deepest + 1),
            softmax=form == "softmax",
            top=top or len(tree),
        )
        for row in scores.tolist()
    ]
    found = initial_scores(scores, tree, levels=levels, form=form, top=top)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("levels", "top", "kept"),
    [
        ("all", None, "bcdefghi"),
        ("last_two", None, "cdefghi"),
        ("leaves", None, "cdfghi"),
        # Level 1 is b, c, d; level 2 is e, f, c, d; level 3 is g, h, i, c, d, f.
        ("all", 1, "deh"),
        ("all", 2, "bdefhi"),
        ("last_two", 2, "efhi"),
        ("leaves", 3, "fhi"),
    ],
)
def test_levels_and_the_best_of_each_by_hand(levels: Levels, top: int | None, kept: str) -> None:
    found = initial_scores(SCORES, TREE, form="raw", levels=levels, top=top)
    expected = [
        x if name in kept else 0.0 for name, x in zip(TREE.names, SCORES[0].tolist(), strict=True)
    ]
    assert found.tolist() == [expected]


def test_equal_scores_stay_together() -> None:
    found = initial_scores(torch.ones(1, 9), TREE, form="raw", levels="leaves", top=1)
    assert found[0].tolist() == [0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]


def test_the_softmax_of_a_level_counts_the_leaves_above_it() -> None:
    powers = torch.tensor([[0.0, 2.0, 1.0, 1.0, 4.0, 2.0, 1.0, 1.0, 2.0]])
    found = initial_scores(powers.log(), TREE)[0]
    expected = [0, 2 / 4, 1 / 4, 1 / 4, 4 / 8, 2 / 8, 1 / 8, 1 / 8, 2 / 8]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_levels_without_leaves_above_sum_to_one() -> None:
    tree = Taxonomy.from_parents(list("abcdef"), [-1, 0, 0, 1, 1, 2])
    probs = initial_scores(random_scores(3, 6), tree)
    np.testing.assert_allclose(probs[:, 1:3].sum(dim=1).numpy(), 1)
    np.testing.assert_allclose(probs[:, 3:].sum(dim=1).numpy(), 1)
    for form in ("raw", "softmax"):
        after = level_probs(diffuse(probs, tree), tree, form=form)
        assert after[:, 0].tolist() == [1.0] * 3
        np.testing.assert_allclose(after[:, 1:3].sum(dim=1).numpy(), 1)
        np.testing.assert_allclose(after[:, 3:].sum(dim=1).numpy(), 1)


@given(tree=trees())
def test_level_probs_agree_with_a_loop(tree: Taxonomy) -> None:
    scores = random_scores(2, len(tree)).abs()
    shares, softmax = level_probs(scores, tree), level_probs(scores, tree, form="raw")
    parent, depth = tree.parent.tolist(), tree.depth.tolist()
    for node in range(1, len(tree)):
        members = members_of_level(parent, depth, depth[node])
        part = scores[:, members]
        torch.testing.assert_close(shares[:, node], scores[:, node] / part.sum(dim=1))
        expected = (scores[:, node] - part.logsumexp(dim=1)).exp()
        torch.testing.assert_close(softmax[:, node], expected)
    assert bool((shares[:, 0] == 1).all())
    assert bool((softmax[:, 0] == 1).all())


def test_a_level_of_nothing_stays_nothing() -> None:
    assert level_probs(torch.zeros(1, 9), TREE)[0].tolist() == [1.0] + [0.0] * 8
    nothing = torch.full((1, 9), -torch.inf, requires_grad=True)
    probs = initial_scores(nothing, TREE)
    assert not probs.any()
    (gradient,) = torch.autograd.grad(probs.sum(), nothing)
    assert not gradient.any()


@pytest.mark.parametrize("form", ["raw", "softmax"])
def test_gradients(form: Form) -> None:
    scores = random_scores(2, 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: initial_scores(x, TREE, form=form, top=2), [scores])
    assert torch.autograd.gradcheck(lambda x: initial_scores(x, TREE, form=form), [scores])
    positive = random_scores(2, 9).abs().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: level_probs(x, TREE, form=form), [positive])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extremes_stay_finite_and_the_type_stays(dtype: torch.dtype) -> None:
    scores = torch.tensor([[1e4, -1e4, 1e4, 0, 1e4, -1e4, -1e4, 0, 1e4]], dtype=dtype)
    scores.requires_grad_()
    probs = initial_scores(scores, TREE)
    assert probs.dtype == dtype
    after = level_probs(diffuse(probs, TREE), TREE)
    assert after.dtype == dtype
    (gradient,) = torch.autograd.grad(after.sum(), scores)
    assert bool(after.isfinite().all())
    assert bool(gradient.isfinite().all())
    assert bool(level_probs(scores, TREE, form="raw").isfinite().all())


def test_a_single_node_and_a_deep_chain() -> None:
    alone = Taxonomy.from_parents(["root"], [-1])
    for levels in ("all", "last_two", "leaves"):
        assert initial_scores(torch.ones(2, 1), alone, levels=levels).tolist() == [
            [0.0],
            [0.0],
        ]
    assert level_probs(torch.zeros(2, 1), alone).tolist() == [[1.0], [1.0]]
    comb = Taxonomy.from_parents(
        [str(i) for i in range(2001)], [-1, *(2 * (i // 2) for i in range(2000))]
    )
    found = initial_scores(torch.zeros(1, 2001), comb, top=5)  # each level: one more leaf above
    assert bool(found.isfinite().all())


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no levels 'leafs'\. Did you mean 'leaves'\?"):
        initial_scores(SCORES, TREE, levels="leafs")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no form 'logits'"):
        initial_scores(SCORES, TREE, form="logits")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no form 'logits'"):
        level_probs(SCORES, TREE, form="logits")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="top of at least 1"):
        initial_scores(SCORES, TREE, top=0)
    with pytest.raises(TaxonomyError, match=r"\(B, 9\)"):
        initial_scores(SCORES[:, :5], TREE)
    with pytest.raises(TaxonomyError, match=r"\(B, 9\)"):
        level_probs(SCORES[:, :5], TREE)
