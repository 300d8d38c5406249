"""The verb `calibrate`, on a classifier that was trained a moment ago."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from taxonet.classifier import (
    TaxonClassifier,
    decide_from_file,
    index_file,
    predict_to_file,
    read_calibration_scores,
    read_rule,
)
from taxonet.errors import ConfigError, DataError
from taxonet.recipes.verbs import CalibrateConfig, DecideConfig, PredictConfig
from taxonet.training import CalibrateResult, recalibrate, train
from tests.small_set import SPECIES, config, draw, write_set


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config(photos, tmp_path_factory.mktemp("calibrate") / "run")).folder


@pytest.fixture
def calibrate(run: Path, tmp_path: Path) -> Any:
    def calibrated(**options: Any) -> CalibrateResult:
        given: dict[str, Any] = {"classifier": run / "classifier"}
        given["images"] = run / "split.csv"
        given |= {"out": tmp_path / "new", "device": "cpu"}
        return recalibrate(CalibrateConfig(**(given | options)))

    return calibrated


def unknown_photos(folder: Path, taxa: dict[str, int]) -> Path:
    rows = []
    for taxon, count in taxa.items():
        for number in range(count):
            name = f"{taxon.replace('/', '_')}_{number}.png"
            folder.mkdir(parents=True, exist_ok=True)
            draw(name, 99).save(folder / name)
            rows.append((name, taxon))
    pd.DataFrame(rows, columns=["image", "taxon"]).to_csv(folder / "unknown.csv", index=False)
    return folder / "unknown.csv"


def one_photo(photos: Path) -> str:
    return str(next((photos / "images").glob("*test_0.png")))


def test_without_a_policy_it_says_what_training_said(
    run: Path, photos: Path, calibrate: Any
) -> None:
    result = calibrate(images=photos / "images.csv")
    old, new = (TaxonClassifier.load(one) for one in (run / "classifier", result.classifier))
    assert old.calibration.source is not None
    assert old.calibration.source.split == "calibration"
    assert old.calibration.source.images == "split.csv"
    without = {"source": None}
    assert new.calibration.model_copy(update=without) == old.calibration.model_copy(update=without)
    assert new.calibration.source is not None
    assert new.calibration.source.sha256 == old.calibration.source.sha256
    assert new.calibration.source.images == str(photos / "images.csv")
    assert result.images == 20
    assert result.promise == "none: chosen for 95% right names on 20 calibration photos"
    stored = [index_file(one).read_bytes() for one in (result.classifier, run / "classifier")]
    assert stored[0] == stored[1]
    assert len(read_calibration_scores(result.classifier, wanted_by="a test").images) == 20


def test_a_policy_is_kept_with_the_photos_it_came_from(
    photos: Path, calibrate: Any, tmp_path: Path
) -> None:
    result = calibrate(policy="risk_controlled", set=("alpha=0.4", "delta=0.4"), group_by="family")
    rule = read_rule(result.classifier / "decision.yaml")
    assert rule.group_by == "family"
    assert rule.source == TaxonClassifier.load(result.classifier).calibration.source
    assert result.promise == "at most 40 % of photos wrong, with confidence 60 %, for each family"
    predict_to_file(
        PredictConfig(
            classifier=result.classifier,
            images=(one_photo(photos),),
            out=tmp_path / "rows.csv",
        )
    )
    assert pd.read_csv(tmp_path / "rows.csv")["promise"].tolist() == [result.promise]


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        ("mean_risk_controlled", ("alpha=0.3",)),
        ("rank_thresholds", ("thresholds={genus: 0.5, species: 0.7}",)),
        ("climbing", ("alpha=0.3",)),
        ("leaf_sets", ("alpha=0.3",)),
        ("information_gain", ("eps=0.3",)),
    ],
)
def test_every_policy_can_be_calibrated(
    photos: Path, calibrate: Any, tmp_path: Path, policy: str, options: tuple[str, ...]
) -> None:
    result = calibrate(policy=policy, set=options)
    scores, out = tmp_path / "scores.parquet", tmp_path / "decided.csv"
    predict_to_file(
        PredictConfig(
            classifier=result.classifier,
            images=(one_photo(photos),),
            out=tmp_path / "rows.csv",
            scores=scores,
            node_probs_from=0,
        )
    )
    decide_from_file(
        DecideConfig(scores=scores, policy=result.classifier / "decision.yaml", out=out)
    )
    rows, decided = pd.read_csv(tmp_path / "rows.csv"), pd.read_csv(out)
    pd.testing.assert_frame_equal(rows, decided, atol=1e-6)


def test_a_fitted_novelty_score_decides_what_is_unknown(
    photos: Path, calibrate: Any, tmp_path: Path
) -> None:
    result = calibrate(images=photos / "images.csv", novelty_score="nearest_prototype")
    classifier = TaxonClassifier.load(result.classifier)
    calibration = classifier.calibration
    assert calibration.novelty_score == "nearest_prototype"
    table = pd.read_csv(photos / "images.csv")
    chosen = table["image"][table["split"] == "calibration"]
    rows = classifier.predict([photos / name for name in chosen])
    # 19 of the 20 photos are accepted, and it is a distance.
    assert calibration.novelty_threshold == pytest.approx(sorted(rows["noveltyScore"])[18])
    assert rows["noveltyScore"].min() > 0


def test_a_risk_can_be_asked_for_when_predicting(run: Path, photos: Path, tmp_path: Path) -> None:
    """Twenty photos cannot show 1 %, and say so: every answer is the root."""
    given: dict[str, Any] = {"classifier": run / "classifier", "images": (one_photo(photos),)}
    bold = predict_to_file(
        PredictConfig(**given, out=tmp_path / "bold.csv", risk=0.9, confidence=0.5)
    )
    shy = predict_to_file(PredictConfig(**given, out=tmp_path / "shy.csv", risk=0.01))
    assert bold.promise == "at most 90 % of photos wrong, with confidence 50 %"
    assert bold.notes == ()
    assert shy.promise == "at most 1 % of photos wrong, with confidence 95 %"
    assert pd.read_csv(tmp_path / "shy.csv")["rule"].tolist() == ["unknown"]
    assert any("20 images without a wrong name show a risk of at most" in n for n in shy.notes)


def test_unknown_taxa_take_part_with_what_is_known_of_them(
    run: Path, calibrate: Any, tmp_path: Path
) -> None:
    """A new rose is a rose, a new genus of a known family is of that family."""
    taxa = {"Rosaceae/Rosa/Rosa nova": 3, "Rosaceae/Fragaria/Fragaria vesca": 2, "Quercus": 1}
    unknown = unknown_photos(tmp_path / "unknown", taxa)
    result = calibrate(unknown=unknown, policy="risk_controlled", set=("alpha=0.4", "delta=0.4"))
    scores = read_calibration_scores(result.classifier, wanted_by="a test")
    tree = TaxonClassifier.load(result.classifier).taxonomy
    found = [tree.names[node] for node in scores.truth[~scores.known]]
    assert found == ["Rosa"] * 3 + ["Rosaceae"] * 2 + ["root"]
    assert result.images == 26
    plain = TaxonClassifier.load(run / "classifier").calibration
    mixed = TaxonClassifier.load(result.classifier).calibration
    # Neither the temperature nor the share of known photos that are accepted hears of them.
    assert mixed.temperature == plain.temperature
    assert mixed.novelty_threshold == plain.novelty_threshold


def test_photos_that_were_trained_on_are_left_out(calibrate: Any) -> None:
    with pytest.raises(DataError, match="knows and was not trained on"):
        calibrate(split="train")
    assert calibrate(split="val").notes == ()


def test_a_trained_photo_among_others_is_left_out(
    photos: Path, calibrate: Any, tmp_path: Path
) -> None:
    table = pd.read_csv(photos / "images.csv")
    table["image"] = [str((photos / name).resolve()) for name in table["image"]]
    mixed = pd.concat([table[table["split"] == "test"], table[table["split"] == "train"].head(3)])
    mixed = mixed.drop(columns="split")
    mixed.loc[len(table)] = ["oak.png", "Quercus robur"]
    mixed.loc[len(table) + 1] = ["rose.png", SPECIES[0].partition(" ")[0]]
    mixed.to_csv(tmp_path / "mixed.csv", index=False)
    result = calibrate(images=tmp_path / "mixed.csv")
    assert result.images == 4 * len(SPECIES)
    coarse, of_none, trained = result.notes
    assert coarse.startswith("1 photos are known to a higher taxon only (first: ")
    assert "--unknown" not in coarse
    assert of_none.startswith("1 photos are of no taxon that the classifier knows")
    assert trained == "3 photos were trained on and were left out."
    source = TaxonClassifier.load(result.classifier).calibration.source
    assert source is not None
    assert source.split is None


def test_of_a_group_one_photo_counts_if_asked_for(
    photos: Path, calibrate: Any, tmp_path: Path
) -> None:
    """Of 20 photos, three are of one plant, two of another, and two of no group that is known."""
    table = pd.read_csv(photos / "images.csv")
    table["image"] = [str((photos / name).resolve()) for name in table["image"]]
    table = table[table["split"] == "test"].drop(columns="split").reset_index(drop=True)
    table["group"] = [
        "oak",
        "oak",
        "oak",
        "elm",
        "elm",
        None,
        None,
        *map(str, range(len(table) - 7)),
    ]
    table.to_csv(tmp_path / "plants.csv", index=False)
    plain = calibrate(images=tmp_path / "plants.csv", out=tmp_path / "plain")
    assert plain.images == len(table)
    (note,) = plain.notes
    assert "20 photos of" in note
    assert "are of 17 groups" in note
    assert "--one-per-group" in note
    one_each = calibrate(images=tmp_path / "plants.csv", one_per_group=True)
    assert one_each.images == len(table) - 3
    assert one_each.notes[0].endswith("are of 17 groups, and one photo of each is used.")
    # Which photo stands for a plant does not depend on the order of the rows.
    table[::-1].to_csv(tmp_path / "backwards.csv", index=False)
    again = calibrate(
        images=tmp_path / "backwards.csv", one_per_group=True, out=tmp_path / "backwards"
    )
    names = [
        set(read_calibration_scores(one.classifier, wanted_by="a test").images)
        for one in (one_each, again)
    ]
    assert names[0] == names[1]
    with pytest.raises(ConfigError, match="has no column `group`"):
        calibrate(one_per_group=True, out=tmp_path / "none")


def test_what_cannot_be_is_refused_and_leaves_nothing(
    run: Path, calibrate: Any, tmp_path: Path
) -> None:
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"policy": "climing"}, "No policy is called 'climing'. Did you mean 'climbing'?"),
        ({"policy": "climbing", "set": ("beta=1",)}, "has no option 'beta'"),
        ({"policy": "climbing", "set": ("alpha=2",)}, "Expected alpha in (0, 1), got 2.0"),
        ({"policy": "climbing", "group_by": "family"}, "The policy climbing has no groups"),
        ({"policy": "risk_controlled", "group_by": "clan"}, "There are no groups by 'clan'"),
        ({"policy": "leaf_sets", "unknown": run}, "an unknown taxon is no leaf"),
        ({"policy": "rank_thresholds"}, "Expected a threshold for at least one rank, got none."),
        ({"novelty_score": "max_logits"}, "Did you mean 'max_logit'"),
        ({"out": run}, str(run)),
    ]
    for options, says in refusals:
        with pytest.raises(ConfigError) as refused:
            calibrate(**options)
        assert says in str(refused.value)
        assert not (tmp_path / "new").exists()


def test_photos_given_as_unknown_must_be(calibrate: Any, tmp_path: Path) -> None:
    known = unknown_photos(tmp_path / "unknown", {"Rosa canina": 1, "Quercus": 1})
    with pytest.raises(DataError, match="1 photos are of taxa that the classifier knows"):
        calibrate(unknown=known)


def test_photos_that_cannot_be_read_are_said_to_be(calibrate: Any, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", splits=("calibration",), train=dict.fromkeys(SPECIES, 1))
    shutil.rmtree(folder / "images")
    with pytest.raises(DataError, match="none of the 20 photos can be read"):
        calibrate(images=folder / "images.csv")
