import numpy as np
import pytest
import torch
from torch import Tensor

from taxonet.errors import ConfigError, DataError
from taxonet.inference import estimate_priors, with_priors
from taxonet.seeds import generator
from tests.reference.prior_shift import slow_em, slow_with_priors


def random_probs(images: int, classes: int, *key: str | int) -> Tensor:
    draws = generator("prior shift", *key).dirichlet(np.full(classes, 0.3), images)
    return torch.from_numpy(draws)


SOURCE = [50.0, 30.0, 15.0, 5.0]
TARGET = [1.0, 2.0, 3.0, 4.0]


def test_both_formulas_equal_the_loops() -> None:
    probs = random_probs(40, 4)
    wanted = slow_with_priors(probs.tolist(), SOURCE, TARGET)
    found = with_priors(probs, source=SOURCE, target=TARGET)
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))
    for iterations in (1, 2, 7):
        em = estimate_priors(probs, SOURCE, tolerance=1e-300, max_iterations=iterations)
        wanted_priors = slow_em(probs.tolist(), SOURCE, iterations)
        assert em.priors.tolist() == pytest.approx(wanted_priors, abs=1e-12)
        assert (em.iterations, em.converged) == (iterations, False)


def test_two_classes_by_hand() -> None:
    """Source 3 to 1, target 1 to 3: odds of 3 to 1 become 3 (1/3) (1/3) = 1 to 3."""
    found = with_priors(torch.tensor([[0.75, 0.25]]), source=[3, 1], target=[1, 3])
    assert found.tolist() == [[pytest.approx(0.25), pytest.approx(0.75)]]


def test_one_step_of_em_by_hand() -> None:
    """From equal priors the first step is the mean; the second weighs the rows by it.

    Means 0.6 and 0.4 give w = 1.2 and 0.8; rows (0.9, 0.1) and (0.3, 0.7) become 1.08 / 1.16 and
    0.36 / 0.92.
    """
    probs = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    one = estimate_priors(probs, [1, 1], max_iterations=1)
    two = estimate_priors(probs, [1, 1], max_iterations=2)
    assert one.priors.tolist() == pytest.approx([0.6, 0.4])
    assert two.priors[0].item() == pytest.approx((1.08 / 1.16 + 0.36 / 0.92) / 2)


def test_em_ends_where_the_likelihood_is_largest() -> None:
    """By hand: rows (0.9, 0.1) twice and (0.2, 0.8) once; d/dw sum log(w p + (2 - w) q) = 0.

    2 0.8 / (0.1 (2 - w) + 0.9 w) = 0.6 / (0.8 (2 - w) + 0.2 w), so w = 2.44 / 1.44: w / 2 = 0.847.
    """
    probs = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    found = estimate_priors(probs, [1, 1], tolerance=1e-12)
    assert found.converged
    assert found.priors[0].item() == pytest.approx(2.44 / 1.44 / 2, abs=1e-9)


def test_equal_priors_change_nothing() -> None:
    probs = random_probs(20, 4)
    torch.testing.assert_close(with_priors(probs, source=SOURCE, target=SOURCE), probs)
    many = [1000 * share for share in SOURCE]
    torch.testing.assert_close(with_priors(probs, source=many, target=SOURCE), probs)


def test_there_and_back_again() -> None:
    probs = random_probs(20, 4)
    there = with_priors(probs, source=SOURCE, target=TARGET)
    torch.testing.assert_close(with_priors(there, source=TARGET, target=SOURCE), probs)


