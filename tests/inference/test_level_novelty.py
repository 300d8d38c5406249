"""Novelty at each level of the tree, from node probabilities and from embeddings."""

from typing import Any

import numpy as np
import pytest
import torch

from taxonet.errors import ConfigError, DataError, TaxonomyError
from taxonet.inference.novelty import (
    EmbeddingMoments,
    NearestPrototype,
    NearestTaxon,
    novelty_by_level,
    threshold_at_tpr,
)
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import class_to_node_probs
from tests.helpers import CLASS_NODES, ragged_taxonomy
from tests.reference import novelty as reference

TREE = ragged_taxonomy()


def node_probs(seed: int = 0, *, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(20, len(CLASS_NODES), generator=chance, dtype=torch.float64)
    return class_to_node_probs(TREE, CLASS_NODES, scores.softmax(1)).to(dtype)


def embeddings(images: int = 30, dim: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(1)
    targets = torch.arange(images) % len(CLASS_NODES)
    targets[images // 2 :] = 0  # so that classes differ in their images
    spots = 4 * torch.randn(len(CLASS_NODES), dim, generator=chance, dtype=torch.float64)
    noise = torch.randn(images, dim, generator=chance, dtype=torch.float64)
    return spots[targets] + noise, targets


def batches_of(values: torch.Tensor, targets: torch.Tensor) -> list[Any]:
    return [(values, torch.zeros(len(values), len(CLASS_NODES)), targets)]


def test_novelty_by_level_equals_the_loop() -> None:
    probs = node_probs()
    found = novelty_by_level(probs, TREE)
    assert found.shape == (20, 3)
    for depth in (1, 2, 3):
        level = [
            node
            for node in range(len(TREE))
            if TREE.depth[node] == depth or (TREE.depth[node] < depth and node in TREE.leaves)
        ]
        expected = [1 - max(row[node] for node in level) for row in probs.tolist()]
        torch.testing.assert_close(found[:, depth - 1], torch.tensor(expected).double())


def test_what_is_novel_at_a_level_is_novel_below_it() -> None:
    found = novelty_by_level(node_probs(), TREE)
    assert (found.diff(dim=1) >= 0).all()
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_novelty_by_level_in_every_precision(dtype: torch.dtype) -> None:
    probs = node_probs(dtype=dtype)
    found = novelty_by_level(probs, TREE)
    assert found.dtype == (dtype if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(found.double(), novelty_by_level(probs.double(), TREE))


def test_a_sum_just_above_one_is_not_novel() -> None:
    found = novelty_by_level(torch.tensor([[1.0, 1.0000001, 0.0]]), two_species())
    assert found.tolist() == [[0.0]]


def two_species() -> Taxonomy:
    return Taxonomy.from_edges([("root", "a"), ("root", "b")])


def test_what_is_no_tree_or_no_node_probability_is_refused() -> None:
    with pytest.raises(TaxonomyError, match=r"Expected values \(B, 3\)"):
        novelty_by_level(torch.zeros(2, 4), two_species())
    only = Taxonomy(
        parent=np.array([-1], dtype=np.int32),
        names=("root",),
        ranks=(),
        rank=np.array([-1], dtype=np.int32),
    )
    with pytest.raises(TaxonomyError, match="taxa below the root, got only the root"):
        novelty_by_level(torch.ones(2, 1), only)


def test_nearest_taxon_equals_the_loop() -> None:
    values, targets = embeddings()
    score = NearestTaxon(3, CLASS_NODES, TREE).fit(batches_of(values, targets))
    chance = torch.Generator().manual_seed(2)
    new = 4 * torch.randn(9, 3, generator=chance, dtype=torch.float64)
    found = score(new)
    assert found.shape == (9, 3)
    nodes = [CLASS_NODES[k] for k in targets.tolist()]
    for depth in (1, 2, 3):
        level, parent = TREE.level(depth).tolist(), TREE.parent.tolist()
        expected = [
            reference.nearest_taxon(x, list(values.numpy()), nodes, level, parent)
            for x in new.numpy()
        ]
        torch.testing.assert_close(found[:, depth - 1], torch.tensor(expected).double())


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_one_level_of_leaves_is_the_nearest_prototype(distance: Any) -> None:
    tree = Taxonomy.from_edges([("root", f"species {k}") for k in range(6)])
    values, targets = embeddings()
    batches = batches_of(values, targets)
    found = NearestTaxon(3, range(1, 7), tree, distance=distance).fit(batches)(-values)
    expected = NearestPrototype(3, 6, distance=distance).fit(batches)
    torch.testing.assert_close(found[:, 0], expected(-values, torch.zeros(30, 6), 1.0))


def test_the_mean_of_a_genus_is_over_its_images() -> None:
    tree = Taxonomy.from_edges([("root", "Rosa"), ("Rosa", "R. a"), ("Rosa", "R. b")])
    rows = torch.tensor([[0.0], [0.0], [0.0], [4.0]])
    score = NearestTaxon(1, [2, 3], tree)
    score.fit([(rows, torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]))])
    assert score.means[1].tolist() == [1.0]


def test_a_new_species_is_novel_at_the_species_and_a_new_genus_at_both() -> None:
    genera = {"Acer": ["A. mono", "A. rubrum"], "Rosa": ["R. canina", "R. gallica"]}
    edges = [("root", genus) for genus in genera]
    edges += [(genus, species) for genus, below in genera.items() for species in below]
    tree = Taxonomy.from_edges(edges)
    chance = torch.Generator().manual_seed(0)
    spots = torch.tensor([[-9.0, 2.0], [-9.0, -2.0], [9.0, 2.0], [9.0, -2.0]])

    def near(spot: torch.Tensor, images: int = 100) -> torch.Tensor:
        return spot + 0.3 * torch.randn(images, 2, generator=chance)

    score = NearestTaxon(2, tree.leaves, tree)
    rows, targets = torch.cat([near(spot) for spot in spots]), torch.arange(4)
    score.fit([(rows, torch.zeros(400, 4), targets.repeat_interleave(100))])
    calibration = score(torch.cat([near(spot) for spot in spots]))
    thresholds = torch.tensor([threshold_at_tpr(column) for column in calibration.T])
    known, new_species, new_genus = (
        (score(near(torch.tensor(spot))) > thresholds).double().mean(dim=0).tolist()
        for spot in ([9.0, 2.0], [9.0, 0.0], [0.0, 9.0])
    )
    assert max(known) < 0.15
    assert new_species[0] < 0.1  # at the genus it is known
    assert new_species[1] > 0.95
    assert min(new_genus) == 1


def test_taxa_without_images_are_nobodys_nearest() -> None:
    values, targets = embeddings()
    score = NearestTaxon(3, CLASS_NODES, TREE).fit(batches_of(values, targets))
    assert not score.present[TREE.find("Rubus idaeus")[0]]
    tree = Taxonomy.from_edges([("root", "Rosa"), ("Rosa", "R. a")])
    coarse = NearestTaxon(1, [1], tree)
    coarse.fit([(torch.ones(1, 1), torch.zeros(1, 1), torch.tensor([0]))])
    assert coarse(torch.zeros(1, 1)).tolist() == [[1.0, torch.inf]]


def test_the_state_of_nearest_taxon_is_tensors() -> None:
    values, targets = embeddings()
    batches = batches_of(values, targets)
    score = NearestTaxon(3, CLASS_NODES, TREE).fit(batches)
    loaded = NearestTaxon(3, CLASS_NODES, TREE)
    with pytest.raises(DataError, match="NearestTaxon has not been fitted yet"):
        loaded(values)
    loaded.load_state_dict(score.state_dict())
    assert torch.equal(loaded(values), score(values))
    moments = EmbeddingMoments.of(batches, classes=len(CLASS_NODES), dim=3)
    shared = NearestTaxon(3, CLASS_NODES, TREE).fit_moments(moments)
    assert torch.equal(shared(values), score(values))
    assert score(values.float()).dtype == torch.float32
    with pytest.raises(DataError, match=r"Expected embeddings \(B, 3\), got shape \(30, 2\)"):
        score(values[:, :2])


@pytest.mark.parametrize("nodes", [[], [1, 11], [-1], [[1, 2]]])
def test_classes_at_no_node_are_refused(nodes: list[Any]) -> None:
    with pytest.raises(TaxonomyError, match=r"Expected class_nodes \(c,\), nodes from 0 to 10"):
        NearestTaxon(3, nodes, TREE)
    with pytest.raises(ConfigError, match="There is no distance 'angle'"):
        NearestTaxon(3, [1], TREE, distance="angle")  # type: ignore[arg-type]
