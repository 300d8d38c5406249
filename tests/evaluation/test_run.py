"""The verb `evaluate` against a calculation by hand, on scripted logits."""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxonet.classifier import TaxonClassifier
from taxonet.errors import ConfigError, DataError
from taxonet.evaluation import CLASS_LEVEL, evaluate, shown_levels
from taxonet.files import write_json
from taxonet.recipes.verbs import EvaluateConfig
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from tests.evaluation.conftest import COUNTS, TEMPERATURE, Script, write_table
from tests.helpers import CLASS_NODES, save_photo, tiny_parts
from tests.reference.evaluation import level_calibration, level_figures

NAMES = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")
COUNT_OF = dict(zip(CLASS_NODES, COUNTS, strict=True))


def noisy(truth: list[int], *, lift: float = 2.0) -> dict[str, list[float]]:
    """Noisy logits that lean to the truth; the last photo of all has none."""
    noise = generator("evaluation").normal(0, 2, (len(truth), 6))
    for row, k in enumerate(truth):
        noise[row, k] += lift
    return {f"{row}.jpg": noise[row].tolist() for row in range(len(truth) - 1)}


@pytest.fixture
def photos(tmp_path: Path, script: Script) -> tuple[Path, list[int], dict[str, list[float]]]:
    """80 photos of all classes but Rosa gallica, one of them unreadable, and 3 of no class."""
    truth = generator("truth").choice([0, 1, 2, 3, 5], 80).tolist()
    logits = noisy(truth)
    script(logits)
    rows = [(f"{row}.jpg", NAMES[k]) for row, k in enumerate(truth)]
    rows += [("x.jpg", "Rubus idaeus"), ("y.jpg", "Salix alba"), ("z.jpg", "Salix alba")]
    return write_table(tmp_path / "photos.csv", rows), truth, logits


def test_every_level_equals_the_calculation_by_hand(
    folder: Path, photos: tuple[Path, list[int], dict[str, list[float]]]
) -> None:
    path, truth, logits = photos
    found = evaluate(EvaluateConfig(classifier=folder, images=path, device="cpu"))
    levels = found.metrics["test"]["levels"]
    taxonomy = found.classifier.taxonomy
    readable = [
        (CLASS_NODES[k], [value / TEMPERATURE for value in logits[f"{row}.jpg"]])
        for row, k in enumerate(truth[:-1])
    ]
    wanted = {
        "class": level_figures(
            taxonomy, CLASS_NODES, counts=COUNT_OF, photos=readable, summed=False
        ),
        "species": level_figures(taxonomy, (7, 8, 10), counts=COUNT_OF, photos=readable),
        "genus": level_figures(taxonomy, (4, 5, 6), counts=COUNT_OF, photos=readable),
        "family": level_figures(taxonomy, (1, 2, 3), counts=COUNT_OF, photos=readable),
    }
    assert list(levels) == list(wanted)
    for name, level in wanted.items():
        assert_close(levels[name], level, name)
    # The calculation itself is about something: ragged, with empty taxa, groups, and mistakes.
    assert [wanted[name]["images"] for name in wanted] == [79, *_below(truth[:-1])]
    assert [wanted[name]["empty_classes"] for name in wanted] == [1, 1, 0, 0]
    assert 0.2 < wanted["class"]["macro_recall"] < 0.9
    assert wanted["class"]["top5"] != wanted["class"]["macro_top5"]
    groups = wanted["class"]["shot_groups"]
    assert [groups[name]["classes"] for name in ("many", "medium", "few")] == [2, 1, 2]


