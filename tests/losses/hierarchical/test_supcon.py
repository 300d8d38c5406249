from math import e, log
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from taxonet.errors import ConfigError, DataError
from taxonet.losses import supcon_loss
from taxonet.losses.hierarchical import HierarchicalSupConLoss
from taxonet.registry import CONTRASTIVE_LOSSES
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from tests.reference import contrastive
from tests.reference import hierarchical_losses as slow

PARENTS = [-1, 0, 0, 1, 1, 3, 3]  # leaf 2 at depth 1, leaf 4 at depth 2, leaves 5 and 6 at depth 3
TREE = Taxonomy.from_parents([f"n{node}" for node in range(7)], PARENTS)
STAR = Taxonomy.from_edges([("a", name) for name in "bcd"])


DOCS = Path(__file__).parents[3] / "docs"


def batch(rows: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    views = torch.randn(rows, 2, 4, dtype=torch.float64, generator=draw)
    return F.normalize(views, dim=2), torch.arange(rows) % 7


@pytest.mark.parametrize("weights", [None, (1.0, 0.0, 2.5)])
def test_it_equals_the_loop_for_labels_at_every_node(weights: tuple[float, ...] | None) -> None:
    views, target = batch()
    loss = HierarchicalSupConLoss(TREE, temperature=0.5, level_weights=weights)
    expected = slow.hierarchical_supcon(
        PARENTS,
        views.tolist(),
        target.tolist(),
        lambda some, labels: contrastive.supcon(some, labels, temperature=0.5),
        weights or (1 / 3,) * 3,
    )
    assert loss(views, target).item() == pytest.approx(expected, rel=1e-9)


def test_by_hand() -> None:
    right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    views = torch.stack([torch.stack([right, right]), torch.stack([up, up])])
    loss = HierarchicalSupConLoss(TREE, temperature=1.0, level_weights=(1.0, 10.0, 100.0))
    apart = log((e + 2) / e)
    together = (apart + 2 * log(e + 2)) / 3  # one positive at e, two at 1
    # Leaves 4 and 5 meet below node 1; level 3 keeps leaf 4, which is above it.
    assert loss(views, torch.tensor([4, 5])).item() == pytest.approx(together + 110 * apart)
    # An image known as node 1 only takes part in level 1.
    alone = 0.0  # one image of two equal views
    expected = together + 110 * alone
    assert loss(views, torch.tensor([1, 5])).item() == pytest.approx(expected)


def test_on_a_star_it_is_supcon() -> None:
    views, _ = batch(6)
    target = torch.tensor([1, 2, 3, 1, 2, 1])
    torch.testing.assert_close(
        HierarchicalSupConLoss(STAR)(views, target), supcon_loss(views, target, temperature=0.1)
    )


def test_a_level_of_one_node_has_no_weight_unless_it_is_given_one() -> None:
    """All views are positives there: it would draw strangers together."""
    views, target = batch(6)
    below = Taxonomy.from_parents([f"n{node}" for node in range(8)], [-1, 0, 1, 1, 2, 2, 4, 4])
    plain = HierarchicalSupConLoss(below)
    assert plain.weights == (0.0, 1 / 3, 1 / 3, 1 / 3)
    torch.testing.assert_close(
        plain(views, target + 1), HierarchicalSupConLoss(TREE)(views, target)
    )
    assert HierarchicalSupConLoss(below, level_weights=(1, 1, 1, 1)).weights == (1.0,) * 4
    chain = HierarchicalSupConLoss(Taxonomy.from_edges([("a", "b"), ("b", "c")]))
    assert chain.weights == (0.0, 0.0)
    assert chain(views, torch.tensor([1, 2] * 3)).item() == 0


def test_the_deepest_level_alone_is_supcon_of_the_leaves() -> None:
    views, _ = batch(6)
    target = torch.tensor([2, 4, 5, 6, 2, 5])
    torch.testing.assert_close(
        HierarchicalSupConLoss(TREE, level_weights=(0.0, 0.0, 1.0))(views, target),
        supcon_loss(views, target, temperature=0.1),
    )


def test_gradients_are_those_of_the_value() -> None:
    views, target = batch()
    loss = HierarchicalSupConLoss(TREE, temperature=0.5)
    # Raw vectors may be longer than 1 after a step of gradcheck.
    raw = views.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(0.99 * x, target), (raw,))


