"""The verb `analyse`, from files to figures, with every figure computed again another way."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taxonet.classifier import Calibration, TaxonClassifier, TrailPoint, write_trail
from taxonet.errors import CheckpointError, ConfigError, DataError
from taxonet.evaluation import Analysis, analyse
from taxonet.evaluation.geometry import HEAD, TRAINING
from taxonet.metrics import PairMeans
from taxonet.models import build_network
from taxonet.recipes.verbs import AnalyseConfig
from tests.evaluation.conftest import tree_parts
from tests.helpers import save_index, save_photo, tiny_parts
from tests.reference import geometry as loops

NAMES = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")
COUNTS = (150, 50, 5, 120, 30, 2)
#: Class of each photo; the last six look like no class.
TRUTH = (0, 1, 2, 3, 4, 5, 0, 0, 1, 3, 5, 5)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with an index and a trail, and photos: one is torn, one of a strange label."""
    folder = tmp_path_factory.mktemp("analysed")
    photos = [save_photo(folder / f"{seed}.png", seed) for seed in range(len(TRUTH) + 2)]
    parts = replace(tiny_parts(), class_counts=np.array(COUNTS), calibration=Calibration())
    classifier = TaxonClassifier(parts, device="cpu")
    classifier.save(folder / "classifier")
    save_index(folder / "classifier", classifier.embed(photos[: len(TRUTH)]), TRUTH)
    write_trail(folder / "classifier", [point(0, 1.0), point(40, 2.5)])
    (folder / "torn.png").write_text("no photo", encoding="utf-8")
    rows = [
        *((f"{row}.png", NAMES[k], "test") for row, k in enumerate(TRUTH)),
        ("torn.png", "Acer", "test"),
        ("12.png", "Quercus", "test"),
        ("13.png", "Acer", "train"),
    ]
    write(folder / "photos.csv", rows)
    return folder


def point(batches: int, distance: float) -> TrailPoint:
    kinds = ("all-all", "many-many", "many-medium", "many-few", "medium-medium", "medium-few")
    pairs = {name: PairMeans(1, distance, 0.25) for name in kinds}
    return TrailPoint(batches, {**pairs, "few-few": PairMeans(0, None, None)})


