"""The study of decision rules: its figures against loops and against figures by hand."""

import argparse
import json
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import decision_rules, decision_study
from benchmarks.decision_rules import ALPHAS, RULES, JudgedPhotos, area, areas, draws, outcome
from taxonet.classifier import TaxonClassifier
from taxonet.inference import MeanRiskControlled, RiskControlled
from taxonet.inference.decision import RankThresholds
from taxonet.metrics import node_coverage
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import sum_up
from tests.helpers import CLASS_NODES, save_photo, tiny_parts

#: root, Acer, Quercus, Acer rubrum, Quercus alba, Quercus rubra.
TREE = Taxonomy.from_table(
    pd.DataFrame(
        {"genus": ["Acer", "Quercus", "Quercus"], "species": ["A. rubrum", "Q. alba", "Q. rubra"]}
    )
)
COVERAGE = node_coverage(TREE)


def drawn(images: int) -> JudgedPhotos:
    """Honest probabilities: the truth is drawn from them."""
    rng = generator("decisions of a test", images)
    leaf_probs = rng.dirichlet([0.3] * 3, images)
    place = (rng.random((images, 1)) > leaf_probs.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    values = torch.zeros(images, len(TREE), dtype=torch.float64)
    values[:, torch.tensor(TREE.leaves)] = torch.from_numpy(leaf_probs)
    return JudgedPhotos(TREE, sum_up(TREE, values), TREE.leaves[place])


@pytest.mark.parametrize("among_names", [False, True])
def test_the_outcome_equals_a_loop(among_names: bool) -> None:
    rng = generator("outcome")
    named, truth = rng.integers(0, len(TREE), 50), rng.integers(1, len(TREE), 50)
    found = outcome(named, truth, taxonomy=TREE, coverage=COVERAGE, among_names=among_names)
    below = {
        node: sum(node in TREE.ancestors(int(leaf)) for leaf in TREE.leaves)
        for node in range(len(TREE))
    }
    told = [1 - log(below[node]) / log(below[0]) for node in named]
    wrong = [node not in TREE.ancestors(int(true)) for node, true in zip(named, truth, strict=True)]
    spoken = [node != 0 for node in named]
    assert found.coverage == pytest.approx(sum(told) / 50)
    assert found.named == pytest.approx(sum(spoken) / 50)
    assert found.depth == pytest.approx(sum(len(TREE.ancestors(int(n))) - 1 for n in named) / 50)
    assert found.risk == pytest.approx(sum(wrong) / (sum(spoken) if among_names else 50))


def test_nothing_named_is_no_risk() -> None:
    found = outcome(
        np.zeros(3, dtype=np.int64),
        np.array([3, 4, 5]),
        taxonomy=TREE,
        coverage=COVERAGE,
        among_names=True,
    )
    assert found == (0, 0, 0, 0)


def test_every_draw_fits_on_one_half_and_judges_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = drawn(41)
    found = draws(photos, number=3, seed=5)
    assert list(found) == list(RULES)
    risks, named = [], []
    for draw in range(3):
        order = generator("decision study", 5, draw).permutation(41)
        first, second = order[:20], order[20:]
        policy = MeanRiskControlled(0.1).fit(photos.node_probs[first], photos.truth[first], TREE)
        names = policy.decide(photos.node_probs[second], TREE)
        right = [
            n in TREE.ancestors(int(t)) for n, t in zip(names, photos.truth[second], strict=True)
        ]
        risks.append(1 - sum(right) / 21)
        named.append(sum(names > 0) / 21)
    of_rule = found["MeanRiskControlled"]["0.1"]
    assert of_rule["risk"] == pytest.approx(sum(risks) / 3)
    assert of_rule["risk_sd"] == pytest.approx(np.std(risks))
    assert of_rule["over"] == pytest.approx(sum(risk > 0.1 for risk in risks) / 3)
    assert of_rule["named"] == pytest.approx(sum(named) / 3)
    assert draws(photos, number=3, seed=5) == found
    assert draws(photos, number=3, seed=6) != found


def test_promises_are_kept_where_probabilities_are_honest() -> None:
    found = draws(drawn(1000), number=20, seed=0)
    for rule in ("MeanRiskControlled", "Climbing"):
        for alpha in ALPHAS:
            assert found[rule][str(alpha)]["risk"] <= alpha + 0.005
    # With confidence is stricter than on average, and so names less and is over alpha less often.
    sure, mean = found["RiskControlled"]["0.1"], found["MeanRiskControlled"]["0.1"]
    assert sure["coverage"] < mean["coverage"]
    assert sure["over"] <= mean["over"]
    assert found["Climbing"]["0.1"]["coverage"] > found["Climbing"]["0.01"]["coverage"] > 0


def test_too_few_photos_to_promise_anything_are_silent_draws() -> None:
    found = draws(drawn(20), number=4, seed=0)
    assert (
        RiskControlled(0.01, 0.1)
        .fit(drawn(10).node_probs, drawn(10).truth, TREE)
        .found.groups[0]
        .threshold_prob
        is None
    )
    assert found["RiskControlled"]["0.01"]["silent"] == 1
    assert found["RiskControlled"]["0.01"]["risk"] == 0


def test_an_area_by_hand() -> None:
    """Genera, both right: coverage 0.685 without a risk; then leaves, one of two wrong."""
    probs = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.9, 0.1], [1.0, 0.2, 0.8, 0.2, 0.7, 0.1]])
    photos = JudgedPhotos(TREE, probs, np.array([4, 5]))
    genera = RankThresholds({"genus": 0.5, "species": 1.0}).fit(probs, [4, 5], TREE)
    leaves = RankThresholds({"genus": 0.5, "species": 0.5}).fit(probs, [4, 5], TREE)
    at_genus = 1 - log(2) / log(3)
    assert area(photos, [genera, leaves]) == pytest.approx((1 - at_genus) * 0.5 / 2)
    assert area(photos, [genera]) is None  # it never names leaves


