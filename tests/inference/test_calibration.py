from pathlib import Path

import numpy as np
import pytest
import torch

from taxonet.errors import DataError
from taxonet.inference import calibration, fit_temperature
from taxonet.seeds import generator


def nll(scores: np.ndarray, target: np.ndarray, temperature: float) -> float:
    """The mean negative log-likelihood, one image at a time."""
    total = 0.0
    for row, y in zip(scores / temperature, target, strict=True):
        largest = row.max()
        total += largest + np.log(np.exp(row - largest).sum()) - row[y]
    return total / len(target)


def drawn(sharpness: float, images: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from softmax(z), and the scores ``sharpness * z``: the right T is sharpness."""
    rng = generator("temperature", 0)
    logits = rng.normal(0, 2, (images, 5))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target = (rng.random((images, 1)) > probs.cumsum(axis=1)).sum(axis=1).clip(0, 4)
    return sharpness * logits, target


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 4.0])
def test_the_temperature_that_made_the_data_is_found(sharpness: float) -> None:
    assert fit_temperature(*drawn(sharpness)) == pytest.approx(sharpness, rel=0.06)


def test_no_neighbour_is_better() -> None:
    scores, target = drawn(3.0, images=200)
    best = fit_temperature(scores, target)
    for factor in (0.99, 1.01):
        assert nll(scores, target, best) < nll(scores, target, best * factor)


def test_a_closed_form() -> None:
    # Two classes, logit gap 6, 9 of 10 right: softmax(6 / T) = 0.9, so T = 6 / log 9.
    scores = np.tile([6.0, 0.0], (10, 1))
    target = np.array([0] * 9 + [1])
    assert fit_temperature(scores, target) == pytest.approx(6 / np.log(9), rel=1e-5)


def test_scaling_the_scores_scales_the_temperature() -> None:
    scores, target = drawn(1.0, images=300)
    once = fit_temperature(scores, target)
    assert fit_temperature(5 * scores, target) == pytest.approx(5 * once, rel=1e-4)


def test_parts_tensors_and_memory_maps_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, target = drawn(2.0, images=300)
    single = scores.astype(np.float32)
    whole = fit_temperature(single, target)
    monkeypatch.setattr(calibration, "ROWS_AT_ONCE", 37)
    np.save(tmp_path / "scores.npy", single)
    mapped = np.load(tmp_path / "scores.npy", mmap_mode="r")
    for same in (
        torch.from_numpy(single),
        [single[:100], single[100:]],
        [torch.from_numpy(single[:7]), torch.from_numpy(single[7:])],
        mapped,
    ):
        assert fit_temperature(same, target) == pytest.approx(whole, rel=1e-6)


def test_it_is_deterministic() -> None:
    scores, target = drawn(2.0, images=100)
    assert fit_temperature(scores, target) == fit_temperature(scores, target)


@pytest.mark.parametrize("target", [[0, 0], [1, 1]])
def test_the_answer_stays_within_bounds(target: list[int]) -> None:
    temperature = fit_temperature(np.array([[1.0, 0.0], [2.0, 0.0]]), target)  # all right, wrong
    bound = 0.05 if target[0] == 0 else 20.0
    assert temperature == pytest.approx(bound, rel=1e-3)
    assert 0.05 <= temperature <= 20


def test_scores_that_say_nothing_leave_one() -> None:
    assert fit_temperature(np.zeros((4, 3)), [0, 1, 2, 0]) == 1.0


def test_half_precision_is_summed_in_float64() -> None:
    scores, target = drawn(2.0, images=300)
    half = torch.from_numpy(scores).to(torch.float16)
    assert fit_temperature(half, target) == fit_temperature(half.double(), target)


@pytest.mark.parametrize(
    ("scores", "target", "message"),
    [
        (np.zeros((0, 3)), [], "at least one calibration image"),
        (np.zeros(3), [0, 1, 2], r"scores \(N, c\)"),
        (np.zeros((2, 3)), [0], "each of 2 images"),
        (np.zeros((1, 3)), [0.5], "as integers"),
        (np.zeros((2, 3)), [0, 3], "from 0 to 2, got 0 to 3"),
        (np.array([[np.nan, 0.0]]), [0], "nan"),
        (np.array([[-np.inf, 0.0]]), [0], "inf"),
    ],
)
def test_wrong_input_is_refused(scores: np.ndarray, target: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_temperature(scores, target)
