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
from benchmarks.decision_curves import RuleCurve, curves
from benchmarks.decision_plot import draw_curves
from benchmarks.decision_rules import ALPHAS, RULES, JudgedPhotos, draws, outcome
from taxonet.classifier import TaxonClassifier
from taxonet.inference import MeanRiskControlled, RiskControlled
from taxonet.metrics import RiskCoverageCurve, node_coverage
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
    """Genera, both right: coverage 0.369 without a risk; then leaves, one of two wrong."""
    at_genus = 1 - log(2) / log(3)
    curve = RuleCurve(np.array([0, at_genus, 1]), np.array([0, 0, 0.5]))
    assert curve.area() == pytest.approx((1 - at_genus) * 0.5 / 2)
    middle = (1 + at_genus) / 2
    assert curve.risk_at(middle) == pytest.approx(0.25)
    assert curve.area(up_to=middle) == pytest.approx((middle - at_genus) * 0.25 / 2)
    short = RuleCurve(curve.coverage[:2], curve.risk[:2])
    assert (short.end, short.risk_at(0.5), short.area()) == (at_genus, None, None)


def test_curves_agree_where_a_photo_is_sure_of_one_leaf() -> None:
    """With all probability on one leaf every rule goes from the root to that leaf at once."""
    probs = torch.zeros(4, len(TREE))
    probs[:, [0, 2, 4]] = 1
    found = curves(JudgedPhotos(TREE, probs, np.array([4, 4, 4, 3])))
    assert len(found) == 4
    for curve in found.values():
        assert (curve.end, curve.risk_at(1)) == (1, 0.25)
        if curve.area() != pytest.approx(0.125):  # a triangle up to risk 1 / 4
            assert curve is found["InformationGain"]  # which names the genus on the way
    assert found["Climbing"].area() == pytest.approx(0.125)


def test_the_curve_of_climbing_is_that_of_the_metric() -> None:
    photos = drawn(300)
    exact = RiskCoverageCurve(TREE)
    exact.update(photos.node_probs.clamp(0, 1), photos.truth)
    found = curves(photos)
    assert found["Climbing"].area() == pytest.approx(exact.compute().area, abs=1e-3)
    # Above one half both rules name the same nodes.
    threshold = found["Threshold of at least 0.5"]
    assert threshold.end < 1
    for coverage in (0.1, 0.3, 0.5):
        assert threshold.risk_at(coverage) == pytest.approx(
            found["Climbing"].risk_at(coverage), abs=0.01
        )


def test_an_unknown_taxon_is_no_leaf_for_a_set() -> None:
    photos = drawn(60)
    mixed = JudgedPhotos(TREE, photos.node_probs, photos.truth, unknown=1)
    assert "LeafSets" not in curves(mixed)
    assert "LeafSets" in curves(photos)
    assert list(draws(mixed, number=1, seed=0)) == [rule for rule in RULES if rule != "LeafSets"]


def test_the_same_curves_give_the_same_picture(tmp_path: Path) -> None:
    coverage = np.linspace(0, 1, 3)
    records: dict[str, dict[str, Any]] = {
        "one": {"Climbing": {"risk": [0, 0.1, 0.3]}},
        "two": {"Climbing": {"risk": [0, 0.1, None]}},
    }
    for name in ("a.svg", "b.svg"):
        draw_curves(records, coverage, tmp_path / "figures" / name)
    first, second = ((tmp_path / "figures" / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second
    assert first.startswith(b"<?xml")


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


def test_photos_of_unknown_taxa_are_true_to_their_genus(
    judged: tuple[Path, Path], tmp_path: Path
) -> None:
    unknown = tmp_path / "unknown.csv"
    save_photo(tmp_path / "new.png", 7)
    rows = {"image": ["new.png"], "taxon": ["Rosa nova"], "genus": ["Rosa"]}
    pd.DataFrame(rows).to_csv(unknown, index=False)
    photos = decision_study.judged_photos(*judged, unknown, work=tmp_path)
    assert photos.unknown == 1
    assert len(photos.truth) == len(photos.node_probs) == 6
    assert photos.taxonomy.names[photos.truth[-1]] == "Rosa"


def test_a_record_is_rendered(judged: tuple[Path, Path], tmp_path: Path) -> None:
    assert decision_study.render(tmp_path) == "not run"
    options = argparse.Namespace(
        features=None,
        classifier=judged[0],
        images=judged[1],
        unknown=None,
        name="tiny",
        draws=2,
        seed=0,
        work=tmp_path,
    )
    record: dict[str, Any] = decision_study.measure(options)
    record["rules"]["Climbing"]["0.05"] |= {
        "coverage": 0.5, "named": 0.75, "depth": 1.25, "risk": 0.03, "risk_sd": 0.01,
        "over": 0.2, "silent": 0.0,
    }  # fmt: skip
    record["curves"]["Climbing"] = {
        "end": 1.0, "area": 0.0625, "area_shared": None, "risk": [0.2] * 40 + [None],
    }  # fmt: skip
    (tmp_path / "decision-study.jsonl").write_text(json.dumps(record) + "\n")
    lines = decision_study.render(tmp_path).splitlines()
    assert lines[0] == (
        "**tiny: 5 test photos, 0 of them of unknown taxa, 5 leaves, 2 divisions, delta 0.1.**"
    )
    assert "| Climbing | 5 % | 50.0 | 75.0 | 1.25 | 3.0 ± 1.0 | 20.0 | 0.0 |" in lines
    assert "| Climbing | 100.0 | 20.0 | 20.0 | 20.0 | n/a | 0.062 |" in lines
    rules = [line for line in lines if line.startswith(tuple(f"| {rule} |" for rule in RULES))]
    assert len(rules) == len(RULES) * len(ALPHAS) + 3  # three rules have curves of their name
    assert record["delta"] == decision_rules.DELTA
