"""The correction of a region's figures against loops, on scripted logits."""

from collections.abc import Callable
from math import exp, log
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

import taxonet.evaluation.prior_shift as prior_shift
from taxonet.classifier import TaxonClassifier
from taxonet.data.table import ImageTable
from taxonet.errors import DataError
from taxonet.evaluation import evaluate
from taxonet.evaluation.prior_shift import estimate_shift
from taxonet.recipes.verbs import EvaluateConfig
from taxonet.report import summary_tables
from taxonet.seeds import generator
from tests.evaluation.conftest import COUNTS, TEMPERATURE, Logits, write_table
from tests.helpers import CLASS_NODES
from tests.reference.evaluation import level_figures
from tests.reference.prior_shift import slow_em, slow_with_priors

NAMES = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")
COUNT_OF = dict(zip(CLASS_NODES, COUNTS, strict=True))
Script = Callable[[Logits], None]


def softmax(logits: list[float]) -> list[float]:
    likely = [exp((value - max(logits)) / TEMPERATURE) for value in logits]
    return [one / sum(likely) for one in likely]


@pytest.fixture
def region(tmp_path: Path, script: Script) -> tuple[Path, Path, list[int], list[list[float]]]:
    """A test set of one photo, and 60 of a region where what was rare is common."""
    truth = generator("truth of a region").choice(6, 60, p=[0.05, 0.3, 0.1, 0.1, 0.1, 0.35])
    noise = generator("noise of a region").normal(0, 1.5, (60, 6))
    for row, k in enumerate(truth):
        noise[row, k] += 3
        noise[row] += [log(count) for count in COUNTS]  # a classifier's own prejudice
    logits = noise.tolist()
    script({f"{row}.jpg": values for row, values in enumerate(logits)} | {"t.jpg": [0.0] * 6})
    rows = [(f"{row}.jpg", NAMES[k]) for row, k in enumerate(truth)]
    test = write_table(tmp_path / "t.csv", [("t.jpg", "Acer")])
    return test, write_table(tmp_path / "r.csv", rows), truth.tolist(), logits


def test_the_region_with_and_without_equals_the_loops(
    folder: Path, region: tuple[Path, Path, list[int], list[list[float]]]
) -> None:
    test, other, truth, logits = region
    given = EvaluateConfig(
        classifier=folder, images=test, region=other, prior_shift=True, device="cpu"
    )
    found = evaluate(given)
    shift = found.metrics["region"]["prior_shift"]
    probs = [softmax(row) for row in logits]
    counts = [float(count) for count in COUNTS]
    priors = slow_em(probs, counts, shift["iterations"])
    corrected = slow_with_priors(probs, counts, priors)
    taxonomy = found.classifier.taxonomy
    photos = [
        (CLASS_NODES[k], [log(max(p, 1e-300)) for p in row])
        for k, row in zip(truth, corrected, strict=True)
    ]
    taxa = {"class": CLASS_NODES, "species": (7, 8, 10), "genus": (4, 5, 6), "family": (1, 2, 3)}
    assert list(shift["levels"]) == list(taxa)
    for name, nodes in taxa.items():
        wanted = level_figures(
            taxonomy, nodes, counts=COUNT_OF, photos=photos, summed=name != "class"
        )
        sides = shift["levels"][name]
        assert sides["with"] == {
            "rank1": pytest.approx(wanted["rank1"]),
            "macro_recall": pytest.approx(wanted["macro_recall"]),
        }
        plain = found.metrics["region"]["levels"][name]
        assert sides["without"] == {key: plain[key] for key in ("rank1", "macro_recall")}
    assert shift["levels"]["class"]["with"]["rank1"] > shift["levels"]["class"]["without"]["rank1"]
    assert (shift["source"], shift["images"], shift["converged"]) == ("counts", 60, True)
    shares = [count / sum(counts) for count in counts]
    variation = sum(abs(a - b) for a, b in zip(priors, shares, strict=True)) / 2
    assert shift["priors"]["total_variation"] == pytest.approx(variation, abs=1e-6)
    most = max(range(6), key=lambda k: abs(priors[k] - shares[k]))
    assert shift["priors"]["most_changed"][0] == {
        "taxon": NAMES[most],
        "source": pytest.approx(shares[most]),
        "target": pytest.approx(priors[most], abs=1e-6),
    }
    caption = "corrected for how common"
    (table,) = [t for t in summary_tables({"one": found}) if caption in t.caption]
    first = shift["levels"]["class"]
    assert table.rows[0][2:] == tuple(
        100 * first[side][key] for key in ("rank1", "macro_recall") for side in ("without", "with")
    )


