"""Each fitted novelty score against a slow loop from its paper, known figures, and identities."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from taxonet.errors import ConfigError, DataError
from taxonet.inference.novelty import (
    Mahalanobis,
    NearestNeighbours,
    NearestPrototype,
    RelativeMahalanobis,
    ViM,
)
from taxonet.inference.novelty import knn as knn_module
from taxonet.inference.novelty.whitening import oas_shrinkage, whitening
from tests.inference.fitted_novelty import CLASSES, DIM, Photos, head, photos
from tests.reference import novelty as reference

KNOWN, NEW = photos(images=23), photos(1, images=11)
ROWS, TARGETS = list(KNOWN.embeddings.numpy()), KNOWN.targets.tolist()


def scores_of(score: Any, given: Photos = NEW, known: Photos = KNOWN) -> torch.Tensor:
    found: torch.Tensor = score.fit(known.whole())(given.embeddings, given.logits, 1.0)
    return found


def loop(function: Any, **options: Any) -> torch.Tensor:
    return torch.tensor([function(x, **options) for x in NEW.embeddings.numpy()]).double()


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_nearest_prototype_equals_the_loop(distance: Any) -> None:
    found = scores_of(NearestPrototype(DIM, CLASSES, distance=distance))
    expected = loop(reference.nearest_prototype, rows=ROWS, targets=TARGETS, distance=distance)
    torch.testing.assert_close(found, expected)


def test_the_cosine_of_nothing_is_zero() -> None:
    score = NearestPrototype(2, 1, distance="cosine")
    score.fit([(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 1), torch.tensor([0]))])
    photos_of = torch.tensor([[0.0, 0.0], [1e-30, 0.0], [-3.0, 0.0]])
    assert score(photos_of, torch.zeros(3, 1), 1.0).tolist() == [1.0, 0.0, 2.0]


@pytest.mark.parametrize(("distance", "expected"), [("euclidean", 4.0), ("cosine", 2.0)])
def test_a_class_without_images_is_nobodys_nearest(distance: Any, expected: float) -> None:
    score = NearestPrototype(2, 2, distance=distance)
    score.fit([(torch.tensor([[3.0, 0.0]]), torch.zeros(1, 2), torch.tensor([0]))])
    assert score(torch.tensor([[-1.0, 0.0]]), torch.zeros(1, 2), 1.0).tolist() == [expected]


def test_an_unknown_distance_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no distance 'cosin'. Did you mean 'cosine'"):
        NearestPrototype(2, 1, distance="cosin")  # type: ignore[arg-type]


def test_mahalanobis_equals_the_loop() -> None:
    found = scores_of(Mahalanobis(DIM, CLASSES, shrinkage=0.0))
    torch.testing.assert_close(found, loop(reference.mahalanobis, rows=ROWS, targets=TARGETS))


def test_relative_mahalanobis_equals_the_loop() -> None:
    found = scores_of(RelativeMahalanobis(DIM, CLASSES, shrinkage=0.0))
    expected = loop(reference.relative_mahalanobis, rows=ROWS, targets=TARGETS)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", [Mahalanobis, RelativeMahalanobis])
def test_mahalanobis_has_no_units(kind: Any) -> None:
    """Without shrinkage any invertible linear map of the embeddings changes nothing."""
    chance = torch.Generator().manual_seed(5)
    turn = torch.randn(DIM, DIM, generator=chance, dtype=torch.float64)
    moved, new = (
        Photos(given.embeddings @ turn + 3, given.logits, given.targets) for given in (KNOWN, NEW)
    )
    found = scores_of(kind(DIM, CLASSES, shrinkage=0.0), new, moved)
    expected = scores_of(kind(DIM, CLASSES, shrinkage=0.0))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


def test_full_shrinkage_is_the_scaled_euclidean_distance() -> None:
    found = scores_of(Mahalanobis(DIM, CLASSES, shrinkage=1.0))
    variance = np.trace(reference.shared_covariance(ROWS, TARGETS)) / DIM
    euclidean = scores_of(NearestPrototype(DIM, CLASSES))
    torch.testing.assert_close(found, euclidean.square() / variance)


def test_the_shrunk_covariance_is_the_one_between() -> None:
    covariance = reference.shared_covariance(ROWS, TARGETS)
    degrees = len(ROWS) - CLASSES
    share = reference.oas_shrinkage(covariance, degrees)
    assert 0 < share < 1
    scatter = torch.from_numpy(covariance * len(ROWS))
    assert oas_shrinkage(scatter, degrees=degrees) == pytest.approx(share)
    shrunk = (1 - share) * covariance + share * np.trace(covariance) / DIM * np.eye(DIM)
    expected = [
        min(
            reference.squared_mahalanobis(x, reference.class_mean(ROWS, TARGETS, k), shrunk)
            for k in range(CLASSES)
        )
        for x in NEW.embeddings.numpy()
    ]
    torch.testing.assert_close(
        scores_of(Mahalanobis(DIM, CLASSES)), torch.tensor(expected).double()
    )


def test_shrinkage_goes_to_nothing_as_images_become_many_and_to_all_for_none() -> None:
    scatter = torch.diag(torch.tensor([9.0, 1.0, 1.0], dtype=torch.float64))
    shares = [oas_shrinkage(scatter, degrees=degrees) for degrees in (1, 10, 100, 10**6)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1
    assert shares[-1] < 1e-5
    assert oas_shrinkage(torch.zeros(3, 3), degrees=0) == 1
    assert oas_shrinkage(torch.eye(3).double(), degrees=10**6) == 1
    assert oas_shrinkage(torch.ones(1, 1).double(), degrees=5) == 1


def test_a_singular_covariance_is_refused_only_where_it_is_not_shrunk() -> None:
    flat = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    with pytest.raises(DataError, match=r"of 2 features from 9 images has no inverse. Leave"):
        whitening(flat, images=9, degrees=8, shrinkage=0.0)
    matrix = whitening(flat, images=9, degrees=8)
    share = oas_shrinkage(flat, degrees=8)
    precision = torch.diag(9 / torch.tensor([1 - share / 2, share / 2], dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.T, precision)
    with pytest.raises(ConfigError, match=r"shrinkage must be None or in \[0, 1\], but is 1.5"):
        whitening(flat, images=9, degrees=8, shrinkage=1.5)


@pytest.mark.parametrize("k", [1, 4, 23])
def test_knn_equals_the_loop(k: int) -> None:
    found = scores_of(NearestNeighbours(DIM, CLASSES, k=k))
    expected = loop(reference.kth_neighbour, rows=ROWS, k=k)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("block", [1, 3, 22, 4096])
def test_knn_in_blocks_is_knn(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = scores_of(NearestNeighbours(DIM, CLASSES, k=4))
    monkeypatch.setattr(knn_module, "_NEIGHBOURS_AT_ONCE", block)
    monkeypatch.setattr(knn_module, "_IMAGES_AT_ONCE", 4)
    torch.testing.assert_close(scores_of(NearestNeighbours(DIM, CLASSES, k=4)), expected)


def test_knn_finds_what_scikit_learn_finds() -> None:
    rows, new = (given.embeddings.numpy() for given in (KNOWN, NEW))
    units, new_units = (part / np.linalg.norm(part, axis=1)[:, None] for part in (rows, new))
    distances, _ = NearestNeighbors(n_neighbors=3).fit(units).kneighbors(new_units)
    found = scores_of(NearestNeighbours(DIM, CLASSES, k=3))
    np.testing.assert_allclose(found.numpy(), distances[:, -1], rtol=1e-6)


def test_a_training_image_is_its_own_first_neighbour() -> None:
    found = scores_of(NearestNeighbours(DIM, CLASSES, k=1), KNOWN)
    torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-7, rtol=0)


def test_knn_refuses_a_k_out_of_range() -> None:
    with pytest.raises(ConfigError, match="k must be at least 1, but is 0"):
        NearestNeighbours(DIM, CLASSES, k=0)
    with pytest.raises(DataError, match="at least k = 24 training images, got 23"):
        NearestNeighbours(DIM, CLASSES, k=24).fit(KNOWN.whole())


@pytest.mark.parametrize("principal", [0, 2, 4])
def test_vim_equals_the_loop(principal: int) -> None:
    weight, bias = head()
    score = ViM(DIM, CLASSES, principal=principal).set_origin(weight, bias)
    origin = np.array(-np.linalg.pinv(weight.numpy()) @ bias.numpy())
    expected = [
        reference.vim(x, z, ROWS, list(KNOWN.logits.numpy()), origin=origin, principal=principal)
        for x, z in zip(NEW.embeddings.numpy(), NEW.logits.numpy(), strict=True)
    ]
    torch.testing.assert_close(scores_of(score), torch.tensor(expected).double())


def test_the_virtual_logit_is_as_large_as_the_largest_on_average() -> None:
    score = ViM(DIM, CLASSES)
    virtual = scores_of(score, KNOWN) + KNOWN.logits.logsumexp(dim=1)
    torch.testing.assert_close(virtual.mean(), KNOWN.logits.amax(dim=1).mean())


def test_scores_and_scale_make_logits() -> None:
    score = ViM(DIM, CLASSES).fit(KNOWN.whole())
    cosines = score(NEW.embeddings, NEW.logits / 16, 16.0)
    torch.testing.assert_close(cosines, score(NEW.embeddings, NEW.logits, 1.0))


@pytest.mark.parametrize(
    ("dim", "expected"), [(1, 0), (512, 256), (768, 512), (1024, 512), (2048, 1000)]
)
def test_the_usual_principal_space(dim: int, expected: int) -> None:
    chance = torch.Generator().manual_seed(0)
    rows = torch.randn(8, dim, generator=chance) * torch.arange(1, dim + 1)
    score = ViM(dim, 1)
    assert score.principal is None
    from taxonet.inference.novelty.vim import _usual_principal

    assert _usual_principal(dim) == expected
    score.fit([(rows, torch.ones(8, 1), torch.zeros(8, dtype=torch.int64))])
    span = min(8, dim)
    principal = expected if expected < span else span // 2
    assert round(float(score.residual.trace())) == dim - principal


def test_vim_says_why_it_cannot_be_fitted() -> None:
    given = photos(images=3)
    with pytest.raises(DataError, match="3 images span 3 directions, and the 4 principal ones"):
        ViM(DIM, CLASSES, principal=4).fit(given.whole())
    with pytest.raises(DataError, match="span 0 directions"):
        ViM(DIM, CLASSES).fit([(torch.zeros(2, DIM), torch.ones(2, 4), torch.tensor([0, 1]))])
    with pytest.raises(DataError, match="positive on average, but are -1"):
        ViM(DIM, CLASSES).fit([(given.embeddings, torch.full((3, 4), -1.0), given.targets)])
    with pytest.raises(DataError, match="3 images and the second 0: give a list"):
        ViM(DIM, CLASSES).fit(batch for batch in given.whole())
    with pytest.raises(DataError, match=r"Expected logits \(3, 4\), got \(3, 2\)"):
        ViM(DIM, CLASSES).fit([(given.embeddings, torch.ones(3, 2), given.targets)])
    with pytest.raises(DataError, match="largest logit of every image to be finite"):
        ViM(DIM, CLASSES).fit([(given.embeddings, torch.full((3, 4), torch.nan), given.targets)])
    with pytest.raises(ConfigError, match="from 0 to 4, one less than the features, but is 5"):
        ViM(DIM, CLASSES, principal=5)
    with pytest.raises(DataError, match=r"weight \(4, 5\) and a bias \(4,\), got \(4, 5\) and"):
        ViM(DIM, CLASSES).set_origin(torch.ones(4, 5), torch.ones(3))


def test_another_origin_asks_for_another_fit() -> None:
    score = ViM(DIM, CLASSES).fit(KNOWN.whole())
    assert score.is_fitted
    assert not score.set_origin(*head()).is_fitted


def test_a_fit_that_failed_leaves_no_half_of_it() -> None:
    score = ViM(DIM, CLASSES).fit(KNOWN.whole())
    with pytest.raises(DataError, match="positive on average"):
        score.fit([(NEW.embeddings, -NEW.logits.abs(), NEW.targets)])
    with pytest.raises(DataError, match="has not been fitted yet"):
        score(NEW.embeddings, NEW.logits, 1.0)
