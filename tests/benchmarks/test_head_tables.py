"""The tables compare seed by seed, and the simplest head that cannot be told from the best wins."""

from typing import Any

import pytest

from benchmarks.head_rows import ROWS
from benchmarks.head_tables import paired_interval, render, render_choice, simplest_first


def record(row: str, seed: int, share: float) -> dict[str, Any]:
    test = {"rank1": share, "macro_recall": share, "shot_groups": {"few": share, "many": None}}
    return {"row": row, "seed": seed, "val_macro_recall": share, "test": test, "seconds": 2.0}


def failure(row: str, seed: int) -> dict[str, Any]:
    return {"row": row, "seed": seed, "error": "The loss is\nno number."}


def runs(row: str, *shares: float) -> list[dict[str, Any]]:
    return [record(row, seed, share) for seed, share in enumerate(shares)]


def choice(text: str) -> str:
    return text.rsplit("**", 2)[1]


def test_paired_interval_by_hand() -> None:
    mean, half = paired_interval([1.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(12.706, abs=1e-3)  # t(1) = 12.706, sd / sqrt(2) = 1
    assert paired_interval([1.5]) == (1.5, None)


def test_differences_are_taken_on_the_same_seed() -> None:
    # Over seeds 0 and 1 it is 10 and 20 points; seed 2 has no base.
    found = [*runs("linear CE", 0.5, 0.25), *runs("DBM-BS", 0.6, 0.45, 0.95)]
    line = next(one for one in render(found).splitlines() if one.startswith("| DBM-BS"))
    assert "| 3 |" in line
    assert "+15.0 ± 63.5" in line  # 12.706 * 7.071 / sqrt(2)
    assert "n/a" in line  # no class is of many shots


def test_a_failed_run_is_told_and_not_averaged() -> None:
    found = [*runs("linear CE", 0.5), *runs("PC", 0.6), failure("PC", 1), failure("NCM", 0)]
    text = render(found)
    assert "| PC | 1, 1 failed | 60.0 |" in text
    assert "| NCM | 0, 1 failed | failed |" in text
    assert "NCM, seed 0, failed: The loss is no number." in text


def test_a_failed_base_leaves_no_difference() -> None:
    line = render([failure("linear CE", 0), *runs("DBM-BS", 0.5)]).splitlines()[-3]
    assert line.startswith("| DBM-BS")
    assert line.endswith("| n/a | 2 |")


def test_the_simplest_inside_the_interval_wins() -> None:
    found = {
        "a": [
            *runs("DBM-BS", 0.80, 0.82),
            *runs("linear BS", 0.81, 0.80),
            *runs("linear CE", 0.5, 0.5),
        ],
        "b": [
            *runs("DBM-BS", 0.60, 0.62),
            *runs("linear BS", 0.60, 0.61),
            *runs("linear CE", 0.3, 0.3),
        ],
    }
    text = render_choice(found)
    assert choice(text) == "linear BS"
    assert "over 4 pairs" in text
    assert "| DBM-BS | 3 | 71.0 | 81.0 | 61.0 | best |" in text


def test_a_simpler_one_outside_the_interval_does_not() -> None:
    # One to two points on every seed: worse for sure.
    found = {
        "a": [*runs("DBM-BS", 0.80, 0.82, 0.81, 0.80), *runs("linear BS", 0.78, 0.81, 0.79, 0.785)]
    }
    assert choice(render_choice(found)) == "DBM-BS"


def test_one_pair_has_no_interval_and_the_best_wins() -> None:
    assert choice(render_choice({"a": [*runs("linear CE", 0.79), *runs("DBM-BS", 0.8)]})) == (
        "DBM-BS"
    )


def test_a_second_stage_is_shown_and_not_chosen() -> None:
    text = render_choice({"a": [*runs("linear CE", 0.5, 0.5), *runs("cRT", 0.9, 0.9)]})
    assert choice(text) == "linear CE"
    assert "| cRT | no candidate | 90.0 |" in text


def test_a_failed_candidate_is_left_out_and_its_set_is_not() -> None:
    found = {
        "a": [*runs("linear CE", 0.5), *runs("DBM-BS", 0.9)],
        "b": [*runs("linear CE", 0.5), failure("DBM-BS", 0)],
    }
    text = render_choice(found)
    assert choice(text) == "linear CE"
    assert "over 2 pairs" in text
    assert "Not compared, as they failed or lack runs: DBM-BS." in text


def test_only_pairs_of_all_candidates_count_and_the_others_are_told() -> None:
    found = {"a": [*runs("linear CE", 0.5, 0.9), *runs("DBM-BS", 0.6)]}
    text = render_choice(found)
    assert "over 1 pairs" in text
    assert "Left out, as candidates lack them: a 1." in text


def test_no_records() -> None:
    assert render([]) == render_choice({"a": []}) == "No records."


def test_the_order_of_simplicity() -> None:
    names = [row.name for row in simplest_first([row for row in ROWS if row.may_be_default])]
    assert names[:3] == ["linear CE", "cosine CE", "linear BS"]
    assert names.index("cosine BS") < names.index("DBM-BS")
    assert names[-1] == "dual margin, sum, norm-guided, linear neck"