def test_calibration_at_every_level_equals_the_calculation_by_hand(
    folder: Path, photos: tuple[Path, list[int], dict[str, list[float]]]
) -> None:
    path, truth, logits = photos
    found = evaluate(EvaluateConfig(classifier=folder, images=path, batch_size=9, device="cpu"))
    taxonomy = found.classifier.taxonomy
    readable = [
        (CLASS_NODES[k], [value / TEMPERATURE for value in logits[f"{row}.jpg"]])
        for row, k in enumerate(truth[:-1])
    ]
    taxa = {"class": CLASS_NODES, "species": (7, 8, 10), "genus": (4, 5, 6), "family": (1, 2, 3)}
    wanted = {
        name: level_calibration(
            taxonomy, nodes, counts=COUNT_OF, photos=readable, summed=name != CLASS_LEVEL
        )
        for name, nodes in taxa.items()
    }
    calibration = found.metrics["test"]["calibration"]
    assert list(calibration) == list(wanted)
    assert_close(calibration, wanted, "calibration", tolerance=1e-6)  # ours sums float32
    groups = wanted["class"]["shot_groups"]
    assert len(set(groups.values())) == 3
    assert wanted["family"]["shot_groups"]["few"] is None  # every family has many photos or some
    curve = found.test.levels["genus"].reliability()
    assert curve.images.sum() == sum(k in (1, 2, 3, 5) for k in truth[:-1])


def test_the_shot_group_is_that_of_the_named_taxon(
    folder: Path, tmp_path: Path, script: Script
) -> None:
    """A photo of a rare species that is named as a common one counts for the common ones."""
    script({"a.jpg": [0.0, 0, 0, 20, 0, 0]})  # surely Rosa canina (120 photos), but Acer rubrum (2)
    path = write_table(tmp_path / "t.csv", [("a.jpg", "Acer rubrum")])
    found = evaluate(EvaluateConfig(classifier=folder, images=path, device="cpu"))
    by_class = found.metrics["test"]["calibration"]["class"]
    prob = 1 / (1 + 5 * np.exp(-20 / TEMPERATURE))
    assert by_class["shot_groups"] == {"many": pytest.approx(prob), "medium": None, "few": None}
    assert by_class["ece"] == pytest.approx(prob)


def _below(truth: list[int]) -> tuple[int, int, int]:
    """Photos that count at species, genus and family: those of a class at or below the rank."""
    species = sum(k in (3, 5) for k in truth)
    genus = sum(k in (1, 2, 3, 5) for k in truth)
    return species, genus, len(truth)


def assert_close(found: Any, wanted: Any, where: str, *, tolerance: float = 1e-12) -> None:
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), where
        for key, value in wanted.items():
            assert_close(found[key], value, f"{where}, {key}", tolerance=tolerance)
    else:
        assert found == (wanted if wanted is None else pytest.approx(wanted, abs=tolerance)), where


def test_single_classes_and_confusions(folder: Path, tmp_path: Path, script: Script) -> None:
    """Rosa canina: 2 of 3 right, once taken for Rosa gallica; Acer once for Rosa canina."""
    said = {"a.jpg": 3, "b.jpg": 3, "c.jpg": 4, "d.jpg": 3, "e.jpg": 2}
    script({name: [5.0 * (k == place) for place in range(6)] for name, k in said.items()})
    rows = [("a.jpg", "Rosa canina"), ("b.jpg", "Rosa canina"), ("c.jpg", "Rosa canina")]
    rows += [("d.jpg", "Acer"), ("e.jpg", "Acer")]
    given = EvaluateConfig(
        classifier=folder, images=write_table(tmp_path / "t.csv", rows), device="cpu"
    )
    found = evaluate(given).metrics["test"]
    by_taxon = {record["taxon"]: record for record in found["per_class"]}
    assert by_taxon["Rosa canina"] == {
        "taxon": "Rosa canina",
        "train_images": 120,
        "shot_group": "many",
        "images": 3,
        "recall": pytest.approx(2 / 3),
        "precision": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
    }
    assert by_taxon["Rosa gallica"]["recall"] is None
    assert (by_taxon["Acer"]["recall"], by_taxon["Acer"]["precision"]) == (0.5, 1.0)
    assert found["confused"] == {
        "inside_genus": [
            {
                "truth": "Rosa canina",
                "predicted": "Rosa gallica",
                "images": 1,
                "share": pytest.approx(1 / 3),
            }
        ],
        "across_genera": [{"truth": "Acer", "predicted": "Rosa canina", "images": 1, "share": 0.5}],
    }


