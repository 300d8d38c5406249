"""The verb `train`: what it refuses, what it reads, what it writes."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from taxonet.classifier import TaxonClassifier, resize_spec
from taxonet.data.decoding import StoredPhoto, load_image
from taxonet.data.resizing import ResizeSpec
from taxonet.data.sources import open_images
from taxonet.data.table import ImageTable
from taxonet.errors import ConfigError, DataError, TaxonomyError
from taxonet.recipes import load_recipe
from taxonet.recipes.verbs import TrainConfig
from taxonet.training import train
from tests.small_set import SPECIES, TRAIN, config, write_set


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ("model.head=linear", "loss={name: dual_margin}"),
            r"'dual_margin' takes cosines, .* 'linear' gives logits: set model.head to 'cosine'",
        ),
        (
            ("model.head=cosine",),
            r"'cross_entropy' takes logits, .* 'cosine' gives cosines: set model.head to 'linear'",
        ),
        (("selection={keep: lowest_norm}",), r"Norm-guided selection needs .*CrossEntropyLoss"),
        (("loss.margin_cos=0.1",), r"'cross_entropy' has no option 'margin_cos'"),
        (("augment={name: croop_flip}",), r"Did you mean 'crop_flip'"),
        (("model.backbone=resnet33",), r"resnet33"),
        (
            ("loss={name: ace, most_images: [8]}", "model.experts=3"),
            r"is for 2 experts, and the model has 3: set model.experts=2",
        ),
        (
            ("model.backbone=vit_tiny_patch16_224",),
            r"'vit_tiny_patch16_224' cannot look at images of 32 x 32 pixels .*model.image_size",
        ),
        (
            ("loss=am_softmax", "model={head: cosine, experts: 2}", "selection={}"),
            r"needs the embedding of one network.*Set model.experts=1",
        ),
        (
            (
                "loss=soft_max_margin",
                "transfer={similar: 1, similarity: prototypes, tail_shots: 9}",
            ),
            r"compares one vector a class.*set transfer.similarity to taxonomy",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    photos: Path, tmp_path: Path, changes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(config(photos, tmp_path / "run", *changes))
    assert not (tmp_path / "run").exists()


def test_nothing_of_the_users_is_replaced(photos: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("recipe.yaml", "split.csv", "epoch-1.safetensors"):
        (mine / name).write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="is no empty folder"):
        train(config(photos, mine))
    assert {path.read_text(encoding="utf-8") for path in mine.iterdir()} == {"mine"}


def test_shares_for_photos_without_splits_are_refused(photos: Path, tmp_path: Path) -> None:
    table = pd.read_csv(photos / "images.csv").drop(columns="split")
    table["image"] = [str(photos / image) for image in table["image"]]
    table.to_csv(tmp_path / "images.csv", index=False)
    given = config(photos, tmp_path / "run").model_dump(exclude_unset=True)
    asked = TrainConfig(**given | {"images": tmp_path / "images.csv", "val_share": 0})
    with pytest.raises(ConfigError, match="val_share: these photos have no splits"):
        train(asked)


def test_a_class_that_cannot_be_read_does_not_cost_the_run(tmp_path: Path) -> None:
    photos = write_set(tmp_path / "photos", train={**TRAIN, "Acer saccharum": 1})
    (photos / "images" / "Acer_saccharum_train_0.png").write_bytes(b"no image")
    changes = ("second_stage={stage: ncm}", "epochs=1")
    result = train(config(photos, tmp_path / "run", *changes, broken_share=1.0))
    assert "The second stage was left out" in result.notes[0]
    assert TaxonClassifier.load(result.classifier).parts.recipe.second_stage is None


def test_random_selection_goes_with_any_loss(photos: Path, tmp_path: Path) -> None:
    selection = "selection={keep: random, extra: 2, probability: 1.0}"
    train(config(photos, tmp_path / "run", selection, "epochs=1"))


def test_a_short_batch_keeps_as_many_images_as_it_had(photos: Path, tmp_path: Path) -> None:
    """All photos are one batch here, and the tail images put on top must push others out."""
    selection = "selection={keep: random, extra: 4, probability: 1.0}"
    train(config(photos, tmp_path / "run", selection, "batch_size=64", "epochs=1"))
    lines = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    (epoch,) = (one for one in map(json.loads, lines) if one["kind"] == "epoch")
    assert epoch["images"] == sum(TRAIN.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_device_is_refused_at_once(photos: Path, tmp_path: Path) -> None:
    given = config(photos, tmp_path / "run").model_copy(update={"device": "cuda"})
    with pytest.raises(ConfigError, match="'cuda' is not available"):
        train(given)
    assert not (tmp_path / "run").exists()


def test_a_run_on_rectangles_predicts_what_it_was_trained_on(photos: Path, tmp_path: Path) -> None:
    shape = "{image_size: [48, 32], interpolation: bicubic, crop_share: 0.9, fit: pad}"
    changes = (f"model={shape}", "augment=shift_flip", "second_stage={stage: ncm}", "epochs=1")
    classifier = TaxonClassifier.load(
        train(config(photos, tmp_path / "run", *changes)).classifier, device="cpu"
    )
    preprocessing = classifier.parts.preprocessing
    expected = ResizeSpec(size=(48, 32), fit="pad", interpolation="bicubic", crop_share=0.9)
    assert preprocessing.resize == resize_spec(classifier.parts.recipe.model) == expected
    index = pq.read_table(tmp_path / "run" / "classifier" / "index" / "training.parquet")
    (name, *_), (stored, *_) = index["image"].to_pylist(), index["embedding"].to_pylist()
    (found,) = classifier.embed([photos / name])
    np.testing.assert_allclose(found, stored, atol=1e-4)


def test_the_folder_of_a_run(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    given = config(photos, run, "loss.scale=16", recipe="taxonet")
    result = train(given)
    recipe = load_recipe("tiny,taxonet", given.set)
    assert load_recipe(run / "recipe.yaml") == recipe
    table = open_images(run / "split.csv")
    assert table.split_counts() == {"train": 40, "val": 20, "calibration": 20, "test": 20}
    assert all(table.read_bytes(row) for row in range(len(table)))  # paths hold from here too
    assert not (run / "broken.json").exists()
    assert (result.folder, result.classifier) == (run, run / "classifier")
    classifier = TaxonClassifier.load(result.classifier, device="cpu")
    names = [classifier.taxonomy.names[node] for node in classifier.class_nodes]
    assert names == list(SPECIES)
    assert classifier.class_counts.tolist() == list(TRAIN.values())
    assert classifier.parts.recipe == recipe
    assert classifier.network.head.scale == 16.0
    assert not list(run.glob(".*")), "nothing half-written stays"


def test_training_learns(photos: Path, tmp_path: Path) -> None:
    """More than chance, on photos that it did not see: the parts are wired up rightly."""
    result = train(config(photos, tmp_path / "run", "epochs=6", "optimiser.learning_rate=0.05"))
    assert result.val_macro_recall is not None
    assert result.val_macro_recall > 0.6  # chance is 0.2
    table = open_images(photos / "images.csv").split("test")
    rows = TaxonClassifier.load(result.classifier, device="cpu").predict(
        [table.source(row) for row in range(len(table))]
    )
    assert (rows["species"].to_numpy() == table.frame["taxon"].to_numpy()).mean() > 0.6


def test_no_test_photo_is_opened(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training never reads test photos; val is judged, calibration set thresholds, nothing else."""
    opened: list[str] = []
    source = ImageTable.source

    def watched(self: ImageTable, row: int) -> Path | bytes | StoredPhoto:
        name = self.name(row)
        if "_test_" in name:
            raise AssertionError(f"{name} is a test photo")
        opened.append(name)
        return source(self, row)

    monkeypatch.setattr(ImageTable, "source", watched)
    train(config(photos, tmp_path / "run", "epochs=3"))
    times = dict.fromkeys(("train", "val", "calibration"), 0)
    for name in opened:
        times[name.split("_")[2]] += 1
    # Train: three epochs, and the index, which reads once for the network and once for the hash.
    assert times == {"train": (3 + 2) * 40, "val": 3 * 20, "calibration": 20}


