import numpy as np
import pytest
import torch

from taxonet.errors import ConfigError, DataError
from taxonet.inference.novelty import EmbeddingMoments
from tests.inference.fitted_novelty import CLASSES, DIM, Photos, photos
from tests.reference import novelty as reference


def moments_of(given: Photos, *sizes: int) -> EmbeddingMoments:
    batches = given.cut(*sizes) if sizes else given.whole()
    return EmbeddingMoments.of(batches, classes=CLASSES, dim=DIM)


def assert_same(one: EmbeddingMoments, other: EmbeddingMoments) -> None:
    assert torch.equal(one.images, other.images)
    torch.testing.assert_close(one.means, other.means, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(one.scatter, other.scatter, rtol=1e-12, atol=1e-11)


def test_means_and_scatter_equal_loops() -> None:
    given = photos(images=15)
    found = moments_of(given, 4, 1, 10)
    rows, targets = list(given.embeddings.numpy()), given.targets.tolist()
    assert found.images.tolist() == [4, 4, 4, 3]
    for k in range(CLASSES):
        np.testing.assert_allclose(found.means[k], reference.class_mean(rows, targets, k))
    np.testing.assert_allclose(found.scatter / 15, reference.shared_covariance(rows, targets))
    of_all = reference.shared_covariance(rows, [0] * 15)
    np.testing.assert_allclose(found.total_scatter / 15, of_all)
    np.testing.assert_allclose(found.mean, reference.class_mean(rows, [0] * 15, 0))


def test_batches_and_merging_give_what_one_batch_gives() -> None:
    given = photos()
    whole = moments_of(given)
    assert_same(moments_of(given, *[1] * 40), whole)
    first, second = EmbeddingMoments(CLASSES, DIM), EmbeddingMoments(CLASSES, DIM)
    # The second never sees class 0, and the first only it and class 1.
    early = given.targets < 1
    first.update(given.embeddings[early], given.targets[early])
    second.update(given.embeddings[~early], given.targets[~early])
    second.merge(first)
    assert_same(second, whole)
    second.merge(EmbeddingMoments(CLASSES, DIM))
    assert_same(second, whole)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    given = photos()
    moved = Photos(given.embeddings + 1e8, given.logits, given.targets)
    found, expected = moments_of(moved, *[1] * 40), moments_of(given)
    # Sums of squares would have lost all 16 digits. The rows themselves are rounded to 1e-8.
    torch.testing.assert_close(found.scatter, expected.scatter, rtol=1e-6, atol=1e-5)


def test_the_scatter_about_a_point_is_that_of_the_images() -> None:
    given, point = photos(), torch.arange(5.0, dtype=torch.float64)
    away = given.embeddings - point
    torch.testing.assert_close(moments_of(given).scatter_about(point), away.T @ away)


def test_classes_without_images_have_a_mean_of_zero() -> None:
    found = EmbeddingMoments(3, 2)
    found.update(torch.tensor([[1.0, 2.0]]), torch.tensor([1]))
    assert found.present.tolist() == [False, True, False]
    assert found.means.tolist() == [[0, 0], [1, 2], [0, 0]]
    assert found.scatter.tolist() == [[0, 0], [0, 0]]
    assert found.total == 1


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.tensor([0, 4]), "from 0 to 3, got 0 to 4"),
        (torch.tensor([-1, 0]), "from 0 to 3, got -1 to 0"),
        (torch.tensor([0]), r"integers \(2,\), one for each embedding, got torch.int64"),
        (torch.tensor([0.0, 1.0]), r"integers \(2,\)"),
    ],
)
def test_wrong_targets_are_refused(targets: torch.Tensor, message: str) -> None:
    moments = EmbeddingMoments(CLASSES, DIM)
    with pytest.raises(DataError, match=message):
        moments.update(torch.zeros(2, DIM), targets)
    assert moments.total == 0


def test_other_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="moments of 4 classes and 5 features, got 3 and 5"):
        EmbeddingMoments(CLASSES, DIM).merge(EmbeddingMoments(3, DIM))
    with pytest.raises(ConfigError, match="at least 1 class and 1 feature, but got 0 and 5"):
        EmbeddingMoments(0, 5)
    with pytest.raises(DataError, match="embeddings as floats"):
        EmbeddingMoments(2, 1).update(torch.zeros(2, 1, dtype=torch.int64), torch.tensor([0, 1]))
