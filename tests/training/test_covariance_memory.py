import doctest
from pathlib import Path
from typing import Literal

import pytest
import torch

from taxonet.errors import ConfigError
from taxonet.training.covariance import (
    ClassStatistics,
    check_budget,
    describe,
    statistics_memory,
)

PAGE = Path(__file__).parents[2] / "docs" / "smart.md"


@pytest.mark.parametrize("covariance", ["full", "lowrank"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_what_the_buffers_take(
    covariance: Literal["full", "lowrank"], dtype: torch.dtype
) -> None:
    statistics = ClassStatistics(7, 12, covariance=covariance, rank=5, dtype=dtype)
    taken = sum(buffer.numel() * buffer.element_size() for buffer in statistics.buffers())
    assert statistics_memory(7, 12, covariance=covariance, rank=5, dtype=dtype) == taken


def test_a_case_by_hand() -> None:
    # 320 channels, one class: 320^2 floats, two rows of 320 floats and a count.
    assert statistics_memory(1, 320, covariance="full") == 409_600 + 2_560 + 8


def test_full_beyond_the_budget_names_lowrank_and_the_figures() -> None:
    needed = statistics_memory(100, 512, covariance="full")
    assert check_budget(100, 512, covariance="full", budget_bytes=needed) == needed
    with pytest.raises(
        ConfigError,
        match=r"100 classes and 512 channels in float32 take 105.3 MB, beyond the budget of "
        r"105.3 MB. With `covariance: lowrank` of rank 32 they take 7.0 MB",
    ):
        check_budget(100, 512, covariance="full", budget_bytes=needed - 1)


def test_lowrank_beyond_the_budget_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"Low-rank covariances \(rank 8\).* a lower `rank`"):
        check_budget(100, 512, covariance="lowrank", rank=8, budget_bytes=1000)


def test_the_line_before_the_run() -> None:
    line = describe(8142, 2048, covariance="full")
    assert line == "Full covariances of 8142 classes and 2048 channels in float32 take 136.7 GB."


def test_the_page_prints_what_it_says() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert results.attempted >= 10
    assert results.failed == 0
