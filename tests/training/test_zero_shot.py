"""A classifier made of names: what it scores, what it keeps, what it needs to be used."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from taxonet.classifier import TaxonClassifier
from taxonet.errors import ConfigError, DataError
from taxonet.evaluation import evaluate
from taxonet.models import TextTower, load_towers, save_towers
from taxonet.recipes.verbs import CalibrateConfig, EvaluateConfig, ZeroShotConfig
from taxonet.report import evaluation_report, render_html
from taxonet.training import recalibrate, zero_shot
from tests.small_set import SPECIES, write_set
from tests.tiny_clip import model_config


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP model on disk, as open_clip writes one; its weights are random."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny.json").write_text(json.dumps(model_config(quick_gelu=True)))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        towers = load_towers(f"clip:{folder / 'tiny.json'}", weights="none")
    save_towers(towers, folder / "tiny", logit_scale=20.0)
    return folder / "tiny"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def make(model: Path, photos: Path, tmp_path: Path) -> Any:
    def made(**options: Any) -> Path:
        given: dict[str, Any] = {"model": f"local-dir:{model}", "out": tmp_path / "zero-shot"}
        given["taxonomy"] = photos / "taxonomy.csv"
        return zero_shot(ZeroShotConfig(**(given | options))).classifier

    return made


def photo_of(photos: Path) -> Path:
    return next((photos / "images").glob("*test_0.png"))


def cosines(classifier: TaxonClassifier, model: Path, photo: Path, texts: list[str]) -> Any:
    """What the bare towers say of a photo and some texts."""
    towers = load_towers(f"clip:local-dir:{model}", weights="pretrained")
    towers.image.eval()
    towers.text.eval()
    (embedding,) = classifier.embed([photo])
    with torch.no_grad():
        names = F.normalize(towers.text(towers.text.tokenize(texts)), dim=1)
    return F.normalize(torch.from_numpy(embedding), dim=0) @ names.T


def test_probabilities_are_those_of_the_towers(make: Any, model: Path, photos: Path) -> None:
    classifier = TaxonClassifier.load(make(), device="cpu")
    photo, tree = photo_of(photos), classifier.taxonomy
    names = [str(tree.names[node]) for node in classifier.class_nodes]
    assert sorted(names) == sorted(SPECIES)
    found = cosines(classifier, model, photo, [f"a photo of a {name}" for name in names])
    row = classifier.predict([photo]).iloc[0]
    best = int(found.argmax())
    wanted = torch.softmax(20.0 * found, dim=0)[best]
    assert row["species_probability"] == pytest.approx(float(wanted), abs=1e-4)
    assert row["species"] == names[best]


def test_every_level_has_names_of_its_own_if_asked_for(
    make: Any, model: Path, photos: Path
) -> None:
    classifier = TaxonClassifier.load(make(levels="all", names="path"), device="cpu")
    photo, tree = photo_of(photos), classifier.taxonomy
    genera = tree.at_rank("genus")
    paths = [
        f"a photo of a {' '.join(str(name) for name in tree.path(int(node)))}" for node in genera
    ]
    found = torch.softmax(20.0 * cosines(classifier, model, photo, paths), dim=0)
    (batch,) = classifier.score([("photo", photo)])
    probs = classifier.node_probs(batch.logits)[0, torch.from_numpy(np.asarray(genera))]
    torch.testing.assert_close(probs, found, rtol=1e-3, atol=1e-4)


def test_prediction_needs_neither_the_text_tower_nor_the_model(
    make: Any, photos: Path, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = make()
    rows = TaxonClassifier.load(folder, device="cpu").predict([photo_of(photos)])
    hidden = model.with_name("hidden")
    model.rename(hidden)
    try:
        monkeypatch.setattr(TextTower, "__init__", None)
        again = TaxonClassifier.load(folder, device="cpu").predict([photo_of(photos)])
    finally:
        hidden.rename(model)
    pd.testing.assert_frame_equal(again, rows)
    state = json.loads((folder / "classifier.json").read_text())
    assert state["architecture"]["model_cfg"]["quick_gelu"] is True
    assert state["class_counts"] == [0] * len(SPECIES)


def test_it_is_used_like_any_other(make: Any, photos: Path, tmp_path: Path) -> None:
    folder = make()
    calibrated = recalibrate(
        CalibrateConfig(
            classifier=folder,
            images=photos / "images.csv",
            policy="climbing",
            set=("alpha=0.5",),
            out=tmp_path / "calibrated",
            device="cpu",
        )
    )
    assert any("no index of its training photos" in note for note in calibrated.notes)
    found = evaluate(
        EvaluateConfig(classifier=calibrated.classifier, images=photos / "images.csv", device="cpu")
    )
    assert found.metrics["test"]["levels"]["class"]["classes"] == len(SPECIES)
    assert found.metrics["test"]["seen_in_training"] is None
    page = render_html(evaluation_report({"zero shot": found}, title="Names"))
    assert "The long tail" not in page  # no photo was trained on
    assert "by the number of training photos" not in page
    assert "none: it knows taxa by their names" in (folder / "README.md").read_text()


def test_names_are_embedded_once(
    make: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "texts"
    first = TaxonClassifier.load(make(text_cache=cache), device="cpu")
    assert len(list(cache.glob("*.npy"))) == 1
    monkeypatch.setattr(TextTower, "forward", None)
    second = TaxonClassifier.load(make(text_cache=cache, out=tmp_path / "second"), device="cpu")
    assert torch.equal(first.network.head.weight, second.network.head.weight)


def test_a_model_without_weights_can_be_tried(make: Any, model: Path, tmp_path: Path) -> None:
    folder = make(model=str(model.with_name("tiny.json")), weights="none")
    assert TaxonClassifier.load(folder).network.head.embedding_size == 16


def test_what_cannot_be_is_refused(make: Any, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names a CLIP model without weights"):
        make(model=str(model.with_name("tiny.json")))
    with pytest.raises(ConfigError, match=r"There is no .*open_clip_config\.json"):
        make(model="local-dir:nowhere")
    with pytest.raises(ConfigError, match="Did you mean 'ViT-B-16'"):
        make(model="ViTB-16.openai")
    (tmp_path / "one.csv").write_text("genus,species\nAcer,Acer rubrum\n")
    with pytest.raises(DataError, match="has a single taxon"):
        make(taxonomy=tmp_path / "one.csv")
    with pytest.raises(ValueError, match="give --model and --taxonomy"):
        ZeroShotConfig(model="ViT-B-16.openai")
    taxa = {"model": "ViT-B-16.openai", "taxonomy": tmp_path / "one.csv"}
    with pytest.raises(ValueError, match="go together"):
        ZeroShotConfig(**taxa, names="common")
    with pytest.raises(ValueError, match="every template needs"):
        ZeroShotConfig(**taxa, templates=("a plant",))
    assert not (tmp_path / "zero-shot").exists()
    pd.DataFrame({"name": ["Acer rubrum"]}).to_csv(tmp_path / "names.csv", index=False)
    with pytest.raises(DataError, match="no column common_name"):
        make(names="common", common_names=tmp_path / "names.csv")


def test_where_the_towers_came_from_is_recorded(make: Any, model: Path, tmp_path: Path) -> None:
    origin = TaxonClassifier.load(make(), device="cpu").parts.weights_origin
    assert origin is not None
    assert origin.source == "file open_clip_model.safetensors"
    file = model / "open_clip_model.safetensors"
    again = make(model=f"{model}/../tiny.json", weights=str(file), out=tmp_path / "by-file")
    other = TaxonClassifier.load(again, device="cpu").parts.weights_origin
    assert other == origin
