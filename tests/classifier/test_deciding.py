"""Stored scores give the rows that the classifier gives, by any policy."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxonet.classifier import (
    Calibration,
    DecisionRule,
    PredictedGroups,
    SpannedTree,
    TaxonClassifier,
    decide_from_file,
    fingerprint,
    predict_to_file,
    write_rule,
)
from taxonet.classifier.rows import is_figure
from taxonet.errors import CheckpointError, ConfigError, DataError
from taxonet.inference.decision import (
    Climbing,
    InformationGain,
    LeafSets,
    MeanRiskControlled,
    RankThresholds,
    RiskControlled,
)
from taxonet.recipes.verbs import DecideConfig, PredictConfig
from taxonet.taxonomy import Taxonomy
from tests.helpers import tiny_parts

POLICIES: dict[str, tuple[Any, str | None]] = {
    "risk": (lambda: RiskControlled(0.3, 0.3), None),
    "by family": (lambda: RiskControlled(0.4, 0.4), "family"),
    "by shot group": (lambda: MeanRiskControlled(0.4), "shot_group"),
    "mean": (lambda: MeanRiskControlled(0.2), None),
    "ranks": (lambda: RankThresholds({"genus": 0.5}), None),
    "climbing": (lambda: Climbing(0.2), None),
    "sets": (lambda: LeafSets(0.2), None),
    "information": (lambda: InformationGain(0.2), None),
}


def fitted(name: str, classifier: TaxonClassifier, photos: list[str]) -> DecisionRule:
    """A policy fitted to the classifier's own answers, many times over, some of them wrong."""
    make, group_by = POLICIES[name]
    readable = [path for row, path in enumerate(photos) if row not in (3, 9)]
    (batch,) = classifier.score(((path, Path(path)) for path in readable), batch_size=99)
    here = SpannedTree.of(classifier.taxonomy, classifier.class_nodes)
    probs = here.probs(classifier.node_probs(batch.logits)).repeat(10, 1)
    classes = here.places(classifier.class_nodes)
    truth = classes[np.arange(len(probs)) % 6]
    groups = PredictedGroups.of(group_by, here.tree, classes, classifier.class_counts)
    given = {} if groups is None else {"groups": groups(probs)}
    policy = make().fit(probs, truth, here.tree, **given)
    return DecisionRule(policy, group_by, probabilities=fingerprint(classifier.parts))


