"""Learning from features that a frozen backbone made once."""

import json
import re
from pathlib import Path
from shutil import copytree

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import taxonet
from taxonet.classifier import Embedder, TaxonClassifier
from taxonet.classifier.feature_batches import feature_batches
from taxonet.data import open_images
from taxonet.data.decoding import StoredPhoto
from taxonet.data.features import FeatureStore, photo_digests
from taxonet.data.resizing import ResizeSpec
from taxonet.data.transforms import plain
from taxonet.errors import ConfigError
from taxonet.models import build_network
from taxonet.progress import Progress
from taxonet.recipes import load_recipe, preset_names
from taxonet.recipes.verbs import TrainConfig
from taxonet.training import Interrupted, train
from taxonet.training.features import check_features
from taxonet.training.loop import Trainer
from taxonet.training.views import with_input_of_weights
from tests.small_set import SPECIES, config, write_set

STORED = ("features={}", "model.weights=none")

#: Methods that need photos, or several backbones.
NEED_PHOTOS = {
    "ace",
    "bcl",
    "bs-cmo",
    "cmo",
    "cutmix",
    "dbm-bcl",
    "dbm-gml",
    "dbm-ncl",
    "dro",
    "dro-crt",
    "dro-pc",
    "dro-wd-maxnorm",
    "gml",
    "hierarchical-supcon",
    "lift-bs",
    "lift-dbm-bs",
    "ncl",
    "ride",
    "supcon",
}
#: Those that choose by norms, which a neck has to shape.
NEED_A_NECK = {"dbm-norm-guided", "taxonet"}


def methods() -> list[str]:
    return [name.removeprefix("method/") for name in preset_names() if name.startswith("method/")]


@pytest.mark.parametrize("name", methods())
def test_which_methods_learn_from_stored_features(name: str) -> None:
    recipe = load_recipe(f"quick,method/{name}")
    assert recipe.features is not None
    if name in NEED_PHOTOS:
        with pytest.raises(ConfigError, match="finetune"):
            check_features(recipe)
    elif name in NEED_A_NECK:
        with pytest.raises(ConfigError, match=r"model\.neck to linear"):
            check_features(recipe)
        check_features(load_recipe(f"quick,method/{name}", ["model.neck=linear"]))
    else:
        check_features(recipe)


def test_both_lists_name_methods_that_there_are() -> None:
    assert set(methods()) >= NEED_PHOTOS | NEED_A_NECK


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("model.experts=3", "several experts"),
        ("mixing.name=cutmix", "cutmix pastes pixels"),
        ("model.adapter=lora", "adapter 'lora'"),
        ("words={}", "names of taxa"),
        ("model.test_crops=5", "test_crops=5"),
        ("second_stage={stage: crt, augment: crop_flip}", "second_stage.augment"),
    ],
)
def test_what_needs_photos_is_refused_with_what_to_do(
    photos: Path, tmp_path: Path, change: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=f"{re.escape(reason)}.*features to null"):
        train(config(photos, tmp_path / "run", *STORED, change))


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_it_is_a_frozen_backbone_without_augmentation(
    photos: Path, tmp_path: Path, head: str
) -> None:
    """The fast path is the plain path: the same head, calibration, index and log."""
    recipe = "cross_entropy" if head == "linear" else "method/dbm-bs"
    common = ("epochs=3", "augment=plain", "model.frozen=true")
    slow = train(config(photos, tmp_path / "slow", *common, recipe=recipe))
    fast = train(config(photos, tmp_path / "fast", *common, *STORED, recipe=recipe))
    assert fast.val_macro_recall == slow.val_macro_recall
    one, other = (TaxonClassifier.load(run.classifier, device="cpu") for run in (slow, fast))
    for key, weights in one.network.state_dict().items():
        torch.testing.assert_close(other.network.state_dict()[key], weights, rtol=1e-4, atol=1e-5)
    first, second = (
        pq.read_table(run.classifier / "index" / "training.parquet").to_pandas()
        for run in (slow, fast)
    )
    assert first["sha256"].tolist() == second["sha256"].tolist()
    np.testing.assert_allclose(
        np.stack(first["embedding"].to_list()), np.stack(second["embedding"].to_list()), atol=1e-5
    )


