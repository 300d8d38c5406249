from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from taxonet.errors import ConfigError, DataError, TaxonomyError
from taxonet.inference import at_rank, fit_rank_temperatures, fit_temperature, rank_temperature
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import sum_up
from tests.helpers import ragged_taxonomy
from tests.reference import rank_temperature as reference

SPECIES = ("A. mono", "A. rubrum", "Q. alba", "Q. robur", "Q. rubra", "T. cordata")


def full_tree() -> Taxonomy:
    rows = [({"A": "Acer", "Q": "Quercus", "T": "Tilia"}[name[0]], name) for name in SPECIES]
    return Taxonomy.from_table(pd.DataFrame(rows, columns=["genus", "species"]))


def drawn(
    tree: Taxonomy, images: int = 60, *, sharpness: float = 2.0
) -> tuple[torch.Tensor, list[int]]:
    """Node probabilities that are too sure, and leaves drawn from what they should be."""
    rng = generator("rank temperature", images)
    logits = torch.from_numpy(rng.normal(0, 1.5, (images, len(tree.leaves))))
    honest = logits.softmax(dim=1).numpy()
    place = (rng.random((images, 1)) > honest.cumsum(axis=1)).sum(axis=1)
    values = torch.zeros(images, len(tree), dtype=torch.float64)
    values[:, torch.tensor(tree.leaves)] = (sharpness * logits).softmax(dim=1)
    leaves = tree.leaves[place.clip(0, len(tree.leaves) - 1)]
    return sum_up(tree, values), leaves.tolist()


@pytest.mark.parametrize("tree", [full_tree(), ragged_taxonomy()], ids=["full", "ragged"])
def test_the_probabilities_equal_the_loop(tree: Taxonomy) -> None:
    probs, _ = drawn(tree, 7)
    for rank in tree.ranks:
        taxa = tree.at_rank(rank).tolist()
        for temperature in (0.3, 1.0, 2.5, 20.0):
            found = at_rank(probs, tree, rank=rank, temperature=temperature)
            wanted = [reference.at_rank(row, taxa, temperature) for row in probs.tolist()]
            assert found.numpy() == pytest.approx(np.array(wanted), abs=1e-12)


@pytest.mark.parametrize("tree", [full_tree(), ragged_taxonomy()], ids=["full", "ragged"])
def test_no_other_temperature_is_more_likely_in_the_loop(tree: Taxonomy) -> None:
    probs, truth = drawn(tree)
    truth[0] = int(tree.parent[truth[0]])  # a coarse label counts where it has a taxon
    found = fit_rank_temperatures(probs, truth, tree)
    assert list(found) == list(tree.ranks)
    for rank, best in found.items():
        least, *others = (
            reference.mean_nll(
                probs.tolist(), truth, taxonomy=tree, rank=rank, temperature=best * factor
            )
            for factor in (1, 0.98, 1.02, 0.5, 2)
        )
        assert all(least < other for other in others), rank


def test_the_species_temperature_is_found() -> None:
    """Leaves that are twice too sure."""
    found = fit_rank_temperatures(*drawn(full_tree(), 4000), full_tree())
    assert found["species"] == pytest.approx(2, rel=0.06)