def test_nearer_relatives_cost_less() -> None:
    views, target = batch()
    loss = HierarchicalSupConLoss(TREE)
    centers = F.normalize(torch.from_numpy(generator("centers").normal(size=(7, 4))), dim=1)
    nearer = F.normalize(views + centers[target][:, None], dim=2)
    assert loss(nearer, target) < loss(views, target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    views, target = batch()
    loss = HierarchicalSupConLoss(TREE)
    rounded = views.to(dtype)
    assert torch.equal(loss(rounded, target), loss(rounded.float(), target))


def test_names_and_the_order_of_images_do_not_matter() -> None:
    views, target = batch()
    order, rows = [6, 5, 4, 3, 2, 1, 0], [3, 1, 0, 2, 8, 7, 6, 5, 4]
    renamed = Taxonomy.from_parents([f"n{place}" for place in order], PARENTS)
    place = torch.tensor([renamed.names.index(f"n{order[node]}") for node in range(7)])
    torch.testing.assert_close(
        HierarchicalSupConLoss(renamed)(views[rows], place[target[rows]]),
        HierarchicalSupConLoss(TREE)(views, target),
    )


def test_trees_and_labels_without_levels_cost_nothing() -> None:
    views, _ = batch(2)
    views.requires_grad_()
    lonely = HierarchicalSupConLoss(Taxonomy.from_parents(["a"], [-1]))
    for loss in (lonely, HierarchicalSupConLoss(TREE)):
        value = loss(views, torch.tensor([0, 0]))
        value.backward()
        assert value.item() == 0


def test_its_repr_holds_its_options() -> None:
    loss = HierarchicalSupConLoss(TREE, level_weights=(1.0, 2.0, 3.0))
    assert eval(f"dict({loss.extra_repr()})") == {
        "temperature": 0.1,
        "level_weights": (1.0, 2.0, 3.0),
    }


def test_a_recipe_can_name_it() -> None:
    options = {"temperature": 0.2, "level_weights": [1, 0, 2]}
    loss = CONTRASTIVE_LOSSES.build("hierarchical_supcon", options, TREE)
    assert isinstance(loss, HierarchicalSupConLoss)
    assert (loss.temperature, loss.level_weights) == (0.2, (1.0, 0.0, 2.0))
    with pytest.raises(ConfigError, match=r"no option 'level_weight'\. Did you mean"):
        CONTRASTIVE_LOSSES.build("hierarchical_supcon", {"level_weight": [1]}, TREE)
    for page in ("losses.md", "hierarchical-losses.md"):
        assert "`hierarchical_supcon`" in (DOCS / page).read_text(encoding="utf-8")


def test_it_names_what_is_wrong() -> None:
    views, target = batch()
    loss = HierarchicalSupConLoss(TREE)
    with pytest.raises(DataError, match=r"shape \(B, 2, D\).*\(9, 1, 4\)"):
        loss(views[:, :1], target)
    with pytest.raises(DataError, match=r"0\.\.6"):
        loss(views, target + 1)
    with pytest.raises(DataError, match="B >= 1"):
        loss(views[:0], target[:0])
    with pytest.raises(DataError, match="unit length"):
        loss(3 * views, target)
    with pytest.raises(ConfigError, match="one number for each of the 3 levels"):
        HierarchicalSupConLoss(TREE, level_weights=(1.0,))
    with pytest.raises(ConfigError, match="level_weights must be a finite number of at least 0"):
        HierarchicalSupConLoss(TREE, level_weights=(1.0, -1.0, 0.0))
    with pytest.raises(ConfigError, match="temperature"):
        HierarchicalSupConLoss(TREE, temperature=0.0)
