"""Differences of rows are taken on the same seed, and a rollup that does not go is no zero."""

from typing import Any

import pytest

from benchmarks.seed_by_seed import differences


def record(row: str, seed: int, top1: float, **rollups: float | None) -> dict[str, Any]:
    read = {"own": top1, **rollups}
    figures = {
        name: None if share is None else {"AP": share / 2, "L-Top1": share, "mistake_severity": 2}
        for name, share in read.items()
    }
    return {"row": row, "seed": seed, "test": {"rollups": figures}}


FOUND = [
    record("CE", 0, 0.5, diffusion=0.75),
    record("CE", 1, 0.25, diffusion=None),
    record("MCF", 1, 0.75),
    record("MCF", 0, 0.625),
    record("MCF", 2, 1.0),
]


def test_the_same_seed_of_both() -> None:
    found = differences(FOUND, "MCF", "CE")
    assert found["L-Top1"] == pytest.approx([0.125, 0.5])
    assert found["AP"] == pytest.approx([0.0625, 0.25])
    assert found["mistake_severity"] == [0, 0]


def test_a_rollup_over_the_rows_own_reading() -> None:
    assert differences(FOUND, "CE", "CE", "diffusion")["L-Top1"] == pytest.approx([0.25])
    assert differences(FOUND, "MCF", "MCF", "diffusion")["L-Top1"] == []