def test_ranks_may_need_different_temperatures() -> None:
    """A network that is three times too sure of the genus, and honest inside it."""
    tree = full_tree()
    rng = generator("genera", 0)
    of_genus = rng.normal(0, 1.5, (2000, 3))[:, [0, 0, 1, 1, 1, 2]]
    inside = rng.normal(0, 1.5, (2000, 6))
    honest = torch.from_numpy(of_genus + inside).softmax(dim=1).numpy()
    place = (rng.random((2000, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(0, 5)
    values = torch.zeros(2000, len(tree), dtype=torch.float64)
    values[:, torch.tensor(tree.leaves)] = torch.from_numpy(3 * of_genus + inside).softmax(dim=1)
    found = fit_rank_temperatures(sum_up(tree, values), tree.leaves[place], tree)
    assert 1.2 < found["species"] < found["genus"] - 0.3


def test_by_hand() -> None:
    """Two genera at 0.8 and 0.2, right in 2 of 3: log 4 / T = log 2, so T = 2."""
    tree = full_tree()
    acer, quercus = tree.node(["Acer"]), tree.node(["Quercus"])
    probs = torch.zeros(3, len(tree), dtype=torch.float64)
    probs[:, 0] = 1
    probs[:, acer], probs[:, quercus] = 0.8, 0.2
    probs[:, tree.node(["Acer", "A. mono"])] = 0.8
    probs[:, tree.node(["Quercus", "Q. alba"])] = 0.2
    found = fit_rank_temperatures(probs, [acer, acer, quercus], tree)
    assert found == {"genus": pytest.approx(2, rel=1e-5)}  # no image has a species
    assert at_rank(probs, tree, rank="genus", temperature=2)[0].tolist() == pytest.approx(
        [2 / 3, 1 / 3, 0]
    )


def test_one_changes_nothing_and_mass_of_other_leaves_stays() -> None:
    tree = ragged_taxonomy()
    probs, _ = drawn(tree, 5)
    for rank in tree.ranks:
        taxa = torch.from_numpy(tree.at_rank(rank))
        same = at_rank(probs, tree, rank=rank, temperature=1.0)
        torch.testing.assert_close(same, probs[:, taxa])
        soft = at_rank(probs, tree, rank=rank, temperature=7.0)
        torch.testing.assert_close(soft.sum(1), probs[:, taxa].sum(1))
        assert torch.equal(soft.argmax(1), same.argmax(1))
    assert float(probs[:, torch.from_numpy(tree.at_rank("species"))].sum(1).max()) < 1


def test_the_limits_of_the_temperature() -> None:
    tree, probs = full_tree(), drawn(full_tree(), 5)[0]
    flat = at_rank(probs, tree, rank="species", temperature=1e9)
    assert flat.numpy() == pytest.approx(np.full((5, 6), 1 / 6), abs=1e-6)
    sharp = at_rank(probs, tree, rank="species", temperature=1e-3)
    assert sharp.amax(dim=1).tolist() == pytest.approx([1] * 5)


def test_the_finest_rank_of_a_full_tree_is_the_temperature_of_the_classes() -> None:
    tree = full_tree()
    probs, truth = drawn(tree, 300)
    logits = probs[:, torch.tensor(tree.leaves)].log()
    wanted = fit_temperature(logits, np.searchsorted(tree.leaves, truth))
    assert fit_rank_temperatures(probs, truth, tree)["species"] == pytest.approx(wanted, rel=1e-5)


def test_ranks_no_longer_add_up() -> None:
    """Why decisions do not use them: a species may be more probable than its genus."""
    tree = full_tree()
    row = [0.6, 0.4, 0.0, 0.6, 0.0, 0.4, 0.0, 0.0, 0.0]
    probs = torch.tensor([[1.0, *row]], dtype=torch.float64)
    genera = at_rank(probs, tree, rank="genus", temperature=20.0)
    species = at_rank(probs, tree, rank="species", temperature=0.5)
    assert float(species.max()) > float(genera.max())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_and_certain_probabilities_stay_finite(dtype: torch.dtype) -> None:
    tree = full_tree()
    probs, truth = drawn(tree, 40)
    low = probs.to(dtype)
    low[0] = 0
    low[0, [0, tree.node(["Acer"]), tree.node(["Acer", "A. mono"])]] = 1  # wrong, and certain
    truth[0] = int(tree.find("Q. rubra")[0])
    found = fit_rank_temperatures(low, truth, tree)
    assert all(0.05 <= value <= 20 for value in found.values())
    for temperature in (0.05, 20.0):
        shown = at_rank(low, tree, rank="species", temperature=temperature)
        assert shown.dtype == torch.float32
        assert bool(shown.isfinite().all())
        assert shown[0].tolist() == [1, 0, 0, 0, 0, 0]  # what is impossible stays so


def test_a_true_taxon_of_probability_0_counts_as_the_smallest_number() -> None:
    """Of it alone nothing is more likely than the softest probabilities."""
    tree = full_tree()
    probs = torch.zeros(1, len(tree))
    probs[0, [0, tree.node(["Acer"]), tree.node(["Acer", "A. mono"])]] = 1
    found = fit_rank_temperatures(probs, [tree.node(["Tilia"])], tree)
    assert found["genus"] == pytest.approx(20, rel=1e-3)


def test_the_order_of_the_images_does_not_matter() -> None:
    tree = full_tree()
    probs, truth = drawn(tree, 50)
    order = generator("order").permutation(50)
    found = fit_rank_temperatures(probs, truth, tree)
    again = fit_rank_temperatures(probs[torch.from_numpy(order)], np.array(truth)[order], tree)
    assert again == pytest.approx(found, rel=1e-6)


def test_other_names_and_so_another_order_of_the_taxa_change_nothing() -> None:
    tree = full_tree()
    probs, truth = drawn(tree, 50)
    renamed = {name: chr(ord("z") - place) + name for place, name in enumerate(SPECIES)}
    genus = {"A": "z", "Q": "y", "T": "x"}
    rows = [(genus[name[0]], renamed[name]) for name in SPECIES]
    other = Taxonomy.from_table(pd.DataFrame(rows, columns=["genus", "species"]))
    node_of = np.array(
        [0, *(other.find(genus[name])[0] for name in "AQT")]
        + [other.find(renamed[name])[0] for name in SPECIES]
    )
    assert (np.diff(node_of) < 0).any()
    moved = torch.zeros_like(probs)
    moved[:, torch.from_numpy(node_of)] = probs
    found = fit_rank_temperatures(moved, node_of[truth], other)
    assert found == pytest.approx(fit_rank_temperatures(probs, truth, tree), rel=1e-6)


def test_memory_maps_and_small_blocks_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = full_tree()
    probs, truth = drawn(tree, 50)
    whole = fit_rank_temperatures(probs, truth, tree)
    monkeypatch.setattr(rank_temperature, "ROWS_AT_ONCE", 7)
    np.save(tmp_path / "probs.npy", probs.numpy())
    mapped = np.load(tmp_path / "probs.npy", mmap_mode="r")
    assert fit_rank_temperatures(mapped, truth, tree) == pytest.approx(whole, rel=1e-6)


def test_wrong_input_is_refused() -> None:
    tree = full_tree()
    probs, truth = drawn(tree, 4)
    with pytest.raises(DataError, match=r"probabilities \(N, 10\).* got shape \(4, 9\)"):
        fit_rank_temperatures(probs[:, :9], truth, tree)
    with pytest.raises(DataError, match="each of 4 images"):
        fit_rank_temperatures(probs, truth[:3], tree)
    with pytest.raises(DataError, match=r"P\(root\) = 1"):
        fit_rank_temperatures(probs.log(), truth, tree)
    with pytest.raises(DataError, match=r"P\(root\) = 1"):
        at_rank(probs * torch.nan, tree, rank="genus", temperature=1)
    with pytest.raises(DataError, match="has a taxon at a rank"):
        fit_rank_temperatures(probs, [0] * 4, tree)
    with pytest.raises(TaxonomyError, match="no rank 'family'"):
        at_rank(probs, tree, rank="family", temperature=1)
    with pytest.raises(ConfigError, match="above 0, got 0"):
        at_rank(probs, tree, rank="genus", temperature=0)
    edges = Taxonomy.from_edges([("root", "Acer")])
    with pytest.raises(TaxonomyError, match="with ranks"):
        fit_rank_temperatures(torch.ones(1, 2), [1], edges)
