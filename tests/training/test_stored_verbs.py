"""The verbs over one store: what `embed` or training has stored, nobody computes again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from taxonet.classifier import TaxonClassifier, embed_photos
from taxonet.classifier.feature_batches import feature_batches
from taxonet.data.features import FeatureStore
from taxonet.errors import ConfigError
from taxonet.evaluation import evaluate
from taxonet.files import read_json
from taxonet.recipes.verbs import (
    CalibrateConfig,
    EmbedConfig,
    EvaluateConfig,
    RefitConfig,
    TrainConfig,
)
from taxonet.training import recalibrate, refit, train
from tests.small_set import config, write_set

_COMPUTES = "taxonet.classifier.embedder.feature_batches"
STORED = ("features={}", "model.weights=none")


@pytest.fixture
def nothing_is_embedded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, embedding a photo is an error."""

    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("a photo was embedded again")

    return lambda: monkeypatch.setattr(_COMPUTES, fail)


def embed(source: str | Path, photos: Path, out: Path, **options: Any) -> tuple[int, int, int]:
    given = EmbedConfig(
        source=str(source), images=(str(photos / "images"),), out=out, device="cpu", **options
    )
    found = embed_photos(given)
    return found.images, found.embedded, len(found.broken)


def test_training_embeds_nothing_after_embed(
    tmp_path: Path, nothing_is_embedded: Callable[[], None]
) -> None:
    photos = write_set(tmp_path / "photos", train={"Rosa canina": 3, "Acer rubrum": 2})
    store = tmp_path / "features"
    assert embed("efficientnet_lite0.packaged", photos, store) == (29, 29, 0)
    nothing_is_embedded()
    assert embed("efficientnet_lite0.packaged", photos, store) == (29, 0, 0)
    result = train(
        TrainConfig(
            images=photos / "images.csv",
            taxonomy=photos / "taxonomy.csv",
            out=tmp_path / "run",
            recipe="quick",
            set=("epochs=2",),
            features=store,
            device="cpu",
        )
    )
    assert result.load(device="cpu").parts.recipe.model.backbone == "efficientnet_lite0.packaged"
    assert len(FeatureStore.read(store)) == 29


def test_a_backbone_of_random_weights_and_its_own_size(
    photos: Path, tmp_path: Path, nothing_is_embedded: Callable[[], None]
) -> None:
    store = tmp_path / "features"
    options = {"weights": "none", "image_size": 32}
    assert embed("test_resnet", photos, store, **options) == (100, 100, 0)
    nothing_is_embedded()
    given = config(photos, tmp_path / "run", *STORED)
    train(given.model_copy(update={"features": store}))
    with pytest.raises(ConfigError, match=r"preprocessing\.fit"):
        embed("test_resnet", photos, store, fit="pad", **options)
    with pytest.raises(ConfigError, match=r"cannot look at images of 100 x 100"):
        embed("test_vit", photos, tmp_path / "other", weights="none", image_size=100)


def test_an_interrupted_store_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: Any, **options: Any) -> Any:
        for number, batch in enumerate(feature_batches(*args, **options)):
            if number == 3:
                raise KeyboardInterrupt
            yield batch

    options = {"weights": "none", "image_size": 32, "batch_size": 8}
    with monkeypatch.context() as patched:
        patched.setattr(_COMPUTES, stopped)
        with pytest.raises(KeyboardInterrupt):
            embed("test_resnet", photos, tmp_path / "features", **options)
    assert embed("test_resnet", photos, tmp_path / "features", **options) == (100, 100 - 24, 0)


def test_broken_photos_are_reported_every_time(tmp_path: Path) -> None:
    photos = write_set(tmp_path / "photos", train={"Rosa canina": 3, "Acer rubrum": 2})
    (photos / "images" / "Rosa_canina_train_1.png").write_bytes(b"no image")
    given = EmbedConfig(
        source="test_resnet",
        weights="none",
        images=(str(photos / "images"), str(photos / "nowhere.jpg")),
        out=tmp_path / "features",
        device="cpu",
    )
    for embedded in (28, 0):
        found = embed_photos(given)
        assert (found.images, found.embedded) == (30, embedded)
        assert [(Path(name).name, reason) for name, reason in found.broken] == [
            ("Rosa_canina_train_1.png", "not an image file of a known kind"),
            ("nowhere.jpg", "no such file"),
        ]


