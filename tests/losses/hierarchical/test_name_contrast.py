"""The contrast of images and names on node scores, against a loop over images and by hand."""

import copy
import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from taxonet.errors import ConfigError, DataError
from taxonet.losses import HierarchicalImageTextLoss
from taxonet.losses.hierarchical import LevelwiseCrossEntropyLoss
from taxonet.losses.hierarchical.name_contrast import NameContrastLoss
from taxonet.losses.image_text import Duplicates
from taxonet.taxonomy import Taxonomy
from tests.reference import names as slow

every_treatment = pytest.mark.parametrize("duplicates", get_args(Duplicates))
# Depth 1: 1, and 2, a leaf; depth 2: 3, 4, and 5, a leaf; depth 3: 6 and 7 below 3, 8 below 4.
PARENTS = [-1, 0, 0, 1, 1, 1, 3, 3, 4]
RAGGED = Taxonomy.from_parents([f"n{node}" for node in range(9)], PARENTS)
#: Every leaf of it has the depth 2.
EVEN = Taxonomy.from_parents([f"n{node}" for node in range(8)], [-1, 0, 0, 1, 1, 1, 2, 2])
LEVELS = ((1, 2, 3), (1,), (2, 3), (1, 3), (3,))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@every_treatment
@given(
    targets=st.lists(st.integers(0, 8), min_size=1, max_size=7),
    levels=st.sampled_from(LEVELS),
    weights=st.lists(st.floats(0.1, 3), min_size=3, max_size=3),
)
def test_equals_the_loop(
    duplicates: Duplicates, targets: list[int], levels: tuple[int, ...], weights: list[float]
) -> None:
    """Labels at leaves above a level, at inner nodes, and at the root, which has no name."""
    weights, scores = weights[: len(levels)], 3 * draw(len(targets), 9)
    loss = NameContrastLoss(RAGGED, levels=levels, level_weights=weights, duplicates=duplicates)
    expected = slow.name_contrast(
        PARENTS, scores.tolist(), targets, levels=levels, weights=weights, duplicates=duplicates
    )
    value = loss(scores, torch.tensor(targets))
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    shares = loss.per_image(scores, torch.tensor(targets))
    assert shares.shape == (len(targets),)
    assert shares.mean().item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@every_treatment
@given(targets=st.lists(st.integers(0, 7), min_size=1, max_size=7))
def test_equals_the_loss_of_features(duplicates: Duplicates, targets: list[int]) -> None:
    """Where scores are made of features, and every leaf is in the deepest level."""
    images = [F.normalize(draw(len(targets), 5, seed=seed), dim=1) for seed in (1, 2)]
    vectors = F.normalize(draw(8, 5, seed=3), dim=1)
    scales, weights = torch.tensor([4.0, 9.0], dtype=torch.float64), [0.5, 2.0]
    loss = NameContrastLoss(EVEN, level_weights=weights, duplicates=duplicates)
    labels = loss.labels(torch.tensor(targets))
    texts = [vectors[of_level.clamp_min(0)] for of_level in labels.T]
    of_features = HierarchicalImageTextLoss(weights, duplicates=duplicates)
    expected = of_features(images, texts, labels, scales)
    scores = torch.cat(
        [scale * (seen @ vectors.T) for scale, seen in zip(scales, images, strict=True)], dim=1
    )
    first, second = scores[:, :8], scores[:, 8:]
    own = torch.tensor([0, 1, 1, 0, 0, 0, 0, 0], dtype=torch.bool)
    found = loss(torch.where(own, first, second), torch.tensor(targets))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_by_hand() -> None:
    """Three images: two of the species 3 and 4 of genus 1, one known to genus 2 only.

    Level 1, where e^score is 1 but for image 2 and its own genus, where it is 2: images 0 and 1
    have each of the three texts, and are had by theirs, by 1 in 3; image 2 has its own, and is had
    by it, by 2 in 4. Level 2 compares images 0 and 1: 3 against 1 each way.
    """
    odds = torch.ones(3, 8, dtype=torch.float64)
    odds[2, 2] = 2
    odds[0, 3] = odds[1, 4] = 3
    scores, targets = odds.log(), torch.tensor([3, 4, 2])
    genus = (2 * (math.log(3) + math.log(3)) + math.log(2) + math.log(2)) / 3
    species = 2 * math.log(4 / 3)
    loss = NameContrastLoss(EVEN, duplicates="positives")
    assert loss(scores, targets).item() == pytest.approx(genus + species)
    weighted = NameContrastLoss(EVEN, level_weights=(3, 0.5))
    assert weighted(scores, targets).item() == pytest.approx(3 * genus + species / 2)
    alone = NameContrastLoss(EVEN, levels=(2,))
    assert alone(scores, targets).item() == pytest.approx(species)
    # The other pair of genus 1 left out: 1 of 2 each way for images 0 and 1.
    masked = (2 * (math.log(2) + math.log(2)) + math.log(2) + math.log(2)) / 3
    loss = NameContrastLoss(EVEN, duplicates="masked")
    assert loss(scores, targets).item() == pytest.approx(masked + species)


