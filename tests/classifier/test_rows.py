from typing import Any

import numpy as np
import pytest
import torch

from taxonet.classifier import Calibration, RowMaker, levels_with_classes
from taxonet.classifier.naming import naming_by_threshold
from taxonet.classifier.rows import NODE_PROBS, _best_columns
from taxonet.errors import ConfigError
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import class_to_node_probs
from tests.helpers import CLASS_NODES, ragged_taxonomy

NODES = np.array(CLASS_NODES)
"""Betulaceae, Rubus, Acer, Rosa canina, Rosa gallica, Acer rubrum."""


def of_nodes(probs: torch.Tensor) -> torch.Tensor:
    return class_to_node_probs(ragged_taxonomy(), NODES, probs)


def maker_of(
    *, threshold_prob: float = 0.5, novelty_threshold: float | None = None, **options: Any
) -> RowMaker:
    calibration = Calibration(
        images=8, threshold_prob=threshold_prob, novelty_threshold=novelty_threshold
    )
    naming = naming_by_threshold(ragged_taxonomy(), calibration)
    return RowMaker(ragged_taxonomy(), NODES, naming=naming, **options)


def row_of(probs: list[float], novelty: float = 0.0, **options: Any) -> dict[str, Any]:
    maker = maker_of(**options)
    (row,) = maker.rows(["a.jpg"], of_nodes(torch.tensor([probs])), torch.tensor([novelty]))
    assert list(row) == maker.columns
    return row


def decision(row: dict[str, Any]) -> tuple[Any, ...]:
    probability = row["probability"]
    rounded = None if probability is None else round(probability, 6)
    return row["scientificName"], row["taxonRank"], rounded, row["rule"]


@pytest.mark.parametrize(
    ("probs", "expected"),
    [
        ([0.1, 0.1, 0.1, 0.6, 0.1, 0.0], ("Rosa canina", "species", 0.6, "leaf")),
        ([0.9, 0.1, 0.0, 0.0, 0.0, 0.0], ("Betulaceae", "family", 0.9, "leaf")),
        # Rubus has a species in the tree, but no class: it is as deep as an answer can go.
        ([0.1, 0.8, 0.0, 0.1, 0.0, 0.0], ("Rubus", "genus", 0.8, "leaf")),
        ([0.2, 0.1, 0.1, 0.3, 0.3, 0.0], ("Rosa", "genus", 0.6, "rolled up to genus")),
        ([0.2, 0.3, 0.1, 0.2, 0.2, 0.0], ("Rosaceae", "family", 0.7, "rolled up to family")),
        # Acer is a class, and its own probability counts beside its species'.
        ([0.2, 0.1, 0.4, 0.0, 0.0, 0.3], ("Acer", "genus", 0.7, "rolled up to genus")),
        ([0.2, 0.1, 0.1, 0.0, 0.0, 0.6], ("Acer rubrum", "species", 0.6, "leaf")),
        ([0.4, 0.2, 0.1, 0.1, 0.1, 0.1], (None, None, None, "unknown")),
    ],
)
def test_the_deepest_likely_taxon_is_named(probs: list[float], expected: tuple[Any, ...]) -> None:
    assert decision(row_of(probs)) == expected


def test_a_higher_threshold_names_coarser_taxa() -> None:
    probs = [0.05, 0.1, 0.05, 0.6, 0.2, 0.0]
    rules = [decision(row_of(probs, threshold_prob=t))[::3] for t in (0.6, 0.7, 0.9, 0.95)]
    assert rules == [
        ("Rosa canina", "leaf"),
        ("Rosa", "rolled up to genus"),
        ("Rosaceae", "rolled up to family"),
        (None, "unknown"),
    ]


def test_novelty_decides_before_probability_and_the_threshold_itself_is_accepted() -> None:
    sure = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    assert row_of(sure, novelty=2.0, novelty_threshold=2.0)["rule"] == "leaf"
    assert row_of(sure, novelty=9.0, novelty_threshold=None)["rule"] == "leaf"
    unknown = row_of(sure, novelty=2.5, novelty_threshold=2.0)
    assert decision(unknown) == (None, None, None, "unknown")
    assert (unknown["noveltyScore"], unknown["species"]) == (2.5, "Rosa canina")
    assert unknown["species_probability"] == 1.0


