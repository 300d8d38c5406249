import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError
from taxonet.losses.hierarchical import RandomCutLoss, frontier
from taxonet.taxonomy import Taxonomy
from tests.reference import hierarchical_losses as slow

PARENTS = [-1, 0, 0, 0, 2, 3, 3, 4, 4, 6]
TREE = Taxonomy.from_parents([f"n{node}" for node in range(len(PARENTS))], PARENTS)


def batch(rows: int = 10, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, len(TREE), dtype=torch.float64, generator=draw)
    return scores, torch.arange(rows) % len(TREE)


@given(cut=st.lists(st.booleans(), min_size=10, max_size=10))
def test_the_frontier_equals_the_walk(cut: list[bool]) -> None:
    ends = frontier(TREE, torch.tensor(cut).unsqueeze(1))
    assert torch.nonzero(ends[:, 0]).flatten().tolist() == slow.frontier(PARENTS, cut)


@given(seed=st.integers(0, 1000))
def test_every_leaf_lies_on_or_below_one_node_of_the_frontier(seed: int) -> None:
    loss = RandomCutLoss(TREE, cut_probability=0.5)
    ends = frontier(TREE, loss.draw(4, torch.Generator().manual_seed(seed)))
    for row in range(4):
        for leaf in TREE.leaves.tolist():
            assert int(ends[torch.from_numpy(TREE.ancestors(leaf)), row].sum()) == 1


@given(cut=st.lists(st.booleans(), min_size=10, max_size=10), seed=st.integers(0, 100))
def test_it_equals_the_loop_for_every_cut_and_label(cut: list[bool], seed: int) -> None:
    scores, target = batch(seed=seed)
    cuts = torch.tensor(cut).unsqueeze(1).expand(-1, 10)
    losses = RandomCutLoss(TREE).losses_of_cut(scores, target, cuts)
    expected = [
        slow.random_cut(PARENTS, row, y, cut)
        for row, y in zip(scores.tolist(), target.tolist(), strict=True)
    ]
    assert losses.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_gradients_with_cuts() -> None:
    scores, target = batch()
    loss = RandomCutLoss(TREE, cut_probability=0.5)
    cut = loss.draw(10, torch.Generator().manual_seed(0))
    assert cut.any()
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss.losses_of_cut(x, target, cut), (scores,))


@pytest.mark.parametrize("end", [60.0, 1e4])
def test_finite_at_extremes_with_cuts(end: float) -> None:
    scores, target = batch(200)
    scores = (scores.sign() * end).float().requires_grad_()
    value = RandomCutLoss(TREE, cut_probability=0.5)(scores, target)
    value.backward()
    assert value.isfinite()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_inner_nodes_are_cut_as_often_as_asked_and_leaves_and_the_root_never() -> None:
    loss = RandomCutLoss(TREE, cut_probability=0.1)
    cut = loss.draw(20_000, torch.Generator().manual_seed(0)).double().mean(1)
    inner = [node for node in range(10) if node in PARENTS and node != 0]
    assert cut[inner].tolist() == pytest.approx([0.1] * len(inner), abs=0.01)
    assert cut[torch.tensor(TREE.leaves)].tolist() == [0.0] * len(TREE.leaves)
    assert frontier(TREE, torch.ones(10, 1, dtype=torch.bool))[0].item() is False


def test_images_have_cuts_of_their_own() -> None:
    cut = RandomCutLoss(TREE, cut_probability=0.5).draw(50, torch.Generator().manual_seed(0))
    assert len(torch.unique(cut, dim=1)[0]) > 5


def test_a_generator_decides_and_is_reproducible() -> None:
    scores, target = batch(200)
    loss = RandomCutLoss(TREE, cut_probability=0.5)

    def once(seed: int) -> torch.Tensor:
        value: torch.Tensor = loss(scores, target, generator=torch.Generator().manual_seed(seed))
        return value

    assert torch.equal(once(3), once(3))
    assert not torch.equal(once(3), once(4))
    assert int(loss.calls) == 0  # calls with a generator leave the own sequence alone
    per_image = loss.per_image(scores, target, generator=torch.Generator().manual_seed(3))
    assert torch.equal(per_image.mean(), once(3))


def test_without_a_generator_each_call_cuts_anew_and_a_resumed_loss_goes_on() -> None:
    scores, target = batch(200)
    loss = RandomCutLoss(TREE, cut_probability=0.5, seed=7)
    first, second = loss(scores, target), loss(scores, target)
    assert not torch.equal(first, second)
    again = RandomCutLoss(TREE, cut_probability=0.5, seed=7)
    assert torch.equal(again(scores, target), first)
    resumed = RandomCutLoss(TREE, cut_probability=0.5, seed=7)
    resumed.load_state_dict(again.state_dict())
    assert torch.equal(resumed(scores, target), second)
    assert torch.equal(copy.deepcopy(again)(scores, target), second)
    other = RandomCutLoss(TREE, cut_probability=0.5, seed=8)
    assert not torch.equal(other(scores, target), first)


def test_the_global_state_of_torch_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    RandomCutLoss(TREE)(*batch())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_temperature_flattens_the_prediction() -> None:
    scores, _ = batch()
    shared = torch.tensor([slow.shared(PARENTS, row) for row in scores.tolist()]).double()
    probabilities = RandomCutLoss(TREE, temperature=4.0).node_probabilities(scores)
    torch.testing.assert_close(probabilities[:, 1:], (shared[:, 1:] / 4).sigmoid())


def test_wrong_options_are_refused() -> None:
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="cut_probability must be a share"):
            RandomCutLoss(TREE, cut_probability=wrong)
    with pytest.raises(ConfigError, match="temperature"):
        RandomCutLoss(TREE, temperature=0.0)
