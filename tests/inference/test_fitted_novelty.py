"""What every fitted novelty score must do, found in the registry."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from taxonet.errors import ConfigError, DataError
from taxonet.inference.novelty import (
    EmbeddingMoments,
    FittedNovelty,
    Mahalanobis,
    NearestPrototype,
    RelativeMahalanobis,
)
from taxonet.registry import FITTED_NOVELTY_SCORES
from tests.inference.fitted_novelty import CLASSES, DIM, Photos, photos

ALL = ["knn", "mahalanobis", "nearest_prototype", "relative_mahalanobis", "vim"]


def build(name: str, *, dim: int = DIM, classes: int = CLASSES, **options: Any) -> FittedNovelty:
    score = FITTED_NOVELTY_SCORES.build(name, options, dim, classes)
    assert isinstance(score, FittedNovelty)
    return score


def fitted(name: str, given: Photos | None = None, **options: Any) -> FittedNovelty:
    given = photos() if given is None else given
    return build(name, dim=given.embeddings.shape[1], **options).fit(given.whole())


def scored(score: FittedNovelty, given: Photos) -> torch.Tensor:
    found = score(given.embeddings, given.logits, 1.0)
    assert isinstance(found, torch.Tensor)
    return found


def test_the_registry_holds_all_scores() -> None:
    assert FITTED_NOVELTY_SCORES.names() == ALL


@pytest.mark.parametrize("name", ALL)
def test_where_batches_end_and_the_order_of_images_do_not_matter(name: str) -> None:
    given, new = photos(), photos(1)
    whole = scored(fitted(name), new)
    in_parts = build(name).fit(given.cut(1, 1, 21, 0, 17))
    torch.testing.assert_close(scored(in_parts, new), whole, rtol=1e-6, atol=1e-9)
    order = torch.randperm(len(given.targets), generator=torch.Generator().manual_seed(3))
    mixed = Photos(*(part[order] for part in given))
    torch.testing.assert_close(scored(fitted(name, mixed), new), whole, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_classes_does_not_matter(name: str) -> None:
    given, new = photos(), photos(1)
    order = torch.tensor([2, 0, 3, 1])
    place = torch.argsort(order)
    other = Photos(given.embeddings, given.logits[:, order], place[given.targets])
    found = fitted(name, other)(new.embeddings, new.logits[:, order], 1.0)
    torch.testing.assert_close(found, scored(fitted(name), new))


@pytest.mark.parametrize("name", ALL)
def test_each_image_is_scored_alone(name: str) -> None:
    score, new = fitted(name), photos(1)
    alone = [score(new.embeddings[i : i + 1], new.logits[i : i + 1], 1.0) for i in range(9)]
    torch.testing.assert_close(torch.cat(alone), scored(score, new)[:9])
    assert score(new.embeddings[:0], new.logits[:0], 1.0).shape == (0,)


@pytest.mark.parametrize("name", ALL)
def test_what_is_far_from_all_training_images_is_more_novel(name: str) -> None:
    score, given = fitted(name), photos()
    known = scored(score, given)
    # The embeddings lie in every direction: a class turned around, with logits of no class.
    far = score(-given.embeddings, torch.zeros_like(given.logits), 1.0)
    assert far.median() > known.median()


@pytest.mark.parametrize("name", ALL)
def test_the_state_is_tensors_and_a_loaded_score_is_fitted(name: str, tmp_path: Path) -> None:
    score, new = fitted(name), photos(1)
    save_file(score.state_dict(), tmp_path / "novelty.safetensors")
    assert not build(name).is_fitted
    loaded = build(name)
    loaded.load_state_dict(load_file(tmp_path / "novelty.safetensors"))
    assert loaded.is_fitted
    assert torch.equal(scored(loaded, new), scored(score, new))
    again = pickle.loads(pickle.dumps(score))
    assert torch.equal(scored(again, new), scored(score, new))
    assert not list(score.parameters())


@pytest.mark.parametrize("name", ALL)
def test_a_second_fit_forgets_the_first(name: str) -> None:
    new = photos(2)
    again = build(name).fit(photos(1).whole()).fit(photos().whole())
    torch.testing.assert_close(scored(again, new), scored(fitted(name), new))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_precision_is_computed_in_float64(name: str, dtype: torch.dtype) -> None:
    exact = photos()
    given = Photos(exact.embeddings.to(dtype), exact.logits.to(dtype), exact.targets)
    found = scored(fitted(name, given), given)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    wide = Photos(given.embeddings.double(), given.logits.double(), given.targets)
    expected = scored(fitted(name, wide), wide)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [1e-30, 1e-6, 1e6, 1e17])
def test_tiny_and_huge_embeddings_stay_numbers(name: str, size: float) -> None:
    given = photos()
    sized = Photos((given.embeddings * size).float(), given.logits, given.targets)
    found = scored(fitted(name, sized), sized)
    assert found.isfinite().all()
    if name in {"knn", "mahalanobis", "relative_mahalanobis", "vim"}:  # which have no unit
        torch.testing.assert_close(
            found.double(), scored(fitted(name), given), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("name", ALL)
def test_fewer_images_than_features(name: str) -> None:
    given, new = photos(images=7, dim=30), photos(1, images=9, dim=30)
    options = {"k": 2} if name == "knn" else {}
    score = fitted(name, given, **options)
    assert scored(score, new).isfinite().all()
    known = scored(score, given)
    away = score(given.embeddings + 50 * torch.eye(30)[:7].double(), given.logits, 1.0)
    if name != "relative_mahalanobis":  # where what is far from everything cancels
        assert away.mean() > known.mean()


@pytest.mark.parametrize("name", ALL)
def test_one_image_a_class(name: str) -> None:
    given = photos(images=CLASSES)
    options = {"k": 1} if name == "knn" else {}
    score = fitted(name, given, **options)
    known, new = scored(score, given), scored(score, photos(1))
    assert torch.cat((known, new)).isfinite().all()
    if name in {"knn", "mahalanobis", "nearest_prototype"}:
        torch.testing.assert_close(known, torch.zeros_like(known), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_one_class(name: str) -> None:
    given = photos()
    only = Photos(given.embeddings, given.logits[:, :1].abs(), torch.zeros(40, dtype=torch.int64))
    score = fitted(name, only, classes=1)
    found = scored(score, only)
    assert found.isfinite().all()
    if name == "relative_mahalanobis":
        torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_classes_without_images_change_nothing(name: str) -> None:
    given, new = photos(), photos(1)
    more = build(name, classes=CLASSES + 2)
    blank = torch.full((40, 2), -torch.inf, dtype=torch.float64)
    wider = Photos(given.embeddings, torch.cat((given.logits, blank), 1), given.targets)
    found = more.fit(wider.whole())(new.embeddings, torch.cat((new.logits, blank), 1), 1.0)
    torch.testing.assert_close(found, scored(fitted(name), new))


@pytest.mark.parametrize("name", ALL)
def test_what_cannot_be_fitted_or_scored_is_refused(name: str) -> None:
    given, score = photos(), build(name)
    with pytest.raises(DataError, match="has not been fitted yet: call fit"):
        scored(score, given)
    with pytest.raises(DataError, match="at least"):
        score.fit([])
    broken = given.embeddings.clone()
    broken[3, 1] = torch.nan
    with pytest.raises(DataError, match=r"1 rows of the batch hold NaN or infinity.* row 3"):
        score.fit([(broken, given.logits, given.targets)])
    with pytest.raises(DataError, match=r"embeddings as floats \(B, 5\), got .*\(40, 4\)"):
        score.fit([(given.embeddings[:, 1:], given.logits, given.targets)])
    score.fit(given.whole())
    with pytest.raises(DataError, match=r"Expected embeddings \(B, 5\), got shape \(40, 4\)"):
        score(given.embeddings[:, 1:], given.logits, 1.0)


@pytest.mark.parametrize("name", ALL)
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="at least 1 feature and 1 class, but got 0, 3"):
        build(name, dim=0, classes=3)


@pytest.mark.parametrize("kind", [NearestPrototype, Mahalanobis, RelativeMahalanobis])
def test_scores_can_share_moments(kind: Any) -> None:
    given, new = photos(), photos(1)
    moments = EmbeddingMoments.of(given.whole(), classes=CLASSES, dim=DIM)
    shared = kind(DIM, CLASSES).fit_moments(moments)
    assert torch.equal(scored(shared, new), scored(kind(DIM, CLASSES).fit(given.whole()), new))
    with pytest.raises(DataError, match="moments of 3 classes and 5 features, got 4 and 5"):
        kind(DIM, 3).fit_moments(moments)
    with pytest.raises(DataError, match="at least one image; call update"):
        kind(DIM, CLASSES).fit_moments(EmbeddingMoments(CLASSES, DIM))