def test_decisions_and_calibration_by_hand(folder: Path, tmp_path: Path, script: Script) -> None:
    """Temperature 2, threshold 0.6, unknown above a novelty of -2 (a largest logit below 2)."""
    scripted = {
        "sure.jpg": [0.0, 0, 0, 20, 0, 0],  # Rosa canina: right
        "genus.jpg": [0.0, 0, 0, 9, 9, 0],  # half of each rose: named to the genus, right
        "wrong.jpg": [0.0, 20, 0, 0, 0, 0],  # Rubus instead of Acer
        "novel.jpg": [1.9, -9, -9, -9, -9, -9],  # sure of its class, and called unknown
        "edge.jpg": [2.0, -9, -9, -9, -9, -9],  # just not unknown: Betulaceae, right
        "vague.jpg": [9.0, 0, 9, 0, 0, 9],  # Acer and its species have two thirds
        "silent.jpg": [9.0, 9, 9, 0, 0, 0],  # no taxon reaches the threshold
    }
    script(scripted)
    labels = ["Rosa canina", "Rosa gallica", "Acer", "Acer", "Betulaceae", "Acer rubrum", "Rubus"]
    names = ["sure", "genus", "wrong", "novel", "edge", "vague", "silent"]
    rows = [(f"{name}.jpg", label) for name, label in zip(names, labels, strict=True)]
    path = write_table(tmp_path / "t.csv", rows)
    found = evaluate(EvaluateConfig(classifier=folder, images=path, device="cpu"))
    decision = found.metrics["test"]["decision"]
    assert decision == {
        "promise": "none: chosen for 95% right names on 10 calibration photos",
        "threshold_prob": 0.6,
        "images": 7,
        "flagged_unknown": 1,
        "nothing_named": 1,
        "named": 5,
        "named_right": 0.8,
        "wrong_of_photos": pytest.approx(1 / 7),
        "named_at_rank": {"species": 1, "genus": 3, "family": 1},
    }
    logits = np.array(list(scripted.values())) / TEMPERATURE
    probs = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).max(axis=1)
    assert found.test.prob == pytest.approx(probs.tolist(), abs=1e-6)


def test_the_open_set_by_hand(folder: Path, tmp_path: Path, script: Script) -> None:
    """The threshold -2 comes from calibration; a region adds what its map calls unknown."""
    known = {f"k{i}.jpg": [value, 0.0, 0, 0, 0, 0] for i, value in enumerate([6, 5, 4, 3, 1])}
    unknown = {f"u{i}.jpg": [0.0, value, 0, 0, 0, 0] for i, value in enumerate([4.5, 1.5, 1, 0])}
    script(known | unknown)
    test = write_table(
        tmp_path / "t.csv", [(name, "Betulaceae") for name in known] + [("u0.jpg", "unknown")]
    )
    region = write_table(
        tmp_path / "r.csv", [("k0.jpg", "Betulaceae"), ("u1.jpg", "strange"), ("u9.jpg", "odd")]
    )
    (tmp_path / "map.csv").write_text("label,path\nstrange,unknown\nodd,unknown\n")
    more = write_table(tmp_path / "u.csv", [("u2.jpg", "Salix alba"), ("u3.jpg", "Salix alba")])
    found = evaluate(
        EvaluateConfig(
            classifier=folder,
            images=test,
            region=region,
            taxon_map=tmp_path / "map.csv",
            unknown=more,
            device="cpu",
        )
    )
    # Novelty is the largest logit, negated. Accepted: 6, 5, 4, 3 of the known, 4.5 of the unknown.
    figures = found.metrics["open_set"]
    right_pairs = (
        sum(k > u for k in (6, 5, 4, 3, 1) for u in (4.5, 1.5, 1, 0)) + 0.5 * 1
    )  # one tie at 1
    assert figures == {
        "score": "max_logit",
        "threshold": -2.0,
        "known_images": 5,
        "unknown_images": 4,
        "unreadable": {"u9.jpg": "torn"},
        "TPR": 0.8,
        "TNR": 0.75,
        "ACC": pytest.approx(0.775),
        "AUROC": pytest.approx(right_pairs / 20),
        "AUPR": pytest.approx((1 + 1 + 3 / 4 + 4 / 5 + 5 / 8) / 5),
        "FPR@95": 0.75,  # all five known are accepted at 1, and then all but the 0
        # All known photos are named right, so that this is the AUROC.
        "OSCR": pytest.approx(right_pairs / 20),
        "by_novelty": {
            "other": {
                "images": 4,
                "TPR": 0.8,
                "TNR": 0.75,
                "ACC": pytest.approx(0.775),
                "AUROC": pytest.approx(right_pairs / 20),
                "AUPR": pytest.approx((1 + 1 + 3 / 4 + 4 / 5 + 5 / 8) / 5),
                "FPR@95": 0.75,
                "OSCR": pytest.approx(right_pairs / 20),
            }
        },
    }
    assert found.unknown_novelty == (-4.5, -1.0, 0.0, -1.5)
    assert found.metrics["test"]["unknown_images"] == 1
    assert found.metrics["region"]["unknown_images"] == 2
    assert found.metrics["region"]["matched_images"] == 1
    # What holds for photos like the calibration photos need not hold elsewhere.
    promise = found.metrics["region"]["decision"]["promise"]
    assert promise == "none: calibrated on photos from elsewhere"


