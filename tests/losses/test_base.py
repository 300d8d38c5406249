import re

import numpy as np
import pytest
import torch

from taxonet.errors import ConfigError, DataError
from taxonet.losses import AMSoftmaxLoss
from taxonet.losses.checks import (
    at_least_float32,
    check_batch,
    check_class_counts,
    check_number,
    check_scale,
)


@pytest.mark.parametrize(
    "counts",
    [
        [5, 2],
        (5, 2),
        np.array([5, 2], dtype=np.uint16),
        np.array([5, 2]),
        torch.tensor([5, 2], dtype=torch.int32),
    ],
)
def test_counts_come_as_any_integers(counts: np.ndarray) -> None:
    checked = check_class_counts(counts)
    assert checked.dtype is torch.int64
    assert checked.tolist() == [5, 2]


def test_counts_are_a_copy_even_of_a_frozen_array() -> None:
    frozen = np.array([5, 2])
    frozen.flags.writeable = False
    check_class_counts(frozen)[0] = 9
    assert frozen.tolist() == [5, 2]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([7], "at least 2 classes"),
        ([], "at least 2 classes"),
        ([[1, 2], [3, 4]], "(2, 2)"),
        ([1.0, 2.0], "must be integers, but they are float64"),
        ([True, True], "must be integers, but they are bool"),
        ([4, 0, 3, -2], "classes [1, 3] have [0, -2]"),
        ([1] + [0] * 12, "... 12 in all]"),
    ],
)
def test_wrong_counts_are_named(counts: list[int], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        check_class_counts(counts)


@pytest.mark.parametrize(
    ("scores", "target", "message"),
    [
        (torch.zeros(3), torch.tensor([0]), "(3,)"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "B >= 1"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.tensor([0, 0]), "torch.int64"),
        (torch.zeros(2, 3), torch.tensor([0]), "(2,)"),
        (torch.zeros(2, 3), torch.tensor([0, 1], dtype=torch.int32), "torch.int32"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), "torch.float32"),
        (torch.zeros(2, 3), torch.tensor([[1.0, 0, 0], [0, 1, 0]]), "(2, 3)"),
        (torch.zeros(2, 3), torch.tensor([1, 3]), "0..2, but rows [1] of the batch have [3]"),
        (torch.zeros(2, 3), torch.tensor([-100, 1]), "rows [0] of the batch have [-100]"),
    ],
)
def test_a_wrong_batch_is_named(scores: torch.Tensor, target: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        check_batch(scores, target)


def test_a_loss_refuses_scores_of_other_classes() -> None:
    loss = AMSoftmaxLoss([3, 2, 1])
    with pytest.raises(DataError, match=r"3 classes .* got \(1, 4\)"):
        loss(torch.zeros(1, 4), torch.tensor([0]))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_wrong_scale_is_named(scale: float) -> None:
    with pytest.raises(ConfigError, match="scale must be a finite number above 0"):
        check_scale(scale)


def test_numbers_are_finite_and_bounded() -> None:
    assert check_number("margin", 0, at_least=0) == 0.0
    with pytest.raises(ConfigError, match="margin must be a finite number, but is nan"):
        check_number("margin", float("nan"))
    with pytest.raises(ConfigError, match=r"of at least 0, but is -0\.1"):
        check_number("margin", -0.1, at_least=0)


@pytest.mark.parametrize(
    ("given", "computed"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_only_half_precision_is_raised(given: torch.dtype, computed: torch.dtype) -> None:
    assert at_least_float32(torch.ones(1, dtype=given)).dtype is computed
