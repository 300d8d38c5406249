"""Photos as points: which are drawn, where they lie, what their taxa and neighbours are."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from taxonet.errors import ConfigError
from taxonet.evaluation.geometry import EmbeddedPhotos
from taxonet.evaluation.projection import NEIGHBOURS, PHOTOS_AT_MOST, Projection, project
from taxonet.recipes.verbs import AnalyseConfig
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from tests.helpers import CLASS_NODES, ragged_taxonomy
from tests.reference import geometry as loops

NODES = np.array(CLASS_NODES)
NAMES = ragged_taxonomy().names
RANKS = ("family", "genus", "species")


def photos_of(images: int) -> EmbeddedPhotos:
    """Photos of all six classes, each class in a direction of its own."""
    targets = np.arange(images) % 6
    noise = generator("projection of a test").normal(size=(images, 8))
    embeddings = (np.eye(6, 8)[targets] + 0.05 * noise).astype(np.float32)
    return EmbeddedPhotos(embeddings, targets, names=tuple(f"{k}.png" for k in range(images)))


def projected(photos: EmbeddedPhotos, taxonomy: Taxonomy | None = None) -> Projection:
    found = project("test", photos, taxonomy or ragged_taxonomy(), NODES)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def found() -> Projection:
    return projected(photos_of(60))


def test_a_class_is_one_cloud_in_the_plane(found: Projection) -> None:
    targets = np.arange(60) % 6
    apart = np.linalg.norm(found.points[:, None] - found.points, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (targets[apart.argmin(axis=1)] == targets).all()
    assert found.perplexity == pytest.approx(59 / 3)


def test_every_photo_has_its_taxon_at_every_rank_or_none(found: Projection) -> None:
    table = found.table()
    assert list(table.columns) == ["image", "x", "y", *RANKS]
    rows = [tuple(row) for row in table[["image", *RANKS]].astype(object).itertuples(index=False)]
    # What pandas makes of None differs from version to version.
    first = [tuple(cell if isinstance(cell, str) else None for cell in row) for row in rows[:6]]
    assert first == [
        ("0.png", "Betulaceae", None, None),
        ("1.png", "Rosaceae", "Rubus", None),
        ("2.png", "Sapindaceae", "Acer", None),
        ("3.png", "Rosaceae", "Rosa", "Rosa canina"),
        ("4.png", "Rosaceae", "Rosa", "Rosa gallica"),
        ("5.png", "Sapindaceae", "Acer", "Acer rubrum"),
    ]
    np.testing.assert_array_equal(table[["x", "y"]].to_numpy(), found.points)


def test_neighbours_are_those_of_the_space_of_embeddings(found: Projection) -> None:
    near = loops.nearest(photos_of(60).embeddings.tolist(), NEIGHBOURS)
    assert found.neighbours == NEIGHBOURS == 10
    for rank in RANKS:
        taxa = [-1 if taxon is None else NAMES.index(taxon) for taxon in found.taxa[rank]]
        agreement = found.agreement[rank]
        expected = loops.agreement(near, taxa)
        assert (agreement.share, agreement.chance, agreement.best) == pytest.approx(expected)
    assert [found.agreement[rank].images for rank in RANKS] == [60, 50, 30]
    assert [found.agreement[rank].taxa for rank in RANKS] == [3, 3, 3]


def test_figures_are_plain_values(found: Projection) -> None:
    figures = json.loads(json.dumps(found.figures(), allow_nan=False))
    assert (figures["photos"], figures["photos_shown"], figures["photos_in_all"]) == (
        "test",
        60,
        60,
    )
    assert list(figures["agreement"]) == list(RANKS)
    assert set(figures["agreement"]["genus"]) == {"images", "taxa", "share", "chance", "best"}


def test_the_picture_is_repeatable_and_knows_no_lengths(found: Projection) -> None:
    photos = photos_of(60)
    np.testing.assert_array_equal(projected(photos).points, found.points)
    longer = replace(photos, embeddings=4 * photos.embeddings)
    np.testing.assert_array_equal(projected(longer).points, found.points)


def test_of_many_photos_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taxonet.evaluation.projection.PHOTOS_AT_MOST", 12)
    photos = photos_of(40)
    one, again = projected(photos), projected(photos)
    assert one.images == again.images
    assert len(set(one.images)) == len(one.points) == 12
    assert one.photos_in_all == 40
    rows = [int(name.removesuffix(".png")) for name in one.images]
    assert rows == sorted(rows)
    assert rows != list(range(12))
    whole = projected(replace(photos, embeddings=photos.embeddings[::-1], targets=photos.targets))
    assert whole.images == one.images  # the draw does not look at the photos
    drawn = EmbeddedPhotos(photos.embeddings[rows], photos.targets[rows], names=one.images)
    np.testing.assert_array_equal(projected(drawn).points, one.points)
    for rank in RANKS:
        expected = projected_taxa(rank, [int(photos.targets[row]) for row in rows])
        assert one.taxa[rank] == expected


def projected_taxa(rank: str, targets: list[int]) -> tuple[str | None, ...]:
    tree = ragged_taxonomy()
    nodes = tree.ancestor_at_rank(NODES[targets], rank).tolist()
    return tuple(None if node < 0 else tree.names[node] for node in nodes)


def test_the_help_tells_how_many_are_drawn() -> None:
    description = AnalyseConfig.model_fields["tsne"].description
    assert description is not None
    assert f"{PHOTOS_AT_MOST:,} at most" in description


def test_a_tree_without_ranks_is_shown_by_its_levels() -> None:
    tree = ragged_taxonomy()
    bare = Taxonomy.from_parents(tree.names, tree.parent)
    found = projected(photos_of(18), bare)
    assert list(found.taxa) == ["level_1", "level_2", "level_3"]
    assert found.taxa["level_2"][3] == "Rosa"


def test_one_name_for_two_taxa_is_told_apart_by_the_way_to_it() -> None:
    tree = Taxonomy.from_parents(["root", "A", "B", "x", "x", "y"], [-1, 0, 0, 1, 2, 2])
    photos = replace(photos_of(12), targets=np.arange(12) % 3)
    found = project("test", photos, tree, np.array([3, 4, 5]))
    assert found is not None
    assert found.taxa["level_2"][:3] == ("A/x", "B/x", "y")


@pytest.mark.parametrize("images", [3, 4, 7])
def test_a_few_photos_are_enough(images: int) -> None:
    found = projected(photos_of(images))
    assert found.points.shape == (images, 2)
    assert np.isfinite(found.points).all()
    assert found.neighbours == images - 1


def test_without_photos_enough_there_is_no_picture() -> None:
    for images in (1, 2):
        assert project("test", photos_of(images), ragged_taxonomy(), NODES) is None
    photos = photos_of(6)
    lengths = np.arange(1, 7)[:, None]
    one_way = replace(photos, embeddings=lengths * np.eye(1, 8))
    assert project("test", one_way, ragged_taxonomy(), NODES) is None


def test_without_scikit_learn_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(ConfigError, match=r"pip install 'taxonet\[explore\]'"):
        project("test", photos_of(12), ragged_taxonomy(), NODES)