def test_another_loss_embeds_nothing_again(photos: Path, tmp_path: Path) -> None:
    first = train(config(photos, tmp_path / "one", *STORED))
    store = first.folder / "features"
    files = {path: path.stat().st_mtime_ns for path in store.glob("0*")}
    given = config(photos, tmp_path / "two", *STORED, recipe="method/dbm-bs")
    train(given.model_copy(update={"features": store}))
    assert {path: path.stat().st_mtime_ns for path in store.glob("0*")} == files
    assert not (tmp_path / "two" / "features").exists()


def test_a_store_of_other_preprocessing_is_refused(photos: Path, tmp_path: Path) -> None:
    first = train(config(photos, tmp_path / "one", *STORED))
    given = config(photos, tmp_path / "two", *STORED, "model.fit=pad")
    with pytest.raises(ConfigError, match=r"fit.*--features"):
        train(given.model_copy(update={"features": first.folder / "features"}))


def test_broken_photos_become_records(tmp_path: Path) -> None:
    photos = write_set(tmp_path / "photos")
    broken = "images/Rosa_canina_train_3.png"
    (photos / broken).write_bytes(b"no image")
    result = train(config(photos, tmp_path / "run", *STORED, broken_share=0.5))
    assert list(result.broken) == [broken]
    assert "not an image" in json.loads((result.folder / "broken.json").read_text())[broken]
    index = pq.read_table(result.classifier / "index" / "training.parquet")
    assert broken not in index["image"].to_pylist()


def test_views_are_drawn_and_tail_candidates_see_augmix(photos: Path, tmp_path: Path) -> None:
    changes = (
        "model.neck=linear",
        "features.views=3",
        "selection={tail_shots: 9, probability: 1.0}",
    )
    result = train(
        config(photos, tmp_path / "run", *STORED, *changes, "epochs=3", recipe="taxonet")
    )
    # 40 training photos in 3 views, 16 of them as tail candidates in 2 more, 20 + 20 others.
    assert len(FeatureStore.read(result.folder / "features")) == 40 * 3 + 16 * 2 + 40
    log = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert sum(one.get("tail_kept", 0) for one in log) > 0


@pytest.mark.parametrize("stage", ["ncm", "crt", "prototype", "tau_norm", "lws"])
def test_second_stages_learn_from_the_store(photos: Path, tmp_path: Path, stage: str) -> None:
    options = ", learning_rate: 0.01" if stage == "prototype" else ""
    result = train(
        config(
            photos, tmp_path / "run", *STORED, f"second_stage={{stage: {{name: {stage}{options}}}}}"
        )
    )
    assert result.notes == ()
    assert result.load(device="cpu").parts.recipe.second_stage is not None


def test_training_and_prediction_from_python(photos: Path, tmp_path: Path) -> None:
    result = taxonet.train(
        photos / "images.csv",
        taxonomy=photos / "taxonomy.csv",
        recipe="tiny",
        set=("model.backbone=test_resnet", "model.image_size=32", "features={}", "epochs=2"),
        out=tmp_path / "run",
        device="cpu",
    )
    table = open_images(photos / "images.csv").split("test")
    rows = result.load(device="cpu").predict([table.source(0)])
    assert rows["species"][0] in SPECIES
    with pytest.raises(ConfigError, match="unknown key"):
        taxonet.train(photos / "images.csv", epochs=3)


def test_the_input_follows_the_weights() -> None:
    model = with_input_of_weights(load_recipe("quick")).model
    assert (model.image_size, model.interpolation, model.crop_share) == (224, "bicubic", 0.875)
    given = with_input_of_weights(load_recipe("quick", ["model.image_size=[96, 64]"])).model
    assert (given.image_size, given.crop_share) == ((96, 64), 0.875)
    assert with_input_of_weights(load_recipe("tiny")).model.input_size == (64, 64)