def test_without_a_threshold_there_are_no_open_set_figures(tmp_path: Path, script: Script) -> None:
    TaxonClassifier(tiny_parts(), device="cpu").save(tmp_path / "plain")
    script({"a.jpg": [1.0] * 6, "u.jpg": [0.0] * 6})
    found = evaluate(
        EvaluateConfig(
            classifier=tmp_path / "plain",
            images=write_table(tmp_path / "t.csv", [("a.jpg", "Acer")]),
            unknown=write_table(tmp_path / "u.csv", [("u.jpg", "Salix")]),
            device="cpu",
        )
    )
    assert found.metrics["open_set"] is None
    assert found.metrics["test"]["decision"]["flagged_unknown"] == 0


def test_known_taxa_among_the_unknown_are_refused(
    folder: Path, tmp_path: Path, script: Script
) -> None:
    script({"a.jpg": [1.0] * 6})
    test = write_table(tmp_path / "t.csv", [("a.jpg", "Acer")])
    stray = write_table(tmp_path / "u.csv", [("u.jpg", "Salix"), ("v.jpg", "dog rose")])
    with pytest.raises(DataError, match=r"1 photos are of taxa .*v.jpg, dog rose"):
        evaluate(EvaluateConfig(classifier=folder, images=test, unknown=stray, device="cpu"))


def test_of_a_manifest_with_splits_the_unknown_ones_are_judged(
    folder: Path, tmp_path: Path, script: Script
) -> None:
    script({name: [1.0] * 6 for name in ("a.jpg", "b.jpg", "u.jpg", "v.jpg")})
    rows = [("a.jpg", "Acer", "test"), ("b.jpg", "Acer", "train"), ("u.jpg", "Salix", "unknown")]
    split = write_table(tmp_path / "split.csv", [*rows, ("v.jpg", "Ilex", "")], "split")
    given = {"classifier": folder, "images": split, "device": "cpu"}
    found = evaluate(EvaluateConfig.model_validate({**given, "unknown": split}))
    assert found.metrics["test"]["matched_images"] == 1
    assert found.metrics["open_set"]["unknown_images"] == 1
    stray = write_table(tmp_path / "stray.csv", [*rows, ("x.jpg", "Acer", "unknown")], "split")
    with pytest.raises(DataError, match=r"1 photos are of taxa that the classifier knows.*x.jpg"):
        evaluate(EvaluateConfig.model_validate({**given, "unknown": stray}))
    known = write_table(tmp_path / "known.csv", rows[:2], "split")
    with pytest.raises(
        DataError, match=r"no photo is in the split 'unknown' \(splits: train, test\).*--hold-out"
    ):
        evaluate(EvaluateConfig.model_validate({**given, "unknown": known}))
    empty = write_table(tmp_path / "empty.csv", [])
    with pytest.raises(DataError, match=r"empty\.csv has no rows"):
        evaluate(EvaluateConfig.model_validate({**given, "unknown": empty}))