def test_labels() -> None:
    loss = NameContrastLoss(RAGGED)
    labels = loss.labels(torch.tensor([8, 2, 3, 5, 0, 1]))
    assert labels.tolist() == [
        [1, 4, 8],
        [2, 2, 2],  # a leaf stays in the levels below it
        [1, 3, -1],  # what is known no further does not
        [1, 5, 5],
        [-1, -1, -1],
        [1, -1, -1],
    ]
    assert NameContrastLoss(RAGGED, levels=(2,)).labels(torch.tensor([8, 1])).tolist() == [
        [4],
        [-1],
    ]


@every_treatment
def test_where_no_label_comes_twice_the_treatments_are_one(duplicates: Duplicates) -> None:
    scores, targets = draw(3, 9), torch.tensor([6, 8, 5])
    expected = NameContrastLoss(RAGGED, levels=(3,))(scores, targets)
    loss = NameContrastLoss(RAGGED, levels=(3,), duplicates=duplicates)
    torch.testing.assert_close(loss(scores, targets), expected)


def test_namesakes_have_one_text_so_that_only_masking_differs() -> None:
    scores, targets = draw(5, 9), torch.tensor([6, 6, 7, 8, 2])
    values = {
        duplicates: NameContrastLoss(RAGGED, duplicates=duplicates)(scores, targets).item()
        for duplicates in get_args(Duplicates)
    }
    assert values["positives"] == pytest.approx(values["negatives"])
    assert values["masked"] < values["positives"] - 0.1


@every_treatment
def test_one_image_and_a_batch_of_one_taxon(duplicates: Duplicates) -> None:
    """Nothing to compare: 0, or 2 log B a level, whatever the scores; and no gradient is lost."""
    loss = NameContrastLoss(RAGGED, duplicates=duplicates)
    one = (100 * draw(1, 9)).requires_grad_()
    assert loss(one, torch.tensor([6])).item() == pytest.approx(0, abs=1e-12)
    same = draw(4, 1).expand(-1, 9).clone()
    same[:] = same[0, 0]
    value = loss(same, torch.full((4,), 6)).item()
    assert value == pytest.approx(0 if duplicates == "masked" else 3 * 2 * math.log(4), abs=1e-9)
    scores = (100 * draw(4, 9)).requires_grad_()
    loss(scores, torch.full((4,), 6)).backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