def test_areas_agree_with_the_curve_of_single_sure_photos() -> None:
    """With all probability on one leaf every rule goes from the root to that leaf at once."""
    probs = torch.zeros(4, len(TREE))
    probs[:, [0, 2, 4]] = 1
    photos = JudgedPhotos(TREE, probs, np.array([4, 4, 4, 3]))
    found = areas(photos)
    assert found["Climbing"] == pytest.approx(0.125)  # a triangle up to risk 1 / 4
    assert found["LeafSets"] == pytest.approx(0.125)
    assert [found[rule] for rule in RULES if rule not in ("Climbing", "LeafSets")] == [None] * 4


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A classifier folder, and a table of its six photos and one that cannot be read."""
    work = tmp_path_factory.mktemp("judged")
    TaxonClassifier(tiny_parts(), device="cpu").save(work / "classifier")
    names = ("Rubus", "Betulaceae", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")
    for seed in range(6):
        save_photo(work / f"{seed}.png", seed)
    (work / "0.png").write_bytes(b"")
    rows = [(f"{seed}.png", name, "test") for seed, name in enumerate(names)]
    rows.append(("other.png", "Acer", "train"))
    pd.DataFrame(rows, columns=["image", "taxon", "split"]).to_csv(work / "split.csv", index=False)
    return work / "classifier", work / "split.csv"


def test_probabilities_are_of_the_spanned_tree_and_computed_once(
    judged: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = decision_study.judged_photos(*judged, work=tmp_path)
    classifier = TaxonClassifier.load(judged[0], device="cpu")
    nodes = classifier.reading.tree_nodes.numpy()
    assert photos.taxonomy.digest == classifier.reading.tree.digest
    assert nodes[photos.truth].tolist() == [1, *CLASS_NODES[2:]]
    assert photos.node_probs[:, 0].tolist() == pytest.approx([1] * 5)
    best = classifier.class_nodes[
        photos.node_probs[:, torch.from_numpy(np.searchsorted(nodes, CLASS_NODES))]
        .argmax(dim=1)
        .numpy()
    ]
    assert best[2:].tolist() == [7, 8, 6]  # the last is Acer rubrum, no surer than its genus Acer
    monkeypatch.setattr(TaxonClassifier, "score", None)
    again = decision_study.judged_photos(*judged, work=tmp_path)
    assert torch.equal(again.node_probs, photos.node_probs)
    assert again.truth.tolist() == photos.truth.tolist()


def test_a_record_is_rendered(judged: tuple[Path, Path], tmp_path: Path) -> None:
    assert decision_study.render(tmp_path) == "not run"
    options = argparse.Namespace(
        classifier=judged[0], images=judged[1], name="tiny", draws=2, seed=0, work=tmp_path
    )
    record: dict[str, Any] = decision_study.measure(options)
    record["rules"]["Climbing"]["0.05"] |= {
        "coverage": 0.5, "named": 0.75, "depth": 1.25, "risk": 0.03, "risk_sd": 0.01,
        "over": 0.2, "silent": 0.0,
    }  # fmt: skip
    record["area"]["Climbing"] = 0.0625
    (tmp_path / "decision-study.jsonl").write_text(json.dumps(record) + "\n")
    lines = decision_study.render(tmp_path).splitlines()
    assert lines[0] == "**tiny: 5 test photos, 5 leaves, 2 divisions, delta 0.1.**"
    assert "| Climbing | 5 % | 50.0 | 75.0 | 1.25 | 3.0 ± 1.0 | 20.0 | 0.0 | 0.062 |" in lines
    rules = [line for line in lines if line.startswith(tuple(f"| {rule} |" for rule in RULES))]
    assert len(rules) == len(RULES) * len(ALPHAS)
    assert record["delta"] == decision_rules.DELTA
