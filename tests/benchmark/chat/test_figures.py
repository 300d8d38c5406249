import numpy as np
import pandas as pd
import pytest

from taxonet.benchmark.chat.figures import level_figures
from taxonet.benchmark.chat.judged import LEVELS, below
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from tests.reference.chat import group_of, macro_recall

TREE = Taxonomy.from_table(
    pd.DataFrame(
        [(f"G{g}aceae", f"G{g}", f"G{g} s{s}") for g in range(4) for s in range(g + 1)],
        columns=["family", "genus", "species"],
    )
)


def random_run(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draw 200 photos and names, some of a genus only and some of nothing."""
    rng = generator("chat figures", seed)
    species = TREE.at_rank("species")
    truth, named = rng.choice(species, 200), rng.choice(species, 200)
    named = np.where(rng.random(200) < 0.4, truth, named)
    genus = {"truth": TREE.parent[truth], "named": TREE.parent[named]}
    truth = np.where(rng.random(200) < 0.1, -1, truth)
    named = np.where(rng.random(200) < 0.2, -1, named)
    genus["named"] = np.where(rng.random(200) < 0.1, -1, genus["named"])
    return (
        {"genus": genus["truth"].astype(np.int64), "species": truth},
        {"genus": genus["named"].astype(np.int64), "species": named},
    )


def names(nodes: np.ndarray) -> list[str | None]:
    return [None if node < 0 else TREE.names[node] for node in nodes.tolist()]


@pytest.mark.parametrize("seed", range(3))
def test_recall_is_that_of_the_definition_overall_and_by_group(seed: int) -> None:
    truth, named = random_run(seed)
    own = np.zeros(len(TREE), dtype=np.int64)
    own[TREE.at_rank("species")] = generator("counts", seed).integers(1, 60, 10)
    counts = below(own, TREE)
    found = level_figures(truth, named, TREE, train_counts=counts, few_below=20, many_above=50)
    for rank in LEVELS:
        true_names, given = names(truth[rank]), names(named[rank])
        assert found[rank]["macro_recall"] == pytest.approx(macro_recall(true_names, given))
        for group, figures in found[rank]["shot_groups"].items():
            mine = [
                node
                for node in TREE.at_rank(rank).tolist()
                if group_of(int(counts[node]), 20, 50) == group
            ]
            kept = [place for place, node in enumerate(truth[rank].tolist()) if node in mine]
            assert figures["images"] == len(kept)
            if kept:
                expected = macro_recall([true_names[i] for i in kept], [given[i] for i in kept])
                assert figures["macro_recall"] == pytest.approx(expected)
            else:
                assert figures["macro_recall"] is None


def test_figures_worked_out_by_hand() -> None:
    # G1 has the species G1 s0 and G1 s1, G0 has G0 s0. Three photos of G1 s0: right, wrong
    # species, nothing. One of G1 s1: right. One of G0 s0: taken for G1 s0.
    s = {name: TREE.find(name)[0] for name in ("G0", "G1", "G0 s0", "G1 s0", "G1 s1")}
    truth = {
        "genus": np.array([s["G1"]] * 4 + [s["G0"]]),
        "species": np.array([s["G1 s0"]] * 3 + [s["G1 s1"], s["G0 s0"]]),
    }
    named = {
        "genus": np.array([s["G1"], s["G1"], -1, s["G1"], s["G1"]]),
        "species": np.array([s["G1 s0"], s["G1 s1"], -1, s["G1 s1"], s["G1 s0"]]),
    }
    counts = np.zeros(len(TREE), dtype=np.int64)
    counts[[s["G1 s0"], s["G1 s1"], s["G0 s0"]]] = [501, 49, 50]
    found = level_figures(truth, named, TREE, train_counts=below(counts, TREE))
    assert found["genus"]["macro_recall"] == pytest.approx((3 / 4 + 0) / 2)
    assert found["genus"]["rank1"] == pytest.approx(3 / 5)
    assert found["species"]["macro_recall"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    species = found["species"]["shot_groups"]
    assert [species[name]["macro_recall"] for name in species] == [pytest.approx(1 / 3), 0.0, 1.0]
    genus = found["genus"]["shot_groups"]  # G1 has 550 training photos, G0 has 50
    assert [genus[name]["macro_recall"] for name in genus] == [0.75, 0.0, None]


def test_without_counts_there_are_no_groups() -> None:
    truth, named = random_run(0)
    assert "shot_groups" not in level_figures(truth, named, TREE)["genus"]


def test_the_order_of_photos_makes_no_difference() -> None:
    truth, named = random_run(0)
    order = generator("order").permutation(200)
    mixed = level_figures(
        {rank: nodes[order] for rank, nodes in truth.items()},
        {rank: nodes[order] for rank, nodes in named.items()},
        TREE,
    )
    assert mixed == level_figures(truth, named, TREE)


def test_all_right_is_one_and_all_silent_is_nought() -> None:
    truth, _ = random_run(0)
    silent = {rank: np.full(200, -1) for rank in LEVELS}
    for rank in LEVELS:
        assert level_figures(truth, truth, TREE)[rank]["macro_recall"] == 1.0
        assert level_figures(truth, silent, TREE)[rank]["macro_recall"] == 0.0