def read(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    figures = {name: float for name in frame.columns if is_figure(name)}
    return frame.replace("", None).astype(figures)


def scored(classifier: Path, photos: list[str], folder: Path, **options: Any) -> Path:
    """Scores of photos by a classifier's folder."""
    given: dict[str, Any] = {"device": "cpu", "batch_size": 4} | options
    config = PredictConfig(
        classifier=classifier,
        images=tuple(photos),
        out=folder / "own.csv",
        scores=folder / "scores.parquet",
        **given,
    )
    predict_to_file(config)
    return folder / "scores.parquet"


@pytest.fixture
def scores(saved: Path, photos: list[str], tmp_path: Path) -> Path:
    """Scores of the photos, with all probabilities."""
    return scored(saved, photos, tmp_path, node_probs_from=0)


@pytest.mark.parametrize("name", POLICIES)
def test_decide_gives_the_rows_of_predict(
    name: str, saved: Path, photos: list[str], scores: Path, tmp_path: Path
) -> None:
    rule = fitted(name, TaxonClassifier.load(saved, device="cpu"), photos)
    parts = replace(tiny_parts("cosine"), rule=rule)
    TaxonClassifier(parts, device="cpu").save(tmp_path / "classifier")
    summary = decide_from_file(
        DecideConfig(
            scores=scores,
            policy=tmp_path / "classifier" / "decision.yaml",
            out=tmp_path / "decided.csv",
            top_k=2,
        )
    )
    predict_to_file(
        PredictConfig(
            classifier=tmp_path / "classifier",
            images=tuple(photos),
            out=tmp_path / "rows.csv",
            top_k=2,
            device="cpu",
            batch_size=4,
        )
    )
    expected = read(tmp_path / "rows.csv")
    pd.testing.assert_frame_equal(read(tmp_path / "decided.csv"), expected, atol=1e-6)
    assert (expected["promise"].dropna() == rule.promise).all()
    named = (~expected["rule"].isin(["unknown", "unreadable"])).sum()
    assert (summary.images, summary.named, summary.promise) == (14, named, rule.promise)


def test_photos_that_are_too_novel_stay_unknown(
    photos: list[str], tmp_path: Path, saved: Path
) -> None:
    rule = fitted("ranks", TaxonClassifier.load(saved, device="cpu"), photos)
    calibration = Calibration(images=9, novelty_threshold=-3.0)
    parts = replace(tiny_parts("cosine"), rule=rule, calibration=calibration)
    folder = tmp_path / "classifier"
    TaxonClassifier(parts, device="cpu").save(folder)
    rows, decided = tmp_path / "rows.csv", tmp_path / "decided.csv"
    path = tmp_path / "scores.parquet"
    predict_to_file(
        PredictConfig(classifier=folder, images=tuple(photos), out=rows, scores=path, device="cpu")
    )
    decide_from_file(DecideConfig(scores=path, policy=folder / "decision.yaml", out=decided))
    rules = read(decided)["rule"]
    assert rules.tolist() == read(rows)["rule"].tolist()
    assert 0 < (rules == "unknown").sum() < 12


def test_what_voids_a_promise_travels_with_the_scores(
    saved: Path, photos: list[str], tmp_path: Path
) -> None:
    rule = fitted("risk", TaxonClassifier.load(saved, device="cpu"), photos)
    write_rule(rule, tmp_path / "rule.yaml")
    path = scored(saved, photos[:2], tmp_path, within=("family=Rosaceae",))
    summary = decide_from_file(
        DecideConfig(
            scores=path,
            policy=tmp_path / "rule.yaml",
            out=tmp_path / "decided.csv",
        )
    )
    assert summary.promise == "none: calibrated for all taxa"


def test_scores_that_leave_out_too_much_are_refused(
    saved: Path, photos: list[str], tmp_path: Path
) -> None:
    path = scored(saved, photos[:2], tmp_path)
    classifier = TaxonClassifier.load(saved, device="cpu")
    for name, says in (
        ("climbing", "the policy climbing looks at those from 0"),
        ("by family", "the policy risk_controlled by family looks at those from 0"),
    ):
        write_rule(fitted(name, classifier, photos), tmp_path / "rule.yaml")
        given = DecideConfig(
            scores=path, policy=tmp_path / "rule.yaml", out=tmp_path / "decided.csv"
        )
        with pytest.raises(ConfigError, match=f"holds probabilities from 0.01, and {says}"):
            decide_from_file(given)
        assert not given.out.exists()


def test_bad_files_are_named(scores: Path, saved: Path, photos: list[str], tmp_path: Path) -> None:
    write_rule(
        fitted("risk", TaxonClassifier.load(saved, device="cpu"), photos), tmp_path / "rule.yaml"
    )
    given = DecideConfig(scores=scores, policy=tmp_path / "rule.yaml", out=tmp_path / "decided.csv")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"image": ["a.jpg"]}), other)
    with pytest.raises(DataError, match=r"other\.parquet cannot be read as scores"):
        decide_from_file(given.model_copy(update={"scores": other}))
    table = pq.read_table(scores)
    pq.write_table(table.replace_schema_metadata({b"taxonet.scores": b'{"format": 9}'}), other)
    with pytest.raises(DataError, match="has scores of format 9, and this version reads format 1"):
        decide_from_file(given.model_copy(update={"scores": other}))
    tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Tilia")])
    foreign = tiny_parts("cosine", taxonomy=tree, class_nodes=(1, 2))
    TaxonClassifier(foreign, device="cpu").save(tmp_path / "foreign")
    predict_to_file(
        PredictConfig(
            classifier=tmp_path / "foreign",
            images=tuple(photos[:1]),
            out=tmp_path / "rows.csv",
            scores=tmp_path / "foreign.parquet",
            device="cpu",
        )
    )
    with pytest.raises(DataError, match="was fitted to classes whose tree has the digest"):
        decide_from_file(given.model_copy(update={"scores": tmp_path / "foreign.parquet"}))
    shutil.copy(scores, given.out)
    with pytest.raises(ConfigError, match=r"decided\.csv exists already"):
        decide_from_file(given)


def test_scores_of_another_classifier_have_no_promise(
    scores: Path, saved: Path, photos: list[str], tmp_path: Path
) -> None:
    rule = fitted("risk", TaxonClassifier.load(saved, device="cpu"), photos)
    own = DecideConfig(scores=scores, policy=tmp_path / "rule.yaml", out=tmp_path / "mine.csv")
    write_rule(rule, own.policy)
    assert decide_from_file(own).promise == rule.promise
    for probabilities in ("5f", None):
        write_rule(replace(rule, probabilities=probabilities), own.policy)
        other = own.model_copy(update={"out": tmp_path / f"{probabilities}.csv"})
        assert decide_from_file(other).promise == "none: calibrated for another classifier"
    foreign = replace(tiny_parts("cosine"), rule=replace(rule, probabilities="5f"))
    TaxonClassifier(foreign, device="cpu").save(tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="fitted to the probabilities of another classifier"):
        TaxonClassifier.load(tmp_path / "foreign")


def test_what_voids_the_promise_of_one_policy_may_leave_anothers(
    saved: Path, photos: list[str], tmp_path: Path
) -> None:
    """Without renormalising names only get coarser: by one threshold, but not by climbing."""
    some: dict[str, Any] = {"within": ("family=Rosaceae",), "renormalise": False}
    path = scored(saved, photos[:2], tmp_path, node_probs_from=0, **some)
    classifier = TaxonClassifier.load(saved, device="cpu")
    promises = {}
    for name in ("risk", "climbing", "by family"):
        rule = fitted(name, classifier, photos)
        write_rule(rule, tmp_path / f"{name}.yaml")
        found = decide_from_file(
            DecideConfig(
                scores=path, policy=tmp_path / f"{name}.yaml", out=tmp_path / f"{name}.csv"
            )
        )
        promises[name] = found.promise == rule.promise
    assert promises == {"risk": True, "climbing": False, "by family": False}
