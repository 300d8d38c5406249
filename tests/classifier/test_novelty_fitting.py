"""A fitted novelty score as the score of a classifier: what it says, and how it is kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from taxonet.classifier import (
    Calibration,
    StoredEmbeddings,
    TaxonClassifier,
    TrainingIndex,
    fit_novelty_score,
    with_novelty_score,
)
from taxonet.classifier.folder import identity
from taxonet.errors import CheckpointError, ConfigError, DataError
from taxonet.inference.novelty import ViM
from taxonet.models import ExpertHeads, LinearHead, Network
from taxonet.registry import FITTED_NOVELTY_SCORES
from taxonet.seeds import generator
from tests.evaluation.conftest import tree_parts
from tests.helpers import photo, save_index, tiny_parts

FITTED = FITTED_NOVELTY_SCORES.names()
OPTIONS: dict[str, dict[str, Any]] = {
    "knn": {"k": 2},
    "mahalanobis": {"shrinkage": 0.5},
    "nearest_prototype": {"distance": "cosine"},
    "relative_mahalanobis": {"shrinkage": 0.25},
    "vim": {"principal": 3},
}
IMAGES = [photo(seed) for seed in range(10)]


def linear_head(network: Network) -> LinearHead:
    assert isinstance(network.head, LinearHead)
    return network.head


@pytest.fixture(scope="module")
def linear() -> TaxonClassifier:
    """A linear head with biases, by photos that are told apart."""
    parts = tiny_parts("linear")
    with torch.no_grad():
        linear_head(parts.network).bias.copy_(torch.linspace(-0.2, 0.3, 6))
    return TaxonClassifier(parts, device="cpu")


@pytest.fixture(scope="module")
def index(linear: TaxonClassifier) -> StoredEmbeddings:
    """Four photos of each class, like its own photo."""
    centres = linear.embed([photo(k) for k in range(6)])
    targets = np.arange(24) % 6
    noise = generator("index of a test").normal(0, 0.02, (24, centres.shape[1]))
    return StoredEmbeddings((centres[targets] + noise).astype(np.float32), targets)


def test_there_are_options_for_every_fitted_score() -> None:
    assert sorted(OPTIONS) == FITTED


@pytest.mark.parametrize("name", FITTED)
def test_the_classifier_says_what_the_score_says(
    name: str, linear: TaxonClassifier, index: StoredEmbeddings
) -> None:
    head = linear_head(linear.network)
    (batch,) = linear.score([(str(k), image) for k, image in enumerate(IMAGES)], batch_size=64)
    x, targets = torch.from_numpy(index.embeddings), torch.from_numpy(index.targets)
    score = FITTED_NOVELTY_SCORES.build(name, OPTIONS[name], x.shape[1], 6)
    if isinstance(score, ViM):
        score.set_origin(head.weight, head.bias)
    score.fit([(x, head(x).detach(), targets)])
    wanted = score(batch.embedding, batch.logits, 1.0)
    new = with_novelty_score(linear, name, OPTIONS[name], index=index)
    torch.testing.assert_close(new.novelty(batch), wanted, rtol=1e-4, atol=1e-5)
    assert len(set(wanted.tolist())) == len(IMAGES)
    assert new.calibration.novelty_score == name
    assert linear.calibration.novelty_score == "max_logit"  # the old one stays as it is


@pytest.mark.parametrize("name", FITTED)
def test_what_was_fitted_is_kept_in_the_folder(
    name: str, linear: TaxonClassifier, index: StoredEmbeddings, tmp_path: Path
) -> None:
    new = with_novelty_score(linear, name, OPTIONS[name], index=index)
    before = new.predict(IMAGES)
    threshold = float(before["noveltyScore"].sort_values().iloc[6])
    new = new.with_calibration(new.calibration.model_copy(update={"novelty_threshold": threshold}))
    new.save(tmp_path / "new")
    loaded = TaxonClassifier.load(tmp_path / "new", device="cpu")
    after = loaded.predict(IMAGES)
    pd.testing.assert_frame_equal(after, new.predict(IMAGES))
    assert (after["rule"] == "unknown").sum() == 3
    assert after["noveltyScore"].tolist() == before["noveltyScore"].tolist()
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / "novelty.safetensors").read_bytes() == (
        tmp_path / "new" / "novelty.safetensors"
    ).read_bytes()
    assert identity(tmp_path / "again") == identity(tmp_path / "new")


def test_vim_sees_the_bias_of_the_head(linear: TaxonClassifier, index: StoredEmbeddings) -> None:
    head = linear_head(linear.network)
    score = fit_novelty_score(linear, "vim", index=index)
    assert isinstance(score, ViM)
    logits_at_origin = head(score.origin.float())
    weight = head.weight.detach().double()
    nearest = -torch.linalg.pinv(weight) @ head.bias.detach().double()
    torch.testing.assert_close(score.origin, nearest)
    assert logits_at_origin.norm() < 0.1 * head.bias.norm()


def test_vim_sees_the_mean_of_linear_experts(
    linear: TaxonClassifier, index: StoredEmbeddings
) -> None:
    """Two experts on half of the features each are one affine map, with half of their weights."""
    half = index.embeddings.shape[1] // 2
    heads = [LinearHead(half, 6) for _ in range(2)]
    network = tiny_parts("linear").network
    network.head = ExpertHeads(heads)
    with torch.no_grad():
        for place, head in enumerate(heads):
            head.bias.copy_(torch.arange(6) + place)
            head.weight.copy_(
                2 * linear.network.head.weight[:, place * half : (place + 1) * half].detach()
            )
    experts = TaxonClassifier(replace(linear.parts, network=network), device="cpu")
    score = fit_novelty_score(experts, "vim", index=index)
    assert isinstance(score, ViM)
    weight = linear.network.head.weight.detach().double()
    nearest = -torch.linalg.pinv(weight) @ (torch.arange(6).double() + 0.5)
    torch.testing.assert_close(score.origin, nearest)


def test_a_head_of_leaves_has_no_logit_for_classes_above_them(index: StoredEmbeddings) -> None:
    """Acer is a class above the class Acer rubrum: 6 classes, 5 leaves."""
    classifier = TaxonClassifier(tree_parts("flat_softmax"), device="cpu")
    assert classifier.reading.columns == 5
    with torch.no_grad():
        linear_head(classifier.network).bias.fill_(1.0)  # positive logits
    (batch,) = classifier.score([(str(k), image) for k, image in enumerate(IMAGES)], batch_size=64)
    new = with_novelty_score(classifier, "vim", {"principal": 3}, index=index)
    score = ViM(index.embeddings.shape[1], 5, principal=3)
    head = linear_head(classifier.network)
    score.set_origin(head.weight, head.bias)
    x = torch.from_numpy(index.embeddings)
    score.fit([(x, head(x).detach(), torch.zeros(len(x), dtype=torch.int64))])
    wanted = score(batch.embedding, batch.logits, 1.0)
    torch.testing.assert_close(new.novelty(batch), wanted, rtol=1e-4, atol=1e-5)


def test_vim_is_refused_where_there_are_probabilities_only(index: StoredEmbeddings) -> None:
    classifier = TaxonClassifier(tree_parts("conditional_softmax"), device="cpu")
    with pytest.raises(DataError, match="Use another score for this head"):
        with_novelty_score(classifier, "vim", index=index)
    assert fit_novelty_score(classifier, "knn", {"k": 1}, index=index).is_fitted


def test_a_new_score_has_no_threshold_yet(linear: TaxonClassifier, index: StoredEmbeddings) -> None:
    old = linear.with_calibration(Calibration(images=5, temperature=2.0, novelty_threshold=1.0))
    new = with_novelty_score(old, "knn", {"k": 1}, index=index)
    assert new.calibration == Calibration(images=5, temperature=2.0, novelty_score="knn")
    assert set(new.predict(IMAGES)["rule"]) != {"unknown"}
    back = with_novelty_score(new, "energy")
    assert back.calibration.novelty_score == "energy"
    assert back.parts.novelty is None


def test_the_index_of_a_folder_is_enough(
    linear: TaxonClassifier, index: StoredEmbeddings, tmp_path: Path
) -> None:
    linear.save(tmp_path / "c")
    save_index(tmp_path / "c", index.embeddings, index.targets.tolist(), rows=7)
    stored = TrainingIndex(tmp_path / "c", wanted_by="a novelty score").read()
    (batch,) = linear.score([(str(k), image) for k, image in enumerate(IMAGES)], batch_size=64)
    found, wanted = (
        with_novelty_score(linear, "vim", index=one).novelty(batch) for one in (stored, index)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


def test_wrong_names_options_and_a_missing_index(
    linear: TaxonClassifier, index: StoredEmbeddings
) -> None:
    with pytest.raises(ConfigError, match=r"score is called 'mahalanobs'\. Did you mean"):
        with_novelty_score(linear, "mahalanobs", index=index)
    with pytest.raises(ConfigError, match="has no option 'K'"):
        with_novelty_score(linear, "knn", {"K": 3}, index=index)
    with pytest.raises(ConfigError, match="'energy' has no option 'k'"):
        with_novelty_score(linear, "energy", {"k": 3})
    with pytest.raises(ConfigError, match=r"'knn' is fitted .* give the index"):
        with_novelty_score(linear, "knn")
    with pytest.raises(DataError, match=r"k = 99 training images, got 24"):
        with_novelty_score(linear, "knn", {"k": 99}, index=index)


def test_a_score_that_is_not_there_is_not_used(
    linear: TaxonClassifier, index: StoredEmbeddings
) -> None:
    with pytest.raises(ConfigError, match=r"'knn' is fitted .* this classifier is none"):
        linear.with_calibration(Calibration(novelty_score="knn"))
    new = with_novelty_score(linear, "vim", index=index)
    with pytest.raises(ConfigError, match=r"'knn' is fitted .* this classifier is vim"):
        new.with_calibration(Calibration(novelty_score="knn"))


def test_a_changed_or_missing_score_is_found(
    linear: TaxonClassifier, index: StoredEmbeddings, tmp_path: Path
) -> None:
    with_novelty_score(linear, "knn", index=index).save(tmp_path / "c")
    path = tmp_path / "c" / "novelty.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"novelty\.safetensors is not the file"):
        TaxonClassifier.load(tmp_path / "c")
    path.unlink()
    with pytest.raises(CheckpointError, match=r"novelty\.safetensors is missing"):
        TaxonClassifier.load(tmp_path / "c")
    path.write_bytes(content)
    calibration = tmp_path / "c" / "calibration.json"
    calibration.write_text(calibration.read_text().replace('"knn"', '"vim"'))
    with pytest.raises(CheckpointError, match=r"calibration\.json: The novelty score 'vim'"):
        TaxonClassifier.load(tmp_path / "c")


def test_the_card_says_that_a_threshold_is_missing(
    linear: TaxonClassifier, index: StoredEmbeddings, tmp_path: Path
) -> None:
    old = linear.with_calibration(Calibration(images=5, novelty_threshold=1.0))
    with_novelty_score(old, "knn", index=index).save(tmp_path / "c")
    card = (tmp_path / "c" / "README.md").read_text()
    assert "The novelty score (knn) has no threshold: no photo is called unknown" in card
