import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.models import LevelCosineHead
from taxonet.taxonomy import Taxonomy
from tests.reference import names as slow

# Nodes by depth: the root, 2 of depth 1 (2 is a leaf), 3 of depth 2 (5 is a leaf), 2 of depth 3.
PARENTS = [-1, 0, 0, 1, 1, 1, 3, 4]
TREE = Taxonomy.from_parents([f"n{node}" for node in range(8)], PARENTS)
SIZES = [level.stop - level.start for level in TREE.level_slices]
CHOICES: tuple[tuple[int, ...] | None, ...] = (None, (1, 2), (2,), (1, 3), (2, 3), (3,), (1,))
every_choice = pytest.mark.parametrize("levels", CHOICES, ids=str)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def head_of(levels: tuple[int, ...] | None, *, size: int = 4) -> LevelCosineHead:
    """A head whose projections and scales differ from level to level."""
    head = LevelCosineHead(size, 8, level_sizes=SIZES, levels=levels).double()
    head.vectors = draw(8, size, seed=1)
    with torch.no_grad():
        head.log_scales.copy_(torch.tensor([0.5, 1.25, 2.0])[: len(head.levels)])
        for place, projection in enumerate(head.projections):
            if isinstance(projection, nn.Linear):
                projection.weight.copy_(draw(size, size, seed=2 + place))
    return head


def by_loop(head: LevelCosineHead, embeddings: Tensor) -> Tensor:
    plain = torch.eye(head.embedding_size).tolist()
    projections = [
        projection.weight.tolist() if isinstance(projection, nn.Linear) else plain
        for projection in head.projections
    ]
    rows = [
        slow.node_scores(
            PARENTS,
            embedding,
            head.vectors.tolist(),
            levels=head.levels,
            projections=projections,
            scales=head.log_scales.exp().tolist(),
        )
        for embedding in embeddings.tolist()
    ]
    return torch.tensor(rows, dtype=torch.float64)


@every_choice
def test_equals_the_loop(levels: tuple[int, ...] | None) -> None:
    head, embeddings = head_of(levels), draw(5, 4, seed=9)
    scores = head(embeddings)
    torch.testing.assert_close(scores, by_loop(head, embeddings), rtol=1e-12, atol=1e-12)
    below = slice(1 + sum(SIZES[1 : head.levels[-1] + 1]), None)
    assert not scores[:, 0].any()
    assert not scores[:, below].any()
    assert scores[:, 1 : below.start].all()


