"""A classifier that reads a feature store names photos as one that looks at them."""

import multiprocessing
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from taxonet.classifier import Calibration, Embedder, TaxonClassifier, predict_to_file
from taxonet.classifier.embedder import space_of
from taxonet.data.features import FeatureStore
from taxonet.data.transforms import crop_flip
from taxonet.errors import ConfigError
from taxonet.models import build_network
from taxonet.recipes import ModelRecipe
from taxonet.recipes.verbs import PredictConfig
from tests.helpers import save_photo, tiny_parts


@pytest.fixture
def stored(classifier: TaxonClassifier, tmp_path: Path) -> TaxonClassifier:
    """The classifier of all tests, with an empty store."""
    return TaxonClassifier(classifier.parts, device="cpu", features=tmp_path / "features")


def embedder_of(
    classifier: TaxonClassifier, folder: Path, model: ModelRecipe | None = None
) -> Embedder:
    parts = classifier.parts
    return Embedder.open(
        folder,
        parts.network,
        parts.preprocessing,
        model=parts.recipe.model if model is None else model,
        device=torch.device("cpu"),
    )


def assert_same_rows(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    figures = expected.select_dtypes("number").columns
    assert len(figures) > 3
    pd.testing.assert_frame_equal(
        found[figures], expected[figures], check_exact=False, rtol=0, atol=1e-5
    )
    pd.testing.assert_frame_equal(found.drop(columns=figures), expected.drop(columns=figures))


@pytest.mark.parametrize("batch_size", [None, 1, 5])
def test_rows_are_those_of_the_photos(
    classifier: TaxonClassifier,
    stored: TaxonClassifier,
    photos: list[str],
    batch_size: int | None,
) -> None:
    images = [*photos, photos[0]]
    expected = classifier.predict(images, top_k=2)
    assert expected["error"].notna().sum() == 2
    for _ in range(2):  # the second time all is in the store
        found = stored.predict(images, top_k=2, batch_size=batch_size)
        assert_same_rows(found, expected)


def test_photos_that_the_store_lacks_are_added(
    stored: TaxonClassifier, photos: list[str], tmp_path: Path
) -> None:
    stored.predict(photos[:3])
    assert len(FeatureStore.read(tmp_path / "features")) == 3
    stored.predict(photos)
    assert len(FeatureStore.read(tmp_path / "features")) == 12


def test_what_is_stored_is_not_looked_at_again(
    stored: TaxonClassifier, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = stored.predict(photos[:3])
    monkeypatch.setattr(stored.network, "features", None)  # to call it is an error
    assert_same_rows(stored.predict(photos[:3]), expected)
    with pytest.raises(TypeError):
        stored.predict(photos[4:5])


def test_another_calibration_keeps_the_store(
    stored: TaxonClassifier,
    photos: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored.predict(photos)
    other = stored.with_calibration(Calibration(temperature=2.0))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").glob("0*")}
    plain = TaxonClassifier(other.parts, device="cpu").predict(photos)
    monkeypatch.setattr(other.network, "features", None)  # to call it is an error
    assert_same_rows(other.predict(photos), plain)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "features").glob("0*")} == files


def test_a_changed_photo_is_embedded_again(
    classifier: TaxonClassifier, stored: TaxonClassifier, tmp_path: Path
) -> None:
    path = save_photo(tmp_path / "same name.png", 0)
    before = stored.predict([path])
    save_photo(path, 1)
    after = stored.predict([path])
    assert_same_rows(after, classifier.predict([path]))
    assert after["scientificName"][0] != before["scientificName"][0]


def test_a_store_of_other_weights_is_refused(stored: TaxonClassifier, tmp_path: Path) -> None:
    parts = stored.parts
    other = build_network(
        backbone="resnet32", head="cosine", classes=6, seed=1, colours=parts.preprocessing
    )
    with pytest.raises(ConfigError, match=r"weights_sha256.*--features"):
        TaxonClassifier(replace(parts, network=other), features=tmp_path / "features")


def test_files_of_predictions_agree(saved: Path, photos: list[str], tmp_path: Path) -> None:
    out = {}
    for name, features in (("plain", None), ("stored", tmp_path / "features")):
        config = PredictConfig(
            classifier=saved,
            images=tuple(photos),
            out=tmp_path / f"{name}.csv",
            features=features,
            device="cpu",
        )
        summary = predict_to_file(config)
        assert (summary.images, summary.unreadable) == (14, 2)
        out[name] = pd.read_csv(config.out)
    assert_same_rows(out["stored"], out["plain"])


def test_a_photo_without_finite_features_is_broken_everywhere(
    photos: list[str], tmp_path: Path
) -> None:
    parts = tiny_parts()
    classifier = TaxonClassifier(parts, device="cpu", features=tmp_path / "features")
    parts.network.backbone.register_forward_hook(
        lambda _, __, features: features.index_fill(0, torch.tensor([1]), float("nan"))
    )
    rows = classifier.predict(photos[:3])
    assert rows["error"].notna().tolist() == [False, True, False]
    assert "no finite numbers" in rows["error"][1]
    (reason,) = FeatureStore.read(tmp_path / "features").broken().values()
    assert reason == rows["error"][1]


@pytest.mark.parametrize(
    "change", ["weight", "batch norm statistics", "mean", "std", "size", "options"]
)
def test_what_a_space_is_told_apart_by(change: str) -> None:
    parts = tiny_parts()
    network, preprocessing, model = parts.network, parts.preprocessing, parts.recipe.model
    before = space_of(network, preprocessing, model=model)
    assert space_of(tiny_parts().network, preprocessing, model=model) == before
    if change == "weight":
        next(network.backbone.parameters()).data[0, 0, 0, 0] += 1e-3
    elif change == "batch norm statistics":
        name = next(name for name, _ in network.backbone.named_buffers() if "running_var" in name)
        network.backbone.get_buffer(name)[0] += 1e-3
    elif change == "options":
        model = model.model_copy(update={"options": {"global_pool": "max"}})
    else:
        values = {"mean": (0.5, 0.5, 0.4), "std": (0.25, 0.25, 0.2), "size": (32, 33)}
        key = "image_size" if change == "size" else change
        preprocessing = preprocessing.model_copy(update={key: values[change]})
    assert space_of(network, preprocessing, model=model) != before


def test_the_head_is_no_part_of_a_space() -> None:
    parts = tiny_parts()
    before = space_of(parts.network, parts.preprocessing, model=parts.recipe.model)
    parts.network.head.weight.data += 1
    assert space_of(parts.network, parts.preprocessing, model=parts.recipe.model) == before


def test_several_crops_are_refused(classifier: TaxonClassifier, tmp_path: Path) -> None:
    crops = classifier.parts.preprocessing.model_copy(update={"test_crops": 5})
    with pytest.raises(ConfigError, match="5 crops"):
        TaxonClassifier(
            replace(classifier.parts, preprocessing=crops), features=tmp_path / "features"
        )


def test_options_of_the_backbone_are_refused_by_their_name(
    classifier: TaxonClassifier, tmp_path: Path
) -> None:
    embedder_of(classifier, tmp_path / "store")
    model = ModelRecipe(backbone="resnet32", options={"global_pool": "max"})
    with pytest.raises(ConfigError, match=re.escape("options.global_pool is 'nothing'")):
        embedder_of(classifier, tmp_path / "store", model)


def test_what_will_happen_is_said_before_it_begins(
    classifier: TaxonClassifier,
    photos: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedder = embedder_of(classifier, tmp_path / "store")
    images = [(photo, photo) for photo in photos]
    embedder.add(images[:2])
    assert capsys.readouterr().err == ""
    told = []
    writer = embedder.store.writer

    def at_the_start() -> object:
        told.append(capsys.readouterr().err)
        return writer()

    monkeypatch.setattr(embedder.store, "writer", at_the_start)
    embedder.add(images, shown=True)
    megabytes = embedder.store.bytes_for(11) / 1e6  # fourteen without two and a missing file
    assert re.search(
        rf"Embedding 11 photos with resnet32 into {tmp_path}/store: 2 others are stored already; "
        rf"about \d+ s and {megabytes:.1f} MB\.\n",
        told[0],
    )


def test_augmented_views_are_drawn_for_each_photo(
    classifier: TaxonClassifier, photos: list[str], tmp_path: Path
) -> None:
    """By the bytes of the photo and the view: neither order, batch nor folder play a part."""
    images = [(photo, photo) for photo in (*photos[:3], *photos[4:7])]
    transform = crop_flip(classifier.parts.preprocessing.resize)
    one, other = (embedder_of(classifier, tmp_path / name) for name in ("one", "other"))

    def view(embedder: Embedder, key: str, named: list[tuple[str, str]], size: int) -> torch.Tensor:
        found = embedder.add(named, view=key, transform=transform, batch_size=size)
        return embedder.features(found, view=key)

    first = view(one, "a", images, 2)
    again = view(other, "a", images[::-1], 3).flip(0)
    torch.testing.assert_close(first, again, rtol=0, atol=1e-5)
    second = view(one, "b", images, 2)
    assert ((first - second).abs().amax(dim=1) > 1e-3).all()
    plain = one.features(one.add(images))
    assert ((first - plain).abs().amax(dim=1) > 1e-3).any()


def _hold_the_lock(folder: Path, ready: object, done: object) -> None:
    with FeatureStore.read(folder).writer():
        ready.set()  # type: ignore[attr-defined] # events have no public type
        done.wait(60)  # type: ignore[attr-defined]


@pytest.fixture
def busy(stored: TaxonClassifier, photos: list[str], tmp_path: Path) -> Iterator[None]:
    """Another process that is writing to the store."""
    stored.predict(photos[:3])
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold_the_lock, args=(tmp_path / "features", ready, done))
    process.start()
    assert ready.wait(60)
    yield
    done.set()
    process.join(60)


@pytest.mark.usefixtures("busy")
def test_two_processes_write_one_after_the_other(
    classifier: TaxonClassifier, stored: TaxonClassifier, photos: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="Another process is adding"):
        stored.predict(photos)
    # What is stored can be read all the while, and nothing of it is lost.
    assert_same_rows(stored.predict(photos[:3]), classifier.predict(photos[:3]))
    assert len(FeatureStore.read(tmp_path / "features")) == 3


def test_a_store_goes_on_after_the_other_process_has_ended(
    classifier: TaxonClassifier, stored: TaxonClassifier, photos: list[str], tmp_path: Path
) -> None:
    """Both have opened the store before either writes to it."""
    other = TaxonClassifier(classifier.parts, device="cpu", features=tmp_path / "features")
    stored.predict(photos[:6])
    assert_same_rows(other.predict(photos[2:]), classifier.predict(photos[2:]))
    assert len(FeatureStore.read(tmp_path / "features")) == 12