def test_candidates_of_every_rank_best_first() -> None:
    row = row_of([0.1, 0.15, 0.05, 0.2, 0.3, 0.2], top_k=2)
    found = {name: row[name] for name in row if name[:6] in ("family", "genus", "genus_", "specie")}
    assert list(found) == [
        f"{rank}{suffix}"
        for rank in ("family", "genus", "species")
        for suffix in ("", "_probability", "_2", "_2_probability")
    ]
    assert [row[f"family{k}"] for k in ("", "_2")] == ["Rosaceae", "Sapindaceae"]
    assert [row[f"family{k}_probability"] for k in ("", "_2")] == pytest.approx([0.65, 0.25])
    assert [row[f"genus{k}"] for k in ("", "_2")] == ["Rosa", "Acer"]
    # A tie goes to the lower node: Rosa canina before Acer rubrum.
    assert [row[f"species{k}"] for k in ("", "_2")] == ["Rosa gallica", "Rosa canina"]


def test_of_equal_candidates_the_first_come_first_whatever_the_batch() -> None:
    drawn = generator("candidates").integers(0, 4, (50, 9)) / 4
    probs = torch.from_numpy(drawn)
    for k in (1, 3, 9):
        expected = np.argsort(-drawn, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(_best_columns(probs, k), expected)
        np.testing.assert_array_equal(_best_columns(probs[7:8], k), expected[7:8])


def test_taxa_without_a_class_are_no_candidates() -> None:
    row = row_of([1 / 6] * 6, top_k=9)
    species = {row[f"species{k}"] for k in ("", *(f"_{place}" for place in range(2, 10)))}
    assert species == {"Rosa canina", "Rosa gallica", "Acer rubrum", None}  # no Rubus idaeus


def test_probabilities_that_a_restriction_left_may_reach_nothing() -> None:
    row = row_of([0.0, 0.0, 0.0, 0.3, 0.1, 0.0])
    assert row["rule"] == "unknown"
    assert row["family_probability"] == pytest.approx(0.4)


def test_an_unreadable_image_has_a_reason_and_nothing_else() -> None:
    maker = maker_of()
    row = maker.unreadable("b.jpg", "empty file")
    assert list(row) == maker.columns
    filled = {name: value for name, value in row.items() if value is not None}
    assert filled == {"image": "b.jpg", "rule": "unreadable", "error": "empty file"}


def test_a_batch_gives_its_rows_in_order() -> None:
    maker = maker_of()
    rows = maker.rows(
        ["a", "b", "c"], of_nodes(torch.eye(6)[[3, 0, 5]]), torch.tensor([1.0, 2.0, 3.0])
    )
    assert [row["image"] for row in rows] == ["a", "b", "c"]
    promise = "none: chosen for 95% right names on 8 calibration photos"
    assert {row["promise"] for row in rows} == {promise}
    assert [row["scientificName"] for row in rows] == ["Rosa canina", "Betulaceae", "Acer rubrum"]
    assert [row["noveltyScore"] for row in rows] == [1.0, 2.0, 3.0]
    assert maker.rows([], of_nodes(torch.zeros(0, 6)), torch.zeros(0)) == []


def test_likely_nodes_ride_along_where_they_are_asked_for() -> None:
    probs = torch.tensor([[0.25, 0.125, 0.0, 0.5, 0.125, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.125]])
    maker = maker_of(node_probs_from=0.25)
    first, second = maker.rows(["a", "b"], of_nodes(probs), torch.zeros(2))
    assert list(first) == [*maker.columns, NODE_PROBS]
    # Betulaceae, which just reaches the bar, Rosaceae, Rosa, Rosa canina; never the root.
    assert first[NODE_PROBS] == [(1, 0.25), (2, 0.75), (4, 0.625), (7, 0.5)]
    assert second[NODE_PROBS] == []
    assert NODE_PROBS not in maker.unreadable("c", "empty file")
    plain = maker_of()
    assert NODE_PROBS not in plain.rows(["a", "b"], of_nodes(probs), torch.zeros(2))[0]


def test_levels_hold_what_is_a_class_or_above_one() -> None:
    levels = levels_with_classes(ragged_taxonomy(), NODES)
    assert {rank: nodes.tolist() for rank, nodes in levels.items()} == {
        "family": [1, 2, 3],
        "genus": [4, 5, 6],
        "species": [7, 8, 10],
    }
    # A rank without any class is no column.
    assert list(levels_with_classes(ragged_taxonomy(), np.array([1, 5]))) == ["family", "genus"]


def test_a_tree_without_ranks_has_its_depths_for_levels() -> None:
    tree = Taxonomy.from_edges([("top", "a"), ("top", "b"), ("a", "c"), ("b", "d")])
    levels = levels_with_classes(tree, np.array([2, 3]))
    assert {rank: nodes.tolist() for rank, nodes in levels.items()} == {
        "level_1": [1, 2],
        "level_2": [3],
    }


def test_top_k_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="top_k must be at least 1, got 0"):
        row_of([1.0, 0.0, 0.0, 0.0, 0.0, 0.0], top_k=0)