def test_the_shares_of_a_calibrated_population_are_found() -> None:
    """Three Gaussian classes on a line, whose probabilities under the source priors are exact."""
    draw = generator("population")
    means, true = np.array([-1.5, 0.0, 2.0]), np.array([0.1, 0.2, 0.7])
    source = np.array([0.6, 0.3, 0.1])
    truth = draw.choice(3, 20_000, p=true)
    x = draw.normal(means[truth], 1.0)
    joint = source * np.exp(-((x[:, None] - means) ** 2) / 2)
    probs = torch.from_numpy(joint / joint.sum(axis=1, keepdims=True))
    found = estimate_priors(probs, source, tolerance=1e-8)
    assert found.converged
    assert found.priors.tolist() == pytest.approx(true.tolist(), abs=0.02)
    before = (probs.argmax(dim=1).numpy() == truth).mean()
    corrected = with_priors(probs, source=source, target=found.priors)
    after = (corrected.argmax(dim=1).numpy() == truth).mean()
    assert after > before + 0.1
    # Without a shift nothing is found where there is nothing.
    same = draw.choice(3, 20_000, p=source)
    x = draw.normal(means[same], 1.0)
    joint = source * np.exp(-((x[:, None] - means) ** 2) / 2)
    probs = torch.from_numpy(joint / joint.sum(axis=1, keepdims=True))
    unshifted = estimate_priors(probs, source, tolerance=1e-8).priors.tolist()
    assert unshifted == pytest.approx(source.tolist(), abs=0.02)


def test_classes_and_images_in_any_order_give_the_same() -> None:
    probs, classes = random_probs(30, 4), [2, 0, 3, 1]
    rows = generator("rows").permutation(30)
    found = estimate_priors(probs, SOURCE).priors
    moved = estimate_priors(probs[rows][:, classes], [SOURCE[k] for k in classes]).priors
    torch.testing.assert_close(moved, found[classes])
    shifted = with_priors(probs, source=SOURCE, target=TARGET)
    again = with_priors(
        probs[:, classes], source=[SOURCE[k] for k in classes], target=[TARGET[k] for k in classes]
    )
    torch.testing.assert_close(again, shifted[:, classes])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extremes_stay_finite(dtype: torch.dtype) -> None:
    """Classes that no image could be, certain images, a class with one training image."""
    probs = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], dtype=dtype)
    found = estimate_priors(probs, [1e6, 1, 1])
    assert bool(found.priors.isfinite().all())
    assert float(found.priors.sum()) == pytest.approx(1)
    assert float(found.priors[2]) == 0
    shifted = with_priors(probs, source=[1e6, 1, 1], target=[0.0, 0.0, 1.0])
    assert shifted.tolist() == [[0, 0, 1]] * 3
    part = with_priors(probs, source=[1, 1, 1], target=[0.0, 3.0, 1.0])
    assert part.tolist() == [[0, 0.75, 0.25], [0, 1, 0], [0, 0.75, 0.25]]
    assert part.dtype == torch.float32


def test_sums_that_miss_one_by_rounding_do_no_harm() -> None:
    probs = random_probs(10, 4)
    wanted = with_priors(probs, source=SOURCE, target=TARGET)
    found = with_priors(probs * 1.001, source=SOURCE, target=TARGET)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        estimate_priors(probs * 1.001, SOURCE).priors, estimate_priors(probs, SOURCE).priors
    )


@pytest.mark.parametrize(
    ("source", "target", "complaint"),
    [
        ([1, 0], [1, 1], r"source must be finite and positive, got \[1.0, 0.0\]"),
        ([1, 1], [1, -1], "target must be finite and not negative"),
        ([1, 1], [0, 0], "not all 0"),
        ([1, float("nan")], [1, 1], "finite"),
        ([1, 1, 1], [1, 1], r"source takes a number for each of the 2 classes, got \(3,\)"),
    ],
)
def test_priors_that_are_none(source: list[float], target: list[float], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        with_priors(torch.tensor([[0.5, 0.5]]), source=source, target=target)


@pytest.mark.parametrize(
    ("probs", "complaint"),
    [
        (torch.zeros(0, 2), "there are none"),
        (torch.tensor([[0.5, 0.5], [3.0, 1.0]]), "1 do not .first: row 1, sum 4"),
        (torch.tensor([[2.0, -1.0]]), "first: row 0, sum 1"),
        (torch.tensor([[float("nan"), 1.0]]), "sum nan"),
        (torch.tensor([[1, 0]]), "got torch.int64"),
        (torch.tensor([0.5, 0.5]), r"got torch.float32 of \(2,\)"),
    ],
)
def test_probabilities_that_are_none(probs: Tensor, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        estimate_priors(probs, [1, 1])


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"max_iterations": 0}])
def test_options_outside_their_range(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="a tolerance above 0 and at least one iteration"):
        estimate_priors(torch.tensor([[0.5, 0.5]]), [1, 1], **options)  # type: ignore[arg-type]