def test_the_test_photos_need_not_even_be_there(photos: Path, tmp_path: Path) -> None:
    copy = write_set(tmp_path / "photos")
    for path in (copy / "images").glob("*_test_*"):
        path.unlink()
    assert train(config(copy, tmp_path / "run", "epochs=1")).broken == {}


@pytest.mark.parametrize("split", ["val", "calibration"])
def test_what_a_split_decides(photos: Path, tmp_path: Path, split: str) -> None:
    """Other val photos change no weight of an epoch; other calibration photos no epoch either."""
    other = write_set(tmp_path / "photos")
    for path in (other / "images").glob(f"*_{split}_*"):
        path.write_bytes((other / "images" / "Acer_rubrum_val_0.png").read_bytes())
    changes = ("keep_epoch=last", "epochs=4", "optimiser.learning_rate=0.05")
    one = train(config(photos, tmp_path / "one", *changes))
    two = train(config(other, tmp_path / "two", *changes))
    weights = [(run.classifier / "model.safetensors").read_bytes() for run in (one, two)]
    assert weights[0] == weights[1]
    assert (one.val_macro_recall == two.val_macro_recall) == (split == "calibration")
    settings = [(run.classifier / "calibration.json").read_text() for run in (one, two)]
    assert (settings[0] == settings[1]) == (split == "val")