@every_treatment
@pytest.mark.parametrize("tree", [RAGGED, EVEN])
def test_without_a_label_it_is_zero_and_so_is_its_gradient(
    duplicates: Duplicates, tree: Taxonomy
) -> None:
    scores = draw(3, len(tree)).requires_grad_()
    value = NameContrastLoss(tree, duplicates=duplicates)(scores, torch.zeros(3, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


@every_treatment
@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_gradients(duplicates: Duplicates, levels: tuple[int, ...]) -> None:
    targets = torch.tensor([6, 7, 6, 3, 2, 1, 8])
    loss = NameContrastLoss(RAGGED, levels=levels, duplicates=duplicates)
    scores = draw(7, 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: loss(given, targets), [scores])


def test_gradient_reaches_the_batchs_own_taxa_alone() -> None:
    """Of images 0 to 2: 6 and its parents 3 and 1; 2; and 3 and 1. Column 0 never."""
    scores = draw(3, 9).requires_grad_()
    NameContrastLoss(RAGGED)(scores, torch.tensor([6, 2, 3])).backward()
    assert scores.grad is not None
    reached = scores.grad.abs() > 0
    assert reached.any(0).tolist() == [False, True, True, True, False, False, True, False, False]
    # Image 2 has no label at depth 3, and does not meet the species of image 0.
    assert reached[:, 6].tolist() == [True, True, False]
    other = scores.detach().clone()
    other[:, [0, 4, 5, 7, 8]] = math.inf
    other[2, 6] = math.nan
    assert NameContrastLoss(RAGGED)(other, torch.tensor([6, 2, 3])).isfinite()


@every_treatment
@given(order=st.permutations(range(6)))
def test_the_order_of_the_batch_and_of_the_names_is_nothing(
    duplicates: Duplicates, order: list[int]
) -> None:
    loss = NameContrastLoss(RAGGED, duplicates=duplicates)
    scores, targets = draw(6, 9), torch.tensor([6, 7, 6, 3, 2, 8])
    expected = loss.per_image(scores, targets)
    torch.testing.assert_close(loss.per_image(scores[order], targets[order]), expected[order])
    # 6 and 7, and with them 3 and 4 with 8, change places.
    swap = torch.tensor([0, 1, 2, 3, 4, 5, 7, 6, 8])
    torch.testing.assert_close(loss.per_image(scores[:, swap], swap[targets]), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    scores = (30 * draw(4, 9)).to(dtype)
    targets = torch.tensor([6, 7, 2, 8])
    loss = NameContrastLoss(RAGGED)
    value = loss(scores, targets)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, loss(scores.float(), targets))


@pytest.mark.parametrize("height", [100.0, 1e4])
def test_scores_of_a_hundred_and_beyond_are_finite(height: float) -> None:
    scores = torch.full((3, 9), -height).requires_grad_()
    with torch.no_grad():
        scores[0, 6] = height
    value = NameContrastLoss(RAGGED)(scores, torch.tensor([6, 7, 2]))
    value.backward()
    assert value.isfinite()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("levels", [None, (1, 3), (2,)])
def test_prediction_is_a_softmax_inside_each_level(levels: tuple[int, ...] | None) -> None:
    scores = draw(4, 9)
    expected = LevelwiseCrossEntropyLoss(RAGGED, levels=levels).node_probabilities(scores)
    torch.testing.assert_close(
        NameContrastLoss(RAGGED, levels=levels).node_probabilities(scores), expected
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"duplicates": "positive"}, "or 'masked', but is 'positive'. Did you mean 'positives'"),
        ({"level_weights": (1, 2)}, r"each of the 3 levels, but are \[1, 2\]. Leave a level out"),
        ({"level_weights": (1, 0, 1)}, r"one number above 0 for each .* \[1, 0, 1\]"),
        ({"level_weights": (1, -1, 1)}, "level_weights must be .* at least 0.* -1"),
        ({"levels": (4,)}, "levels"),
    ],
)
def test_options_of_another_form(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        NameContrastLoss(RAGGED, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("scores", [torch.zeros(2, 8), torch.zeros(3, 9), torch.zeros(2, 9).long()])
def test_scores_of_another_form(scores: Tensor) -> None:
    with pytest.raises(DataError):
        NameContrastLoss(RAGGED)(scores, torch.tensor([1, 2]))


def test_state_copies_and_name() -> None:
    loss = NameContrastLoss(RAGGED, levels=(1, 3), level_weights=(1, 2), duplicates="masked")
    assert not loss.state_dict()
    scores, targets = draw(4, 9), torch.tensor([6, 7, 2, 8])
    assert copy.deepcopy(loss)(scores, targets) == loss(scores, targets)
    for option in ("levels=(1, 3)", "level_weights=(1", "duplicates='masked'"):
        assert option in repr(loss)
