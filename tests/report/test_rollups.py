"""Rollups in the report: the words, and the curves."""

import numpy as np

from taxonet.metrics import OperatingCurve
from taxonet.report.rollups import _in_words, _left_out, operating_curves
from taxonet.taxonomy.shape import TreeShape

FIGURES = ("AP", "AC", "R@90", "R@95", "M-F1", "L-F1", "L-Top1")


def test_the_words_name_who_is_best_in_what() -> None:
    own = dict.fromkeys(FIGURES, 0.5)
    other = own | {"AP": 0.6, "AC": 0.4, "L-F1": 0.5001}
    said = _in_words("TaxoNet", {"own": own, "diffusion": other})
    assert said == "For TaxoNet, diffusion is best in AP; own is best in AC."
    assert _in_words("it", {"own": own, "sums": own}) == "For it all rollups do equally well."


def test_what_makes_no_sense_is_named_with_its_reason() -> None:
    said = _left_out("CE", {"top_down": "it has no scores of inner nodes.", "x": "no map."})
    assert said == ("Not for CE: top_down (it has no scores of inner nodes), x (no map).",)
    assert _left_out("CE", {}) == ()


def test_a_line_for_each_rollup_in_each_panel() -> None:
    curve = OperatingCurve(TreeShape(np.array([-1, 0, 0, 1, 1], dtype=np.int32)))
    curve.update([[1, 0.9, 0.1, 0.6, 0.3]], [3])
    drawn = operating_curves({"own": curve.compute(), "diffusion": curve.compute()})
    for label in ("own", "diffusion", "recall", "precision", "correct"):
        assert f">{label}<" in drawn