def test_labels_are_not_looked_at(
    folder: Path, tmp_path: Path, region: tuple[Path, Path, list[int], list[list[float]]]
) -> None:
    """Other labels, also of taxa that the classifier lacks, leave the estimate as it is."""
    test, other, _, logits = region
    strange = write_table(
        tmp_path / "s.csv",
        [(f"{row}.jpg", ("Salix", "Acer", "Rubus")[row % 3]) for row in range(len(logits))],
    )
    given = EvaluateConfig(
        classifier=folder, images=test, region=other, prior_shift=True, device="cpu"
    )
    right = evaluate(given).metrics["region"]["prior_shift"]
    wrong = evaluate(given.model_copy(update={"region": strange})).metrics["region"]["prior_shift"]
    for key in ("images", "iterations", "priors"):
        assert wrong[key] == right[key]


def test_the_source_prior_can_be_chosen(
    folder: Path, region: tuple[Path, Path, list[int], list[list[float]]]
) -> None:
    test, other, _, logits = region
    given = EvaluateConfig(
        classifier=folder,
        images=test,
        region=other,
        prior_shift=True,
        source_prior="uniform",
        device="cpu",
    )
    shift = evaluate(given).metrics["region"]["prior_shift"]
    priors = slow_em([softmax(row) for row in logits], [1.0] * 6, shift["iterations"])
    found = {one["taxon"]: one for one in shift["priors"]["most_changed"]}
    for name, prior in zip(NAMES, priors, strict=True):
        assert found[name]["source"] == pytest.approx(1 / 6)
        assert found[name]["target"] == pytest.approx(prior, abs=1e-6)


def test_a_large_set_is_sampled_the_same_in_any_order(
    folder: Path,
    region: tuple[Path, Path, list[int], list[list[float]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prior_shift, "SAMPLE", 25)
    classifier = TaxonClassifier.load(folder, device="cpu")
    table = ImageTable(pd.read_csv(region[1]))
    one = estimate_shift(classifier, table)
    other = estimate_shift(classifier, table.rows(generator("order").permutation(60)))
    assert one.images == other.images == 25
    assert one.estimate.priors.tolist() == pytest.approx(other.estimate.priors.tolist(), abs=1e-9)
    monkeypatch.setattr(prior_shift, "SAMPLE", 60)
    whole = estimate_shift(classifier, table).estimate.priors.tolist()
    assert whole != pytest.approx(one.estimate.priors.tolist(), abs=1e-3)


def test_photos_that_cannot_be_read_give_no_estimate(folder: Path, script: Script) -> None:
    script({})
    table = ImageTable(pd.DataFrame({"image": ["lost.jpg"], "taxon": ["Acer"]}))
    with pytest.raises(DataError, match=r"none of 1 can be read \(first: lost.jpg\)"):
        estimate_shift(TaxonClassifier.load(folder, device="cpu"), table)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"prior_shift": True}, "give --region"),
        ({"region": "r.csv", "source_prior": "counts"}, "give --prior-shift"),
    ],
)
def test_options_without_their_partner_are_refused(
    options: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        EvaluateConfig.model_validate({"classifier": "c", "images": "i", **options})
