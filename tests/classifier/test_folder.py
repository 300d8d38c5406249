import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from taxonet.classifier import Calibration, TaxonClassifier
from taxonet.classifier.folder import identity
from taxonet.errors import CheckpointError, TaxonomyError
from taxonet.taxonomy import Taxonomy
from tests.helpers import photo, tiny_parts

FILES = {
    "model.safetensors",
    "taxonomy.csv",
    "classifier.json",
    "calibration.json",
    "README.md",
}


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the saved classifier that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "classifier"))


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(content)), encoding="utf-8")


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("head", ["cosine", "linear"])
def test_what_is_loaded_is_what_was_saved(head: str, tmp_path: Path) -> None:
    calibration = Calibration(
        images=7,
        temperature=1.5,
        novelty_score="energy",
        novelty_threshold=-2.5,
        threshold_prob=0.6,
    )
    classifier = TaxonClassifier(tiny_parts(head), device="cpu").with_calibration(calibration)
    classifier.save(tmp_path / "c")
    loaded = TaxonClassifier.load(tmp_path / "c", device="cpu")
    images = [photo(seed) for seed in range(12)]
    before, after = classifier.predict(images, top_k=3), loaded.predict(images, top_k=3)
    assert before["rule"].nunique() > 2
    pd.testing.assert_frame_equal(after, before)
    assert loaded.taxonomy == classifier.taxonomy
    assert loaded.class_nodes.tolist() == classifier.class_nodes.tolist()
    assert loaded.class_nodes.dtype == np.int64
    assert loaded.class_counts.tolist() == [1, 2, 3, 4, 5, 6]
    assert loaded.calibration == calibration
    assert loaded.parts.preprocessing == classifier.parts.preprocessing
    assert loaded.parts.recipe == classifier.parts.recipe
    assert loaded.network.head.scale == classifier.network.head.scale
    assert not loaded.network.training


def test_saving_a_loaded_classifier_changes_no_byte(folder: Path, tmp_path: Path) -> None:
    TaxonClassifier.load(folder, device="cpu").save(tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name


def test_loading_runs_no_pickle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    for module in (pickle, torch):
        monkeypatch.setattr(module, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    TaxonClassifier.load(folder, device="cpu")
    assert {path.name for path in folder.iterdir()} == FILES


@pytest.mark.parametrize("name", sorted(FILES - {"README.md"}))
def test_a_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        TaxonClassifier.load(folder)


def test_a_folder_that_is_not_there_is_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere is no complete classifier"):
        TaxonClassifier.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["model.safetensors", "taxonomy.csv"])
def test_a_changed_byte_is_found(name: str, folder: Path) -> None:
    flip_a_byte(folder / name)
    with pytest.raises(CheckpointError, match=f"{name} is not the file that was saved"):
        TaxonClassifier.load(folder)


def test_a_folder_without_digests_is_not_trusted(folder: Path) -> None:
    change_json(folder / "classifier.json", lambda content: content | {"digests": {}})
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not the file"):
        TaxonClassifier.load(folder)


@pytest.mark.parametrize("found", [1, "2", None])
def test_another_format_is_refused_before_its_keys_are(found: object, folder: Path) -> None:
    change_json(
        folder / "classifier.json", lambda content: {"format": found, "taxonet": "9.0", "new": 1}
    )
    with pytest.raises(CheckpointError, match=rf"format {found!r}.*reads format 2.*taxonet 9\.0"):
        TaxonClassifier.load(folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"images": 3, "temp', "is damaged"),
        ("", "is damaged"),
        ("[]", "valid dictionary"),
        ('{"temprature": 2.0}', "temprature: unknown key. Did you mean 'temperature'?"),
        ('{"temperature": 0}', "temperature: Input should be greater than 0"),
        ('{"temperature": "hot"}', "temperature: Input should be a valid number"),
        ('{"temperature": NaN}', "temperature: Input should be a finite number"),
        ('{"threshold_prob": 0.4}', "threshold_prob: .* greater than or equal to 0.5"),
        ('{"novelty_threshold": Infinity}', "novelty_threshold: .* finite"),
        ('{"novelty_score": "max_logits"}', "Did you mean 'max_logit'?"),
    ],
)
def test_a_corrupted_calibration_is_named(content: str, says: str, folder: Path) -> None:
    (folder / "calibration.json").write_text(content, encoding="utf-8")
    with pytest.raises(
        CheckpointError, match=rf"(?s)calibration\.json.*{says.replace('?', '[?]')}"
    ):
        TaxonClassifier.load(folder)