def test_by_hand() -> None:
    """Level 1 turns the embedding a quarter round, level 2 leaves it as it is."""
    head = LevelCosineHead(2, 5, level_sizes=(1, 2, 2))
    turn = head.projections[0]
    assert isinstance(turn, nn.Linear)
    with torch.no_grad():
        turn.weight.copy_(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
        head.log_scales.copy_(torch.tensor([2.0, 10.0]).log())
    head.vectors = torch.tensor([[7.0, 7.0], [0.0, 5.0], [3.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
    scores = head(torch.tensor([[2.0, 0.0]]))
    torch.testing.assert_close(scores, torch.tensor([[0.0, 2.0, 0.0, 10.0, 6.0]]))


def test_it_starts_where_clip_starts() -> None:
    """With no projection yet, and at CLIP's scale; vectors of length 1 on average."""
    head = LevelCosineHead(64, 8, level_sizes=SIZES)
    embeddings = draw(3, 64).float()
    expected = (
        nn.functional.cosine_similarity(embeddings[:, None], head.vectors[None], dim=2) / 0.07
    )
    torch.testing.assert_close(head(embeddings)[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-5)
    assert head.vectors.norm(dim=1).mean().item() == pytest.approx(1, abs=0.1)
    assert (head.kind, head.scale) == ("logits", 1.0)


@pytest.mark.parametrize(("levels", "projections"), [(None, 3), ((1, 2), 2), ((3,), 0), ((2,), 0)])
def test_one_level_has_no_projection(levels: tuple[int, ...] | None, projections: int) -> None:
    head = LevelCosineHead(4, 8, level_sizes=SIZES, levels=levels)
    found = [name for name in head.state_dict() if name.startswith("projections")]
    assert len(found) == projections
    assert len(head.scales()) == max(1, projections)


def test_scales_end_at_a_hundred() -> None:
    head = head_of(None)
    with torch.no_grad():
        head.log_scales.copy_(torch.tensor([3.0, 99.0, 1000.0]).double().log())
    torch.testing.assert_close(head.scales(), torch.tensor([3.0, 99.0, 100.0]).double())
    assert head(draw(2, 4)).abs().max() <= 100 + 1e-9
    # Kept in the parameter, so that it can come down again, and not only in what is seen of it.
    assert head.log_scales[2].item() == pytest.approx(math.log(100))
    head(draw(2, 4)).sum().backward()
    assert head.log_scales.grad is not None
    assert head.log_scales.grad[2] != 0
    head.set_scales(500)
    assert head.scales().tolist() == pytest.approx([100.0] * 3)
    head.set_scales(7)
    assert head.scales().tolist() == pytest.approx([7.0] * 3)


@every_choice
@given(nodes=st.lists(st.integers(0, 7), min_size=0, max_size=12))
def test_some_nodes_compare_as_all_do(levels: tuple[int, ...] | None, nodes: list[int]) -> None:
    head, embeddings = head_of(levels), draw(3, 4, seed=5)
    chosen = torch.tensor(nodes, dtype=torch.int64)
    units = nn.functional.normalize(head.vectors, dim=1)
    found = head.compare(head.features(embeddings), units[chosen], chosen)
    torch.testing.assert_close(found, head(embeddings)[:, chosen], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_in_and_single_out(dtype: torch.dtype) -> None:
    head = head_of(None).float()
    embeddings = draw(5, 4).to(dtype)
    expected = head(embeddings.float())
    scores = head(embeddings)
    assert scores.dtype is torch.float32
    assert torch.equal(scores, expected)


def test_autocast_does_not_round_the_scores() -> None:
    """At a scale of 100, bfloat16 would leave them two digits."""
    head, embeddings = head_of(None).float(), draw(5, 4).float()
    head.set_scales(100)
    nodes, units = torch.arange(8), nn.functional.normalize(head.vectors, dim=1)
    expected = head(embeddings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = head(embeddings)
        some = head.compare(head.features(embeddings), units, nodes)
    assert torch.equal(scores, expected)
    torch.testing.assert_close(some, expected, rtol=1e-5, atol=1e-4)


@every_choice
def test_gradients(levels: tuple[int, ...] | None) -> None:
    head = head_of(levels)
    names = [name for name, _ in head.named_parameters()]

    def scores(embeddings: Tensor, *weights: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(
            head, dict(zip(names, weights, strict=True)), (embeddings,)
        )
        return found

    given = [draw(3, 4, seed=7), *(weights.detach().clone() for weights in head.parameters())]
    assert torch.autograd.gradcheck(scores, [tensor.requires_grad_() for tensor in given])


def test_gradients_are_finite_at_the_extremes() -> None:
    """Cosines of 1 and of -1, vectors of no length, and all so at once."""
    head = head_of((3,))
    vectors = torch.zeros(8, 4, dtype=torch.float64)
    vectors[6, 0], vectors[7, 0] = 1, -1
    head.vectors = vectors
    embeddings = torch.tensor([[1.0, 0, 0, 0], [0.0, 0, 0, 0]], dtype=torch.float64)
    scores = head(embeddings.requires_grad_())
    scale = head.scales()[0].item()
    assert scores[0, 6:].tolist() == pytest.approx([scale, -scale])
    assert not scores[1].any()
    scores.square().sum().backward()
    for tensor in (embeddings, *head.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_names_may_be_given_another_order() -> None:
    """Nodes of one depth, exchanged with their vectors, exchange their scores."""
    head, embeddings = head_of(None), draw(4, 4, seed=3)
    order = torch.tensor([0, 2, 1, 5, 3, 4, 7, 6])
    before = head(embeddings)
    head.vectors = head.vectors[order].clone()
    torch.testing.assert_close(head(embeddings), before[:, order])
    assert torch.equal(head(embeddings.flip(0)), head(embeddings).flip(0))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"level_sizes": (1, 2, 3)}, r"add up to the 8 nodes, but are \[1, 2, 3\]"),
        (
            {"level_sizes": SIZES, "levels": (0, 1)},
            r"depths from 1 to 3, ascending and at least one.* \[0, 1\]",
        ),
        ({"level_sizes": SIZES, "levels": (4,)}, r"depths from 1 to 3.* \[4\]"),
        ({"level_sizes": SIZES, "levels": ()}, r"at least one, but are \[\]"),
        ({"level_sizes": SIZES, "levels": (2, 1)}, r"ascending.* \[2, 1\]"),
        ({"level_sizes": SIZES, "levels": (2, 2)}, r"ascending.* \[2, 2\]"),
    ],
)
def test_what_the_tree_has_not_is_refused(options: dict[str, tuple[int, ...]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        LevelCosineHead(4, 8, **options)