def test_unreadable_and_dropped_photos_are_counted(
    folder: Path, photos: tuple[Path, list[int], dict[str, list[float]]]
) -> None:
    found = evaluate(EvaluateConfig(classifier=folder, images=photos[0], device="cpu"))
    test = found.metrics["test"]
    assert test["unreadable"] == {"79.jpg": "torn"}
    assert test["dropped"] == {"Salix alba": 2, "Rubus idaeus": 1}
    assert (test["matched_images"], test["matched_taxa"]) == (80, 5)
    assert (test["dropped_images"], test["dropped_taxa"]) == (3, 2)
    assert found.test.rows == list(range(79))


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (
            [("a.jpg", "Salix"), ("b.jpg", "Ilex")],
            r"t.csv: no photo is of a taxon .*Ilex.*--taxon-map",
        ),
        (
            [("lost.jpg", "Acer")],
            r"t.csv: none of the 1 photos can be read \(first: lost.jpg: torn\)",
        ),
    ],
)
def test_nothing_to_judge_is_an_error(
    folder: Path, tmp_path: Path, script: Script, rows: list[tuple[str, str]], complaint: str
) -> None:
    script({})
    path = write_table(tmp_path / "t.csv", rows)
    with pytest.raises(DataError, match=complaint):
        evaluate(EvaluateConfig(classifier=folder, images=path, device="cpu"))


def test_a_region_without_shared_taxa_is_an_error_that_says_what_to_do(
    folder: Path, tmp_path: Path, script: Script
) -> None:
    script({"a.jpg": [1.0] * 6})
    given = EvaluateConfig(
        classifier=folder,
        images=write_table(tmp_path / "t.csv", [("a.jpg", "Acer")]),
        region=write_table(tmp_path / "r.csv", [("b.jpg", "Salix"), ("c.jpg", "Ilex")]),
        device="cpu",
    )
    everything = {"prior_shift": True, "batch_norm": "target", "by": ("taxon",)}
    for options in ({}, everything):
        with pytest.raises(DataError, match=r"r.csv: no photo .*Salix, Ilex.*taxonet data match"):
            evaluate(given.model_copy(update=options))