def test_a_table_of_a_backbone_has_what_its_store_has(photos: Path, tmp_path: Path) -> None:
    options = {"weights": "none", "image_size": 32}
    embed("test_resnet", photos, tmp_path / "features", **options)
    assert embed("test_resnet", photos, tmp_path / "table.parquet", **options) == (100, 100, 0)
    table = pq.read_table(tmp_path / "table.parquet")
    images = table["image"].to_pylist()
    assert images == sorted(images)
    train(
        config(photos, tmp_path / "run", *STORED, "epochs=1").model_copy(
            update={"features": tmp_path / "features"}
        )
    )
    index = pq.read_table(tmp_path / "run" / "classifier" / "index" / "training.parquet")
    vectors = {Path(name).name: one for name, one in zip(images, table["embedding"], strict=True)}
    for name, one in zip(index["image"].to_pylist(), index["embedding"], strict=True):
        np.testing.assert_allclose(vectors[Path(name).name].as_py(), one.as_py(), atol=1e-5)


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned a neck and a head from stored features; test photos are stored too."""
    folder = tmp_path_factory.mktemp("stored") / "run"
    train(config(photos, folder, *STORED, "model.neck=linear", "epochs=2"))
    assert embed(folder / "classifier", photos, folder / "features") == (100, 20, 0)
    return folder


def test_a_store_of_a_classifier_is_before_the_neck_and_a_table_after_it(
    photos: Path, run: Path, tmp_path: Path, nothing_is_embedded: Callable[[], None]
) -> None:
    classifier = TaxonClassifier.load(run / "classifier", device="cpu")
    embed(run / "classifier", photos, tmp_path / "table.parquet")
    table = pq.read_table(tmp_path / "table.parquet")
    expected = classifier.embed(table["image"].to_pylist()[:3])
    for found, one in zip(table["embedding"].to_pylist(), expected, strict=False):
        np.testing.assert_allclose(found, one, atol=1e-5)
    nothing_is_embedded()  # for the store of the run is one of the same features
    assert embed(run / "classifier", photos, run / "features") == (100, 0, 0)
    with pytest.raises(ConfigError, match=r"fit, weights: .* is a classifier"):
        embed(run / "classifier", photos, tmp_path / "x.parquet", weights="none", fit="pad")


def test_evaluate_reads_the_store(
    photos: Path, run: Path, nothing_is_embedded: Callable[[], None]
) -> None:
    metrics = []
    for features in (None, run / "features"):
        if features is not None:
            nothing_is_embedded()
        given = EvaluateConfig(
            classifier=run / "classifier",
            images=photos / "images.csv",
            features=features,
            device="cpu",
        )
        metrics.append(evaluate(given).metrics)
    assert_close(*metrics)


def assert_close(one: Any, other: Any) -> None:
    """Compare nested figures to 1e-5, and all else exactly."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_close(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_close(first, second)
    elif isinstance(one, float):
        assert other == pytest.approx(one, abs=1e-5, nan_ok=True)
    else:
        assert one == other


def test_calibrate_and_refit_read_the_store(
    photos: Path, run: Path, tmp_path: Path, nothing_is_embedded: Callable[[], None]
) -> None:
    found = []
    for features in (None, run / "features"):
        if features is not None:
            nothing_is_embedded()
        common = {"classifier": run / "classifier", "features": features, "device": "cpu"}
        name = str(features is None)
        calibrated, refitted = tmp_path / f"calibrated {name}", tmp_path / f"refit {name}"
        recalibrate(CalibrateConfig(images=photos / "images.csv", out=calibrated, **common))
        refit(RefitConfig(images=run / "split.csv", stage="ncm", out=refitted, **common))
        found += [read_json(folder / "calibration.json") for folder in (calibrated, refitted)]
    assert found[0]["images"] == 20
    assert_close(found[:2], found[2:])
