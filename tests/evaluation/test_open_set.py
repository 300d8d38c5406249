"""Open-set figures over all and by how new a taxon is, against loops and by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.evaluation import evaluate
from taxonet.evaluation.open_set import figures_by_novelty
from taxonet.recipes.verbs import EvaluateConfig
from tests.evaluation.conftest import Script, write_table
from tests.reference import metrics as reference

ROWS = st.lists(st.tuples(st.integers(-4, 4).map(float), st.booleans()), min_size=1, max_size=12)
STRANGE = st.lists(
    st.tuples(st.integers(-4, 4).map(float), st.sampled_from(["near", "far"])),
    min_size=1,
    max_size=12,
)


@given(ROWS, STRANGE, st.integers(-5, 5))
def test_each_stratum_is_judged_as_if_it_were_alone(
    known: list[tuple[float, bool]], strange: list[tuple[float, str]], threshold: int
) -> None:
    scores, right = [score for score, _ in known], [right for _, right in known]
    strata = [stratum for _, stratum in strange]
    order = [stratum for stratum in ("near", "far") if stratum in strata]
    found = figures_by_novelty(
        scores,
        [score for score, _ in strange],
        known_right=np.array(right),
        strata=strata,
        order=order,
        threshold=threshold,
    )
    assert list(found["by_novelty"]) == order
    everything = {"images": len(strange)} | found
    for name, figures in [("all", everything), *found["by_novelty"].items()]:
        mine = [score for score, stratum in strange if name in ("all", stratum)]
        assert figures["images"] == len(mine)
        assert figures["TPR"] == pytest.approx(np.mean(np.array(scores) <= threshold))
        assert figures["TNR"] == pytest.approx(np.mean(np.array(mine) > threshold))
        assert figures["AUROC"] == pytest.approx(reference.auroc(scores, mine))
        assert figures["AUPR"] == pytest.approx(reference.average_precision(scores, mine))
        assert figures["OSCR"] == pytest.approx(reference.oscr(scores, right, mine))


def test_without_a_threshold_the_ranking_is_left() -> None:
    found = figures_by_novelty(
        [1.0, 2],
        [3.0],
        known_right=np.array([True, False]),
        strata=["near"],
        order=["near"],
        threshold=None,
    )
    ranking = {"AUROC": 1.0, "AUPR": 1.0, "FPR@95": 0.0, "OSCR": 0.5}
    assert found == ranking | {"by_novelty": {"near": {"images": 1} | ranking}}


def test_strata_go_with_the_photos_that_can_be_read(
    folder: Path, tmp_path: Path, script: Script
) -> None:
    """Threshold -2: of the relatives one of two is refused, the stranger is accepted."""
    script(
        {
            "k.jpg": [6.0, 0, 0, 0, 0, 0],
            "wrong.jpg": [0.0, 4, 0, 0, 0, 0],
            "near.jpg": [5.0, 0, 0, 0, 0, 0],
            "nearer.jpg": [1.0, 0, 0, 0, 0, 0],
            "far.jpg": [3.0, 0, 0, 0, 0, 0],
        }
    )
    known = write_table(tmp_path / "t.csv", [("k.jpg", "birch"), ("wrong.jpg", "birch")])
    strange = [("torn.jpg", "Ilex"), ("far.jpg", "Rosaceae/Prunus/Prunus nova")]
    strange += [("near.jpg", "Rosaceae/Rosa/Rosa nova"), ("nearer.jpg", "Rubus idaeus")]
    unknown = write_table(tmp_path / "u.csv", strange)
    found = evaluate(
        EvaluateConfig(classifier=folder, images=known, unknown=unknown, device="cpu")
    ).metrics["open_set"]
    assert found["OSCR"] == pytest.approx(3 / 6)  # k is before all three, and wrong is wrong
    shown = {
        name: (one["images"], one["TNR"], one["AUROC"]) for name, one in found["by_novelty"].items()
    }
    # -4, the second known photo, is after -5 of near and before -1; both are before -3.
    assert shown == {
        "unknown species of a known genus": (2, 0.5, 0.75),
        "unknown genus of a known family": (1, 0.0, 1.0),
    }
