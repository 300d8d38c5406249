from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from taxonet.classifier import Calibration, TaxonClassifier
from taxonet.classifier.embedder import NamedImage
from taxonet.data.decoding import ImageSource
from taxonet.errors import ConfigError, DataError
from taxonet.models import Network
from taxonet.registry import ROLLUPS
from tests.helpers import photo, save_photo, tiny_parts


def assert_same_rows(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Compare rows to the stated 1e-5; the texts must be equal."""
    pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=0, atol=1e-5)


def calibrated(classifier: TaxonClassifier, **changes: object) -> TaxonClassifier:
    calibration = classifier.calibration.model_copy(update=changes)
    return classifier.with_calibration(Calibration.model_validate(calibration.model_dump()))


def test_a_row_for_every_image_in_the_columns_of_the_contract(
    classifier: TaxonClassifier, photos: list[str]
) -> None:
    rows = classifier.predict(photos)
    assert list(rows.columns) == [
        "image",
        "scientificName",
        "taxonRank",
        "probability",
        "rule",
        "noveltyScore",
        "family",
        "family_probability",
        "genus",
        "genus_probability",
        "species",
        "species_probability",
        "promise",
        "error",
    ]
    assert rows["image"].tolist() == photos


def test_each_class_is_named_at_its_own_rank(classifier: TaxonClassifier) -> None:
    rows = classifier.predict([photo(seed) for seed in range(6)])
    assert rows["scientificName"].tolist() == [
        "Betulaceae",
        "Rubus",
        "Acer",
        "Rosa canina",
        "Rosa gallica",
        "Acer rubrum",
    ]
    assert rows["taxonRank"].tolist() == [
        "family",
        "genus",
        "genus",
        "species",
        "species",
        "species",
    ]
    # No class lies below Rubus, but one lies below Acer.
    assert rows["rule"].tolist() == ["leaf", "leaf", "rolled up to genus", "leaf", "leaf", "leaf"]
    assert rows["image"].tolist() == [f"image {number}" for number in range(6)]
    assert rows["error"].isna().all()


def test_an_unreadable_image_is_a_row_with_the_reason(
    classifier: TaxonClassifier, photos: list[str]
) -> None:
    rows = classifier.predict(photos, batch_size=4)
    broken = rows[rows["rule"] == "unreadable"]
    assert broken.index.tolist() == [3, 9]
    assert broken["error"].tolist() == ["not an image file of a known kind", "no such file"]
    assert broken.drop(columns=["image", "rule", "error"]).isna().all(axis=None)
    good = rows.drop(index=[3, 9])
    assert good["error"].isna().all()
    images = classifier.predict([photo(seed) for seed in range(14)])
    assert_same_rows(good, images.drop(index=[3, 9]).assign(image=good["image"]))


def test_an_image_that_the_network_fails_on_is_a_row_with_the_reason(photos: list[str]) -> None:
    classifier = TaxonClassifier(tiny_parts(), device="cpu")

    class Failing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = inner(images)
            found[1] = torch.nan
            return found

    expected = classifier.predict(photos[:3])
    inner = classifier.network.backbone
    classifier.network.backbone = Failing()
    rows = classifier.predict(photos[:3])
    assert rows["rule"][1] == "unreadable"
    assert "no finite numbers" in rows["error"][1]
    assert_same_rows(rows.drop(1), expected.drop(1))


def test_a_rollup_changes_probabilities_and_goes_with_no_restriction(
    classifier: TaxonClassifier, photos: list[str]
) -> None:
    diffusion = ROLLUPS.build("diffusion", {"alpha": 0.9})
    own, diffused = classifier.predict(photos), classifier.predict(photos, rollup=diffusion)
    assert (own["species_probability"] != diffused["species_probability"]).any()
    allowed = np.array([True] * 5 + [False])
    with pytest.raises(ConfigError, match="leave out `allowed` and `priors`, or the rollup"):
        classifier.predict(photos, rollup=diffusion, allowed=allowed)


def test_a_batch_of_unreadable_images_never_meets_the_network(photos: list[str]) -> None:
    class Refusing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise AssertionError("an empty batch reached the network")

    parts = tiny_parts()
    broken = TaxonClassifier(parts, device="cpu")
    broken.network = Network(Refusing(), parts.network.head).eval()
    rows = broken.predict([photos[3], photos[9]])
    assert rows["rule"].tolist() == ["unreadable", "unreadable"]
    assert rows["probability"].dtype == np.float64
    assert rows["species"].tolist() == [None, None]


def test_no_images_give_no_rows(classifier: TaxonClassifier) -> None:
    rows = classifier.predict([])
    assert len(rows) == 0
    assert list(rows.columns) == classifier.row_maker().columns
    assert classifier.embed([]).shape == (0, 64)


@pytest.mark.parametrize("head", ["cosine", "linear"])
def test_a_row_does_not_depend_on_its_batch(head: str, photos: list[str]) -> None:
    classifier = TaxonClassifier(tiny_parts(head), device="cpu")
    rows = classifier.predict(photos, top_k=3, batch_size=64)
    for batch_size in (1, 3):
        assert_same_rows(classifier.predict(photos, top_k=3, batch_size=batch_size), rows)
    order = np.random.default_rng(0).permutation(len(photos))
    shuffled = classifier.predict([photos[place] for place in order], top_k=3, batch_size=4)
    assert_same_rows(shuffled, rows.iloc[order].reset_index(drop=True))
    one = classifier.predict([photos[5]], top_k=3)
    assert_same_rows(one, rows.iloc[[5]].reset_index(drop=True))


def test_reading_processes_make_no_difference(
    classifier: TaxonClassifier, photos: list[str]
) -> None:
    maker = classifier.row_maker()
    named: list[NamedImage] = [(path, Path(path)) for path in photos]
    one, other = (
        list(classifier.rows(named, maker=maker, batch_size=4, workers=workers))
        for workers in (0, 1)
    )
    assert one == other
    assert [row["image"] for row in one] == photos


def test_all_forms_of_one_picture_give_the_same_row(
    classifier: TaxonClassifier, tmp_path: Path
) -> None:
    path = save_photo(tmp_path / "one.png", 7)
    image = photo(7)
    forms: list[ImageSource] = [str(path), path, path.read_bytes(), image, np.asarray(image)]
    rows = classifier.predict(forms, batch_size=1)
    assert rows["image"].tolist() == [str(path), str(path), "image 2", "image 3", "image 4"]
    for place in range(1, len(forms)):
        pd.testing.assert_series_equal(
            rows.iloc[place].drop("image"), rows.iloc[0].drop("image"), check_names=False
        )
    assert np.ptp(classifier.embed(forms), axis=0).max() < 1e-4


def test_duplicates_keep_their_rows(classifier: TaxonClassifier, photos: list[str]) -> None:
    rows = classifier.predict([photos[0], photos[1], photos[0]])
    assert rows["image"].tolist() == [photos[0], photos[1], photos[0]]
    assert rows["scientificName"].tolist() == ["Betulaceae", "Rubus", "Betulaceae"]


@pytest.mark.parametrize(
    "single",
    [
        "oak.jpg",
        Path("oak.jpg"),
        b"bytes of a file",
        photo(0),
        np.asarray(photo(0)),
        np.asarray(photo(0).convert("L")),
    ],
)
def test_a_single_image_is_not_a_list(classifier: TaxonClassifier, single: ImageSource) -> None:
    for method in (classifier.predict, classifier.embed):
        with pytest.raises(DataError, match=r"Expected a list of images.*wrap it in \[ \]"):
            method(single)  # type: ignore[arg-type] # the mistake that is meant


def test_an_array_of_images_is_a_list(classifier: TaxonClassifier) -> None:
    stack = np.stack([np.asarray(photo(seed)) for seed in (3, 4)])
    rows = classifier.predict(stack)
    assert rows["scientificName"].tolist() == ["Rosa canina", "Rosa gallica"]


def test_options_out_of_range_are_refused(classifier: TaxonClassifier) -> None:
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        classifier.predict([photo(0)], batch_size=0)
    with pytest.raises(ConfigError, match="top_k must be at least 1, got 0"):
        classifier.predict([photo(0)], top_k=0)
    with pytest.raises(ConfigError, match="'gpu' is not available"):
        TaxonClassifier(tiny_parts(), device="gpu")


def slow_sums(classifier: TaxonClassifier, logits: Tensor, rank: str) -> list[dict[str, float]]:
    """For each image, the sum of class probabilities under each taxon of a rank, class by class."""
    tree = classifier.taxonomy
    scores = logits.double().numpy() / classifier.calibration.temperature
    found = []
    for row in scores:
        exponentials = [float(np.exp(score - max(row))) for score in row]
        sums: dict[str, float] = {}
        for node, exponential in zip(classifier.class_nodes, exponentials, strict=True):
            climbing = int(node)
            while climbing > 0 and tree.rank_name(climbing) != rank:
                climbing = int(tree.parent[climbing])
            if climbing > 0:
                name = tree.names[climbing]
                sums[name] = sums.get(name, 0.0) + exponential / sum(exponentials)
        found.append(sums)
    return found


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_probabilities_of_a_rank_are_sums_over_all_classes_below(
    classifier: TaxonClassifier, temperature: float
) -> None:
    classifier = calibrated(classifier, temperature=temperature)
    images = [photo(seed) for seed in range(20, 28)]
    rows = classifier.predict(images, top_k=4)
    (batch,) = classifier.score([(str(k), image) for k, image in enumerate(images)])
    for rank, taxa in {"family": 3, "genus": 3, "species": 3}.items():
        expected = slow_sums(classifier, batch.logits, rank)
        for place, sums in enumerate(expected):
            assert len(sums) == taxa
            best_first = sorted(sums, key=lambda name: -sums[name])
            for k, name in enumerate(best_first, start=1):
                suffix = "" if k == 1 else f"_{k}"
                assert rows[f"{rank}{suffix}"][place] == name
                assert rows[f"{rank}{suffix}_probability"][place] == pytest.approx(
                    sums[name], abs=1e-5
                )
        assert rows[f"{rank}_4"].isna().all()
        assert rows[f"{rank}_4_probability"].isna().all()


def test_the_probability_of_a_name_is_that_of_its_rank(classifier: TaxonClassifier) -> None:
    rows = classifier.predict([photo(seed) for seed in range(20)], top_k=3)
    named = rows[rows["rule"] != "unknown"]
    assert set(named["taxonRank"]) == {"family", "genus", "species"}
    for _, row in named.iterrows():
        candidates = {row[f"{row['taxonRank']}{k}"] for k in ("", "_2", "_3")}
        assert row["scientificName"] in candidates
        assert row["probability"] >= 0.5
        if row["scientificName"] == row[row["taxonRank"]]:
            assert row["probability"] == row[f"{row['taxonRank']}_probability"]


def test_a_photo_above_the_novelty_threshold_is_unknown(classifier: TaxonClassifier) -> None:
    images = [photo(seed) for seed in range(10)]
    plain = classifier.predict(images)
    threshold = float(plain["noveltyScore"].sort_values().iloc[4])
    rows = calibrated(classifier, novelty_threshold=threshold).predict(images)
    novel = plain["noveltyScore"] > threshold
    assert novel.sum() == 5  # the photo at the threshold is accepted
    assert (rows["rule"][novel] == "unknown").all()
    assert rows.loc[novel, ["scientificName", "taxonRank", "probability"]].isna().all(axis=None)
    # What it looks like most is still told.
    pd.testing.assert_frame_equal(rows.iloc[:, 5:], plain.iloc[:, 5:])
    pd.testing.assert_frame_equal(rows[~novel], plain[~novel])


@pytest.mark.parametrize(
    "score", ["max_logit", "energy", "entropy", "max_softmax", "embedding_norm"]
)
def test_the_calibration_chooses_the_novelty_score(score: str, classifier: TaxonClassifier) -> None:
    images = [photo(seed) for seed in range(4)]
    (batch,) = classifier.score([(str(k), image) for k, image in enumerate(images)])
    logits, embedding = batch.logits, batch.embedding
    expected = {
        "max_logit": -logits.amax(dim=1),
        "energy": -logits.logsumexp(dim=1),
        "entropy": -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1),
        "max_softmax": 1 - logits.softmax(dim=1).amax(dim=1),
        "embedding_norm": -embedding.norm(dim=1),
    }[score]
    rows = calibrated(classifier, novelty_score=score).predict(images)
    assert rows["noveltyScore"].tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_logits_carry_the_scale_of_the_head_but_not_the_temperature(
    classifier: TaxonClassifier,
) -> None:
    warm = calibrated(classifier, temperature=3.0)
    (batch,) = warm.score([("0", photo(0))])
    direction = batch.embedding / batch.embedding.norm()
    prototypes = warm.network.head.weight.detach()
    cosines = direction @ (prototypes / prototypes.norm(dim=1, keepdim=True)).T
    assert torch.allclose(batch.logits, warm.network.head.scale * cosines, atol=1e-4)
    assert torch.allclose(warm.probabilities(batch.logits), (batch.logits / 3).softmax(dim=1))


def test_images_are_pulled_a_batch_at_a_time(classifier: TaxonClassifier) -> None:
    pulled = 0

    def endless() -> Iterator[NamedImage]:
        nonlocal pulled
        while True:
            pulled += 1
            yield f"{pulled}", photo(pulled % 3)

    rows = classifier.rows(endless(), maker=classifier.row_maker(), batch_size=4)
    for written in range(1, 41):
        assert next(rows)["image"] == str(written)
        assert pulled <= written + 2 * 4


def test_embeddings_are_those_of_the_backbone_in_order(classifier: TaxonClassifier) -> None:
    images = [photo(seed) for seed in range(5)]
    together = classifier.embed(images, batch_size=2)
    assert together.shape == (5, 64)
    assert together.dtype == np.float32
    for place, image in enumerate(images):
        assert classifier.embed([image])[0] == pytest.approx(together[place], abs=1e-3)
    assert np.linalg.norm(together[0] - together[1]) > 1


def test_embedding_an_unreadable_image_names_it(
    classifier: TaxonClassifier, photos: list[str]
) -> None:
    with pytest.raises(DataError, match=r"09\.png cannot be read: no such file"):
        classifier.embed(photos[8:])


def test_with_calibration_leaves_the_old_one_alone(classifier: TaxonClassifier) -> None:
    other = calibrated(classifier, threshold_prob=0.9)
    assert classifier.calibration.threshold_prob == 0.5
    assert other.calibration.threshold_prob == 0.9
    assert other.network is classifier.network