def write(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    pd.DataFrame(rows, columns=["image", "taxon", "split"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def found(workshop: Path) -> Analysis:
    return analyse(
        AnalyseConfig(
            classifier=workshop / "classifier",
            images=workshop / "photos.csv",
            batch_size=5,
            device="cpu",
        )
    )


def test_photos_of_the_split_are_seen_as_prediction_sees_them(
    workshop: Path, found: Analysis
) -> None:
    classifier = TaxonClassifier.load(workshop / "classifier", device="cpu")
    embeddings = classifier.embed([workshop / f"{row}.png" for row in range(len(TRUTH))])
    weight = classifier.network.head.weight.detach().numpy()
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = units @ (weight / np.linalg.norm(weight, axis=1, keepdims=True)).T
    own = cosines[range(len(TRUTH)), TRUTH]
    others = np.where(np.eye(6)[list(TRUTH)] > 0, -2, cosines).max(axis=1)
    for name in ("test", TRAINING):  # the same photos
        spread = found.geometry.photos[name].angles["all"]
        assert spread is not None
        assert spread.images == len(TRUTH)
        assert spread.mean_deg == pytest.approx(np.degrees(np.arccos(own)).mean(), rel=1e-4)
    margins = found.geometry.photos["test"].margins
    assert margins is not None
    for taxon in range(6):
        mine = np.array(TRUTH) == taxon
        assert margins.by_class[taxon] == pytest.approx((own - others)[mine].mean(), abs=1e-5)
    assert found.geometry.photos[TRAINING].margins is None  # nobody scores photos of the index
    assert found.figures["margin_unit"] == "cosines"


def test_figures_are_json_without_nan(found: Analysis) -> None:
    figures = json.loads(json.dumps(found.figures, allow_nan=False))
    assert list(figures["unreadable"].values()) == ["not an image file of a known kind"]
    assert figures["pairs"][HEAD]["all-all"]["pairs"] == 15
    assert figures["pairs"][HEAD]["few-few"]["pairs"] == 1
    assert figures["groups"] == ["many", "medium", "few", "many", "medium", "few"]
    assert [point["batches"] for point in figures["second_stage"]] == [0, 40]
    assert found.trail == (point(0, 1.0), point(40, 2.5))


def test_batches_change_nothing(workshop: Path, found: Analysis) -> None:
    config = AnalyseConfig(
        classifier=workshop / "classifier",
        images=workshop / "photos.csv",
        batch_size=1,
        device="cpu",
    )
    one = analyse(config).geometry.photos["test"].margins
    many = found.geometry.photos["test"].margins
    assert one is not None
    assert many is not None
    np.testing.assert_allclose(
        np.array(one.by_class, float), np.array(many.by_class, float), atol=1e-5
    )


def test_separability_is_computed_where_it_is_cheap_or_asked_for(
    workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AnalyseConfig(classifier=workshop / "classifier", device="cpu")
    cheap = analyse(config).geometry.photos[TRAINING].separability
    assert cheap is not None
    assert cheap.classes == 4  # two have one photo
    monkeypatch.setattr("taxonet.evaluation.analysis._OPERATIONS_AT_MOST", 10)
    dear = analyse(config)
    assert dear.geometry.photos[TRAINING].separability is None
    assert "--separability computes it" in dear.notes[0]
    asked = analyse(config.model_copy(update={"separability": True}))
    assert asked.geometry.photos[TRAINING].separability == cheap
    assert asked.notes == ()


def test_without_index_and_photos_the_head_is_left(tmp_path: Path) -> None:
    TaxonClassifier(tiny_parts("linear"), device="cpu").save(tmp_path / "classifier")
    found = analyse(AnalyseConfig(classifier=tmp_path / "classifier", device="cpu"))
    assert found.geometry.photos == {}
    assert list(found.geometry.norms) == [HEAD]
    assert "has no index" in found.notes[0]
    assert found.trail == ()


@pytest.fixture(scope="module", params=["levelwise_cross_entropy", "flat_softmax"])
def tree_analysis(request: pytest.FixtureRequest, workshop: Path) -> Analysis:
    """What is found of a head that scores the nodes, or the leaves, of the tree."""
    classifier = TaxonClassifier(tree_parts(request.param), device="cpu")
    folder = workshop / request.param
    classifier.save(folder)
    save_index(folder, classifier.embed(photos_in(workshop)), TRUTH)
    return analyse(AnalyseConfig(classifier=folder, images=workshop / "photos.csv", device="cpu"))


def photos_in(workshop: Path) -> list[Path]:
    return [workshop / f"{row}.png" for row in range(len(TRUTH))]


def test_a_head_over_the_tree_is_seen_by_the_rows_of_its_classes(
    workshop: Path, tree_analysis: Analysis
) -> None:
    """Row of the own node, or of the own leaf: Acer, class 2, is no leaf and has none."""
    loss = tree_analysis.classifier.parts.recipe.loss.name
    row_of = (
        {0: 1, 1: 5, 2: 6, 3: 7, 4: 8, 5: 9} if "level" in loss else {0: 0, 1: 1, 3: 2, 4: 3, 5: 4}
    )
    weight = tree_analysis.classifier.network.head.weight.detach().numpy()
    embeddings = tree_analysis.classifier.embed(photos_in(workshop))
    angles = [
        loops.angle(embedding.tolist(), weight[row_of[k]].tolist())
        for embedding, k in zip(embeddings, TRUTH, strict=True)
        if k in row_of
    ]
    for name in ("test", TRAINING):
        photos = tree_analysis.geometry.photos[name]
        spread = photos.angles["all"]
        assert spread is not None
        assert photos.images == len(TRUTH)
        assert spread.images == len(angles)
        assert spread.mean_deg == pytest.approx(np.mean(angles), rel=1e-4)
    norms = tree_analysis.geometry.norms[HEAD].norms.by_class
    expected = [np.linalg.norm(weight[row_of[k]]) if k in row_of else None for k in range(6)]
    assert norms == pytest.approx(expected)
    pairs = len(row_of) * (len(row_of) - 1) // 2
    assert tree_analysis.geometry.pairs[HEAD].overall.pairs == pairs
    assert any("no row in a head of leaves" in note for note in tree_analysis.notes) == (
        len(row_of) < 6
    )


def test_margins_of_a_head_over_the_tree_are_in_probabilities(
    workshop: Path, tree_analysis: Analysis
) -> None:
    classifier = tree_analysis.classifier
    named = ((path.name, path) for path in photos_in(workshop))
    (batch,) = classifier.score(named, batch_size=64)
    probs = classifier.probabilities(batch.logits).numpy()
    margins = [
        row[k] - max(prob for j, prob in enumerate(row) if j != k)
        for row, k in zip(probs.tolist(), TRUTH, strict=True)
    ]
    found = tree_analysis.geometry.photos["test"].margins
    assert found is not None
    for taxon in range(6):
        mine = [margin for margin, k in zip(margins, TRUTH, strict=True) if k == taxon]
        assert found.by_class[taxon] == pytest.approx(np.mean(mine), abs=1e-5)
    assert tree_analysis.figures["margin_unit"] == "probabilities"


def test_tsne_shows_the_photos_of_the_split_or_else_of_the_index(workshop: Path) -> None:
    config = AnalyseConfig(classifier=workshop / "classifier", tsne=True, device="cpu")
    indexed = analyse(config).projection
    shown = analyse(config.model_copy(update={"images": workshop / "photos.csv"}))
    assert indexed is not None
    assert shown.projection is not None
    assert (indexed.photos, shown.projection.photos) == (TRAINING, "test")
    assert indexed.images == tuple(f"{row}.jpg" for row in range(len(TRUTH)))
    assert shown.projection.images == tuple(f"{row}.png" for row in range(len(TRUTH)))
    assert indexed.taxa == shown.projection.taxa
    assert indexed.taxa["genus"][:4] == (None, "Rubus", "Acer", "Rosa")
    assert json.loads(json.dumps(shown.figures, allow_nan=False))["tsne"]["photos_shown"] == 12


def test_without_tsne_there_is_no_picture(found: Analysis) -> None:
    assert found.projection is None
    assert found.figures["tsne"] is None
    assert found.geometry.photos[TRAINING].images == len(TRUTH)


def test_tsne_of_two_photos_is_left_out_with_a_note(workshop: Path, tmp_path: Path) -> None:
    rows = [(str(workshop / f"{row}.png"), NAMES[row], "test") for row in range(2)]
    config = AnalyseConfig(
        classifier=workshop / "classifier",
        images=write(tmp_path / "photos.csv", rows),
        tsne=True,
        device="cpu",
    )
    found = analyse(config)
    assert found.projection is None
    assert "needs at least 3 photos" in found.notes[-1]
    assert found.figures["notes"] == list(found.notes)


def test_tsne_that_cannot_end_in_a_picture_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TaxonClassifier(tiny_parts(), device="cpu").save(tmp_path / "classifier")
    config = AnalyseConfig(classifier=tmp_path / "classifier", tsne=True, device="cpu")
    with pytest.raises(ConfigError, match=r"has no index of training photos: give .* --images"):
        analyse(config)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(ConfigError, match=r"pip install 'taxonet\[explore\]'"):
        analyse(config)


def test_experts_have_no_one_vector_a_class(tmp_path: Path) -> None:
    parts = tiny_parts("linear")
    experts = build_network(backbone="resnet32", head="linear", classes=6, seed=0, experts=2)
    recipe = parts.recipe.model_copy(
        update={"model": parts.recipe.model.model_copy(update={"experts": 2})}
    )
    parts = replace(parts, network=experts, recipe=recipe)
    TaxonClassifier(parts, device="cpu").save(tmp_path / "classifier")
    with pytest.raises(ConfigError, match=r"heads of 2 experts\. `taxonet refit"):
        analyse(AnalyseConfig(classifier=tmp_path / "classifier", device="cpu"))


def test_photos_of_no_known_taxon_are_an_error(workshop: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "0.png", 0)
    table = write(tmp_path / "photos.csv", [("0.png", "Quercus", "test")])
    with pytest.raises(DataError, match=r"none of 1 photos .* 1 of other labels: Quercus"):
        analyse(AnalyseConfig(classifier=workshop / "classifier", images=table, device="cpu"))


@pytest.mark.parametrize("text", ["{}", '{"points": [{"batches": 1}]}', '{"points": 3}', "[]"])
def test_a_damaged_trail_is_named(tmp_path: Path, text: str) -> None:
    TaxonClassifier(tiny_parts(), device="cpu").save(tmp_path / "classifier")
    (tmp_path / "classifier" / "second_stage.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"second_stage\.json cannot be understood"):
        analyse(AnalyseConfig(classifier=tmp_path / "classifier", device="cpu"))
