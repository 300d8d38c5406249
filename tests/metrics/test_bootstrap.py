from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from taxonet.errors import DataError
from taxonet.metrics import bootstrap, bootstrap_interval
from taxonet.seeds import generator


def mean(x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(x.mean(axis=-1))


def test_the_interval_of_a_mean_is_nearly_the_normal_one() -> None:
    values = generator("bootstrap test").normal(5, 2, 400)
    found = bootstrap_interval(mean, values, resamples=4000, level=0.9)
    half = 1.645 * values.std() / 20
    assert found.estimate == values.mean()
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)


def test_the_values_of_one_image_stay_together() -> None:
    values = generator("bootstrap pairs").normal(0, 1, 50)
    found = bootstrap_interval(lambda x, y: mean(x) - mean(y), values, values + 3)
    assert found == pytest.approx((-3, -3, -3))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = generator("bootstrap blocks").normal(0, 1, 31)
    whole = bootstrap_interval(mean, values, resamples=50)
    monkeypatch.setattr(bootstrap, "_BLOCK_VALUES", 100)
    assert bootstrap_interval(mean, values, resamples=50) == whole


def test_the_seed_keys_the_draws() -> None:
    values = generator("bootstrap seeds").normal(0, 1, 31)
    first = bootstrap_interval(mean, values, seed=1)
    assert first == bootstrap_interval(mean, values, seed=1)
    assert first != bootstrap_interval(mean, values, seed=2)


def test_a_constant_has_no_width() -> None:
    assert bootstrap_interval(mean, [2.0] * 9) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ([], {}, "of no array"),
        ([[]], {}, r"got shapes \(0,\)"),
        ([[1.0, 2.0], [1.0]], {}, r"got shapes \(2,\), \(1,\)"),
        ([[[1.0]]], {}, r"got shapes \(1, 1\)"),
        ([[1.0]], {"level": 0.0}, r"level in \(0, 1\)"),
        ([[1.0]], {"resamples": 0}, "at least one resample"),
    ],
)
def test_wrong_input_is_refused(arrays: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        bootstrap_interval(mean, *arrays, **options)


def test_a_statistic_that_keeps_the_images_is_refused() -> None:
    with pytest.raises(DataError, match="reduces the last axis"):
        bootstrap_interval(lambda x: x, [1.0, 2.0])