@pytest.fixture(scope="module")
def earlier(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier alone: neither its run nor its photos are needed any more."""
    folder = tmp_path_factory.mktemp("earlier")
    result = train(config(photos, folder / "run", *STORED, recipe="method/dbm-bs"))
    copytree(result.classifier, folder / "classifier")
    return folder / "classifier"


def more_photos(tmp_path: Path) -> Path:
    """A taxon more, and two photos that the earlier classifier knows."""
    species = {"Rubus idaeus": 6, "Rubus caesius": 7}
    photos = write_set(tmp_path / "more", train=species)
    known = write_set(tmp_path / "known")
    for number in range(2):
        name = f"Rubus_idaeus_train_{number}.png"
        (photos / "images" / name).write_bytes((known / "images" / name).read_bytes())
    return photos


def test_photos_and_taxa_are_added_to_an_earlier_classifier(earlier: Path, tmp_path: Path) -> None:
    photos = more_photos(tmp_path)
    given = config(photos, tmp_path / "run").model_copy(
        update={"from_": earlier, "recipe": None, "set": ("epochs=2",)}
    )
    result = train(given)
    old, new = TaxonClassifier.load(earlier, device="cpu"), result.load(device="cpu")
    assert new.parts.recipe.loss == old.parts.recipe.loss
    counts = dict(
        zip((new.taxonomy.path(int(n))[-1] for n in new.class_nodes), new.class_counts, strict=True)
    )
    # Drawn photos of one name are the same photo, so that all of Rubus idaeus are known.
    assert counts["Rubus caesius"] == 7
    assert counts["Rosa canina"] == 14
    assert any("known to" in note for note in result.notes)
    assert new.calibration.images > 0
    rows = new.predict([photos / "images" / "Rubus_caesius_test_0.png"])
    assert rows["genus"].notna().all()
    # And once more, from what it left.
    again = given.model_copy(update={"from_": result.classifier, "out": tmp_path / "again"})
    assert train(again).load(device="cpu").class_counts.sum() == new.class_counts.sum()


def test_going_on_needs_a_classifier_of_features(
    photos: Path, earlier: Path, tmp_path: Path
) -> None:
    other = train(config(photos, tmp_path / "other", "epochs=1"))
    given = config(photos, tmp_path / "run", *STORED)
    with pytest.raises(ConfigError, match="was not trained that way"):
        train(given.model_copy(update={"from_": other.classifier}))
    with pytest.raises(ConfigError, match="train on all photos"):
        train(
            config(photos, tmp_path / "third", *STORED, "model.fit=pad").model_copy(
                update={"from_": earlier}
            )
        )


def test_a_probe_comes_before_all_layers_train(photos: Path, tmp_path: Path) -> None:
    probe = ("probe={epochs: 3, batch_size: 4}", "epochs=1", "optimiser.learning_rate=1e-9")
    result = train(config(photos, tmp_path / "run", *probe))
    kept = result.load(device="cpu").network.head.weight
    alone = config(
        photos,
        tmp_path / "alone",
        *STORED,
        "epochs=3",
        "optimiser={name: adamw, learning_rate: 1.0e-3, weight_decay: 1.0e-4}",
    )
    expected = train(alone).load(device="cpu").network.head.weight
    torch.testing.assert_close(kept, expected, rtol=1e-4, atol=1e-5)
    log = (result.folder / "probe" / "log.jsonl").read_text()
    assert log.count('"kind": "epoch"') == 3


def test_finetune_trains_all_layers_from_the_head_on(photos: Path, tmp_path: Path) -> None:
    given = config(photos, tmp_path / "run", "model.weights=none", recipe="finetune")
    result = train(given.model_copy(update={"set": (*given.set, "probe.epochs=2")}))
    recipe = result.load(device="cpu").parts.recipe
    assert (recipe.features, recipe.loss.name) == (None, "dbm")
    assert recipe.optimiser.name == "adamw"
    assert recipe.ema is not None
    assert (result.folder / "probe").is_dir()
    assert recipe.model.freeze_batch_norm


def test_finetuning_is_resumed_where_it_stopped(photos: Path, tmp_path: Path) -> None:
    changes = ("probe={epochs: 2, batch_size: 4}", "epochs=2", "ema=0.9")
    given = config(photos, tmp_path / "run", *changes)
    first = train(given).load(device="cpu").network.state_dict()
    again = train(given.model_copy(update={"resume": True})).load(device="cpu")
    for key, weights in again.network.state_dict().items():
        assert torch.equal(weights, first[key]), key


def test_a_stopped_probe_can_be_resumed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = config(photos, tmp_path / "run", "probe={epochs: 3, batch_size: 4}", "epochs=1")
    run_epoch, epochs = Trainer._run_epoch, iter(range(10))

    def stop(self: Trainer, progress: Progress) -> None:
        if next(epochs) == 1:
            raise Interrupted
        run_epoch(self, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_run_epoch", stop)
        with pytest.raises(Interrupted):
            train(given)
    with pytest.raises(ConfigError, match="Add --resume"):
        train(given)
    resumed = train(given.model_copy(update={"resume": True})).load(device="cpu")
    whole = train(given.model_copy(update={"out": tmp_path / "whole"})).load(device="cpu")
    for key, weights in whole.network.state_dict().items():
        assert torch.equal(weights, resumed.network.state_dict()[key]), key


def test_a_changed_probe_keeps_its_update_rule() -> None:
    probe = load_recipe("finetune", ["probe.optimiser.learning_rate=0.01"]).probe
    assert probe is not None
    assert (probe.optimiser.name, probe.optimiser.weight_decay) == ("adamw", 1e-4)
    with pytest.raises(ConfigError, match="one of them to null"):
        load_recipe("finetune", ["features={views: 2}"])


def test_a_network_that_was_moved_to_embed_can_still_be_trained() -> None:
    network = build_network(backbone="resnet32", head="linear", classes=2, seed=0).double()
    spec = ResizeSpec(size=(32, 32))
    # On this device `to` moves nothing; to another precision it makes new tensors, too.
    move = network.to
    network.to = lambda device: move(torch.float32)  # type: ignore[method-assign,assignment]
    photo = Image.new("RGB", (32, 32))
    batches = feature_batches(
        network, [photo, photo], plain(spec), device=torch.device("cpu"), batch_size=2
    )
    assert sum(len(features) for _, features, _ in batches) == 2
    scores = network.train()(torch.rand(2, 3, 32, 32)).scores
    torch.autograd.backward(scores.sum())


def test_a_photo_that_is_not_at_hand_is_not_called_broken(earlier: Path, tmp_path: Path) -> None:
    parts = TaxonClassifier.load(earlier, device="cpu").parts
    embedder = Embedder.open(
        tmp_path / "store",
        parts.network,
        parts.preprocessing,
        model=parts.recipe.model,
        device=torch.device("cpu"),
    )
    path = tmp_path / "photo.png"
    Image.new("RGB", (32, 32), "green").save(path)
    (digest,), _ = photo_digests([path])
    assert list(embedder.add([("far away", StoredPhoto(digest))]).broken) == [0]
    assert not embedder.add([("here", path)]).broken


def test_augmented_views_are_of_the_photos_at_hand(earlier: Path, tmp_path: Path) -> None:
    given = config(more_photos(tmp_path), tmp_path / "run").model_copy(
        update={"from_": earlier, "recipe": None, "set": ("epochs=1", "features.views=2")}
    )
    assert train(given).load(device="cpu").class_counts.sum() == 51


def test_photos_with_their_bytes_inside_go_on_too(earlier: Path, tmp_path: Path) -> None:
    folder = more_photos(tmp_path)
    frame = pd.read_csv(folder / "images.csv")
    frame["bytes"] = [(folder / name).read_bytes() for name in frame["image"]]
    frame.to_parquet(folder / "images.parquet")
    given = config(folder, tmp_path / "run").model_copy(
        update={
            "from_": earlier,
            "recipe": None,
            "set": ("epochs=1",),
            "images": folder / "images.parquet",
        }
    )
    result = train(given)
    assert result.load(device="cpu").class_counts.sum() == 51
    assert (result.folder / "split.parquet").is_file()


def test_what_an_earlier_classifier_decides_is_not_asked_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="its own backbone and splits"):
        TrainConfig(images=tmp_path, from_=tmp_path, backbone="resnet50")