def test_a_calibration_that_is_no_text_is_named(folder: Path) -> None:
    (folder / "calibration.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match=r"calibration\.json is damaged"):
        TaxonClassifier.load(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: [content], "format None"),
        (lambda content: {k: v for k, v in content.items() if k != "recipe"}, "recipe: .*required"),
        (lambda content: content | {"ranked": 1}, "Did you mean 'ranks'"),
        (lambda content: content | {"class_counts": [1]}, "6 classes, but 1 counts"),
        (lambda content: content | {"classes": [], "class_counts": []}, "classes: .*at least 1"),
        (
            lambda content: content | {"classes": [["Betulacea"], *content["classes"][1:]]},
            "does not fit taxonomy.csv: .*Did you mean 'Betulaceae'",
        ),
    ],
)
def test_settings_that_make_no_sense_are_named(
    change: Callable[[Any], Any], says: str, folder: Path
) -> None:
    change_json(folder / "classifier.json", change)
    with pytest.raises(CheckpointError, match=rf"(?s)classifier\.json.*{says}"):
        TaxonClassifier.load(folder)


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    def with_linear_head(content: Any) -> Any:
        content["recipe"]["model"]["head"] = "linear"
        return content

    change_json(folder / "classifier.json", with_linear_head)
    with pytest.raises(CheckpointError, match=r"(?s)model\.safetensors does not fit.*head"):
        TaxonClassifier.load(folder)


def saved_and_loaded(
    taxonomy: Taxonomy, nodes: list[int], folder: Path
) -> tuple[TaxonClassifier, TaxonClassifier]:
    parts = tiny_parts(taxonomy=taxonomy, class_nodes=tuple(nodes))
    classifier = TaxonClassifier(parts, device="cpu")
    classifier.save(folder)
    return classifier, TaxonClassifier.load(folder, device="cpu")


def test_a_tree_from_an_edge_list_survives(tmp_path: Path) -> None:
    tree = Taxonomy.from_edges(
        [("Plantae", "Rosa"), ("Plantae", "Acer"), ("Rosa", "Rosa canina"), ("Acer", "red, maple")]
    )
    before, after = saved_and_loaded(tree, [2, 3, 4], tmp_path / "c")
    assert after.taxonomy == tree
    images = [photo(seed) for seed in range(6)]
    rows = after.predict(images)
    pd.testing.assert_frame_equal(rows, before.predict(images))
    assert {"level_1", "level_1_probability", "level_2", "level_2_probability"} < set(rows)
    assert rows["taxonRank"].isna().all()
    # The photos 0 to 2 look like the classes: Rosa, which has another class below it, and leaves.
    assert rows["scientificName"][:3].tolist() == ["Rosa", "red, maple", "Rosa canina"]
    assert rows["rule"][:3].tolist() == ["rolled up to an inner node", "leaf", "leaf"]


def test_odd_names_and_repeated_names_survive(tmp_path: Path) -> None:
    rows = [
        ("Plantae", "Ficus", 'Ficus "carica", L., 1753', "fig, common"),
        ("Plantae", "Crataegus", "Crataegus × mácrocarpa", "l'aubépine"),
        ("Animalia", "Ficus", "Ficus variegata", "海螺"),
        ("Plantae", "Ficus", "Ficus variegata", "NA"),
        ("Animalia", "None", "nan", "null"),
    ]
    table = pd.DataFrame(rows, columns=["kingdom", "genus", "species", "label"])
    tree = Taxonomy.from_table(table)
    nodes = tree.at_rank("species").tolist()
    before, after = saved_and_loaded(tree, nodes, tmp_path / "c")
    assert after.taxonomy == tree
    assert [after.taxonomy.path(node) for node in after.class_nodes] == [
        before.taxonomy.path(node) for node in nodes
    ]
    assert len(after.taxonomy.find("Ficus variegata")) == 2
    pd.testing.assert_frame_equal(after.predict([photo(0)]), before.predict([photo(0)]))


def test_a_tree_that_no_file_can_hold_leaves_the_old_folder(folder: Path) -> None:
    twice = Taxonomy.from_parents(["top", "a", "b", "same", "same"], [-1, 0, 0, 1, 2])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TaxonomyError, match="'same' stands for"):
        TaxonClassifier(tiny_parts(taxonomy=twice, class_nodes=(3, 4)), device="cpu").save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["classifier"]


def test_identity_changes_with_whatever_decides_a_prediction(folder: Path) -> None:
    before = identity(folder)
    (folder / "README.md").write_text("another card", encoding="utf-8")
    assert identity(folder) == before
    for name in ("model.safetensors", "taxonomy.csv", "classifier.json", "calibration.json"):
        last = identity(folder)
        flip_a_byte(folder / name)
        assert identity(folder) != last, name


def test_the_card_states_facts_of_the_classifier(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "It names 6 taxa of a taxonomy of 10 (family, genus, species)." in card
    assert "| training photos | 21 |" in card
    assert "| photos of the commonest and the rarest taxon | 6 and 1 |" in card
    assert "| backbone, head | resnet32, cosine |" in card
    assert "There were no calibration photos" in card


def test_the_card_of_a_calibrated_classifier_states_what_its_thresholds_promise(
    classifier: TaxonClassifier, tmp_path: Path
) -> None:
    calibration = Calibration(
        images=40, novelty_threshold=-3.25, known_accepted=0.9, threshold_prob=0.75, named_right=0.8
    )
    classifier.with_calibration(calibration).save(tmp_path / "c")
    card = (tmp_path / "c" / "README.md").read_text(encoding="utf-8")
    assert "novelty score (max_logit) is above -3.2500, which accepted 90% of" in card
    assert "probability reaches 0.7500 is named; that was chosen for 80% right names" in card