def test_a_map_without_a_region_is_refused(folder: Path, tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", [("a.jpg", "Acer")])
    given = EvaluateConfig(classifier=folder, images=path, taxon_map=path, device="cpu")
    with pytest.raises(ConfigError, match="--region"):
        evaluate(given)


def test_the_split_is_respected(folder: Path, tmp_path: Path, script: Script) -> None:
    script({"a.jpg": [1.0] * 6, "b.jpg": [1.0] * 6})
    rows = [("a.jpg", "Acer", "train"), ("b.jpg", "Rubus", "test")]
    path = write_table(tmp_path / "t.csv", rows, "split")
    given = EvaluateConfig(classifier=folder, images=path, device="cpu")
    assert evaluate(given).photos.known.frame["image"].tolist() == ["b.jpg"]
    other = given.model_copy(update={"split": "train"})
    assert evaluate(other).photos.known.frame["image"].tolist() == ["a.jpg"]
    with pytest.raises(DataError, match="split 'val'"):
        evaluate(given.model_copy(update={"split": "val"}))


def test_exact_copies_of_training_photos_are_counted(
    folder: Path, tmp_path: Path, script: Script
) -> None:
    for name, seed in (("a.png", 1), ("copy.png", 2), ("c.png", 3)):
        save_photo(tmp_path / name, seed)
    script({"a.png": [1.0] * 6, "copy.png": [1.0] * 6})
    rows = [("a.png", "Acer"), ("copy.png", "Acer"), ("gone.png", "Acer")]
    given = EvaluateConfig(
        classifier=folder, images=write_table(tmp_path / "t.csv", rows), device="cpu"
    )
    assert evaluate(given).metrics["test"]["seen_in_training"] is None
    trained = [sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("copy.png", "c.png")]
    indexed = shutil.copytree(folder, tmp_path / "indexed")
    (indexed / "index").mkdir()
    pq.write_table(pa.table({"sha256": trained}), indexed / "index" / "training.parquet")
    given = given.model_copy(update={"classifier": indexed})
    assert evaluate(given).metrics["test"]["seen_in_training"] == 1


def test_metrics_are_json_without_nan(
    folder: Path, tmp_path: Path, photos: tuple[Path, list[int], dict[str, list[float]]]
) -> None:
    unknown = write_table(tmp_path / "u.csv", [("5.jpg", "Salix")])
    given = EvaluateConfig(
        classifier=folder, images=photos[0], region=photos[0], unknown=unknown, device="cpu"
    )
    metrics = evaluate(given).metrics
    write_json(tmp_path / "metrics.json", metrics)  # refuses NaN
    again = json.loads((tmp_path / "metrics.json").read_text())
    assert again["test"]["levels"] == metrics["test"]["levels"]
    assert again["region"]["levels"] == metrics["test"]["levels"]
    assert again["recipe"]["model"]["backbone"] == "resnet32"


def test_the_order_and_the_batches_of_the_photos_do_not_matter(
    folder: Path, tmp_path: Path, photos: tuple[Path, list[int], dict[str, list[float]]]
) -> None:
    frame = pd.read_csv(photos[0])
    frame.sample(frac=1, random_state=3).to_csv(tmp_path / "shuffled.csv", index=False)
    found = [
        evaluate(
            EvaluateConfig(classifier=folder, images=tmp_path / name, batch_size=size, device="cpu")
        ).metrics["test"]
        for name, size in (("photos.csv", 64), ("photos.csv", 1), ("shuffled.csv", 7))
    ]
    for other in found[1:]:
        for part in ("levels", "decision", "confused", "per_class", "dropped", "unreadable"):
            assert other[part] == found[0][part], part
        assert_close(other["calibration"], found[0]["calibration"], "calibration")


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (64, 1)])
def test_real_photos_give_the_same_in_any_batch_and_worker(
    tmp_path: Path, batch_size: int, workers: int
) -> None:
    TaxonClassifier(tiny_parts(), device="cpu").save(tmp_path / "classifier")
    rows = []
    for seed in range(12):
        save_photo(tmp_path / f"{seed}.png", seed)
        rows.append((f"{seed}.png", NAMES[seed % 6]))
    (tmp_path / "7.png").write_bytes(b"")
    given = EvaluateConfig(
        classifier=tmp_path / "classifier",
        images=write_table(tmp_path / "t.csv", rows),
        batch_size=5,
        device="cpu",
    )
    one = evaluate(given)
    other = evaluate(given.model_copy(update={"batch_size": batch_size, "workers": workers}))
    assert one.metrics["test"]["levels"]["class"]["rank1"] >= 6 / 11  # these photos it knows
    assert other.metrics["test"]["levels"] == one.metrics["test"]["levels"]
    assert other.test.rows == one.test.rows == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    assert other.test.predicted == one.test.predicted
    assert other.test.named == one.test.named
    assert other.test.prob == pytest.approx(one.test.prob, abs=1e-5)
    assert other.test.novelty == pytest.approx(one.test.novelty, abs=1e-4)
    assert other.test.norm == pytest.approx(one.test.norm, rel=1e-5)


def test_a_rank_called_class_is_not_taken_for_the_classes(tmp_path: Path, script: Script) -> None:
    """Magnoliopsida is a class in biology; a classifier's classes are something else."""
    rows = [("Pinopsida", f"Pinus {k}") for k in range(2)]
    rows += [("Magnoliopsida", f"Acer {k}") for k in range(4)]
    tree = Taxonomy.from_table(pd.DataFrame(rows, columns=["class", "species"]))
    leaves = tuple(int(node) for node in tree.leaves)
    TaxonClassifier(tiny_parts(taxonomy=tree, class_nodes=leaves), device="cpu").save(
        tmp_path / "classifier"
    )
    said = {"a.jpg": 0, "b.jpg": 1, "c.jpg": 5}
    script({name: [5.0 * (k == place) for place in range(6)] for name, k in said.items()})
    rows = [("a.jpg", "Acer 0"), ("b.jpg", "Acer 2"), ("c.jpg", "Acer 3")]
    found = evaluate(
        EvaluateConfig(
            classifier=tmp_path / "classifier",
            images=write_table(tmp_path / "t.csv", rows),
            device="cpu",
        )
    )
    levels = found.metrics["test"]["levels"]
    assert {name: level["taxa"] for name, level in levels.items()} == {
        CLASS_LEVEL: 6,
        "species": 6,
        "rank class": 2,
    }
    assert levels["class"]["rank1"] == pytest.approx(1 / 3)
    assert levels["rank class"]["rank1"] == pytest.approx(2 / 3)
    # The classes are the species here, and need not be shown twice.
    assert list(shown_levels(found.test)) == ["species", "rank class"]