def test_the_index_lists_the_readable_training_photos(photos: Path, tmp_path: Path) -> None:
    copy = write_set(tmp_path / "photos")
    (copy / "images" / "Rosa_gallica_train_3.png").write_bytes(b"")
    result = train(config(copy, tmp_path / "run", "epochs=1"))
    index = pq.read_table(result.classifier / "index" / "training.parquet").to_pandas()
    table = open_images(copy / "images.csv").split("train")
    wanted = table.frame[table.frame["image"] != "images/Rosa_gallica_train_3.png"]
    assert index["image"].tolist() == wanted["image"].tolist()
    digests = [sha256((copy / name).read_bytes()).hexdigest() for name in index["image"]]
    assert index["sha256"].tolist() == digests
    assert index["class"].tolist() == [SPECIES.index(name) for name in wanted["taxon"]]
    classifier = TaxonClassifier.load(result.classifier, device="cpu")
    embeddings = classifier.embed([load_image(copy / name) for name in index["image"]])
    np.testing.assert_allclose(np.stack(index["embedding"]), embeddings, rtol=1e-4, atol=1e-5)


def test_no_tail_class_is_noted_once(photos: Path, tmp_path: Path) -> None:
    changes = ("selection.tail_shots=3", "selection.probability=1.0", "epochs=1")
    result = train(config(photos, tmp_path / "run", *changes, recipe="taxonet"))
    assert result.notes == (
        "No class has fewer than 3 training photos, so no batch was extended with tail images.",
    )
    (line,) = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["tail_kept"] == 0


def test_photos_of_taxa_without_training_photos_are_noted(tmp_path: Path) -> None:
    photos = write_set(tmp_path / "photos", train={**TRAIN, "Acer rubrum": 0})
    result = train(config(photos, tmp_path / "run", "epochs=1"))
    left_out = "4 photos of the split {} were left out: their taxa have no training photo."
    assert set(result.notes) == {left_out.format(name) for name in ("val", "calibration", "test")}


def test_photos_without_splits_and_without_a_taxonomy(photos: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "labels.csv"
    frame = pd.read_csv(photos / "images.csv").drop(columns="split")
    frame["image"] = [str(photos / name) for name in frame["image"]]
    frame.to_csv(manifest, index=False)
    given = config(photos, tmp_path / "run", "epochs=1")
    train(given.model_copy(update={"images": manifest, "taxonomy": None}))
    counts = open_images(tmp_path / "run" / "split.csv").split_counts()
    assert sum(counts.values()) == 100
    assert counts["train"] > 60
    assert min(counts.values()) > 5
    classifier = TaxonClassifier.load(tmp_path / "run" / "classifier", device="cpu")
    assert classifier.taxonomy.ranks == ("taxon",)
    assert [str(classifier.taxonomy.names[node]) for node in classifier.class_nodes] == sorted(
        SPECIES
    )


def test_what_the_photos_came_with_is_noted(photos: Path, tmp_path: Path) -> None:
    for path in (photos / "images").glob("Rosa_*_train_*"):
        label = "_".join(path.name.split("_")[:2])
        (tmp_path / "mine" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / label / path.name).write_bytes(path.read_bytes())
    (tmp_path / "mine" / "notes.txt").write_text("not a photo")
    given = config(photos, tmp_path / "run", "epochs=1")
    result = train(given.model_copy(update={"images": tmp_path / "mine"}))
    assert result.notes == ("Left out 1 files of the kind .txt (first: notes.txt).",)


def test_unknown_labels_are_refused_with_near_misses(photos: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "images.csv"
    text = (photos / "images.csv").read_text()
    manifest.write_text(text.replace("Rosa canina,train", "Rosa cannina,train"))
    given = config(photos, tmp_path / "run").model_copy(update={"images": manifest})
    with pytest.raises(TaxonomyError, match=r"'Rosa cannina' matches nothing; near: 'Rosa canina'"):
        train(given)


def test_one_class_is_refused(tmp_path: Path) -> None:
    photos = write_set(tmp_path / "photos", train={"Rosa canina": 8})
    with pytest.raises(DataError, match="telling taxa apart needs at least two"):
        train(config(photos, tmp_path / "run"))


def test_photos_inside_a_table_train_the_same(photos: Path, tmp_path: Path) -> None:
    on_disk = open_images(photos / "images.csv")
    rows = range(len(on_disk))
    frame = on_disk.frame.assign(bytes=[on_disk.read_bytes(row) for row in rows])
    frame.to_parquet(tmp_path / "images.parquet")
    given = config(photos, tmp_path / "run").model_copy(
        update={"images": tmp_path / "images.parquet"}
    )
    inside, beside = train(given), train(config(photos, tmp_path / "other"))
    weights = [(run.classifier / "model.safetensors").read_bytes() for run in (inside, beside)]
    assert weights[0] == weights[1]
    kept = open_images(tmp_path / "run" / "split.parquet")
    assert kept.frame["split"].tolist() == on_disk.frame["split"].tolist()
    assert kept.read_bytes(3) == on_disk.read_bytes(3)
