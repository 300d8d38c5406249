"""The package pytorch-ood as an oracle: where its definitions are ours, so are its figures.

It computes in float32. Its Mahalanobis distance is half of the squared one and divides by the sum
of squares, not by their mean, so that it is 1/(2 N) of ours; it adds a ridge of 1e-6 to that sum
in place of shrinking it. Its relative distance has no half, so that it is 1/N of ours. Its entropy
clips probabilities at 1e-7, and it rounds 1 - p, which is exact here.
"""

import pytest
import torch
from pytorch_ood import detector as oracle

from taxonet.inference.novelty import (
    Mahalanobis,
    NearestNeighbours,
    RelativeMahalanobis,
    ViM,
    energy,
    entropy,
    max_logit,
    max_softmax,
)
from tests.inference.fitted_novelty import CLASSES, DIM, Photos, head, photos

KNOWN, NEW = (
    Photos(given.embeddings.float(), given.logits.float(), given.targets)
    for given in (photos(images=200), photos(1))
)


def test_scores_of_outputs() -> None:
    nothing = torch.zeros(len(NEW.logits), 1)
    pairs = [
        (max_softmax, oracle.MaxSoftmax(None).predict_logits(NEW.logits) + 1),
        (max_logit, oracle.MaxLogit(None).predict_logits(NEW.logits)),
        (energy, oracle.EnergyBased(None).predict_logits(NEW.logits)),
        (entropy, oracle.Entropy(None).predict_logits(NEW.logits)),
    ]
    for score, expected in pairs:
        torch.testing.assert_close(score(nothing, NEW.logits, 1.0), expected, rtol=1e-4, atol=1e-5)


def test_mahalanobis() -> None:
    theirs = oracle.Mahalanobis(None).fit_features(KNOWN.embeddings, KNOWN.targets)
    ours = Mahalanobis(DIM, CLASSES, shrinkage=0.0).fit(KNOWN.whole())
    torch.testing.assert_close(
        ours(NEW.embeddings, NEW.logits, 1.0) / (2 * 200),
        theirs.predict_features(NEW.embeddings),
        rtol=1e-4,
        atol=1e-6,
    )


def test_relative_mahalanobis() -> None:
    theirs = oracle.RMD(None).fit_features(KNOWN.embeddings, KNOWN.targets)
    ours = RelativeMahalanobis(DIM, CLASSES, shrinkage=0.0).fit(KNOWN.whole())
    torch.testing.assert_close(
        ours(NEW.embeddings, NEW.logits, 1.0) / 200,
        theirs.predict_features(NEW.embeddings),
        rtol=1e-3,
        atol=1e-5,
    )


@pytest.mark.parametrize("k", [1, 7])
def test_knn(k: int) -> None:
    theirs = oracle.KNN(None, k=k).fit_features(KNOWN.embeddings, KNOWN.targets)
    ours = NearestNeighbours(DIM, CLASSES, k=k).fit(KNOWN.whole())
    torch.testing.assert_close(
        ours(NEW.embeddings, NEW.logits, 1.0),
        theirs.predict_features(NEW.embeddings).float(),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("principal", [1, 3])
def test_vim(principal: int) -> None:
    weight, bias = (part.float() for part in head())
    theirs = oracle.ViM(None, d=principal, w=weight, b=bias)
    theirs.fit_features(KNOWN.embeddings, KNOWN.targets)
    ours = ViM(DIM, CLASSES, principal=principal).set_origin(weight, bias).fit(KNOWN.whole())
    torch.testing.assert_close(
        ours(NEW.embeddings, NEW.logits, 1.0),
        theirs.predict_features(NEW.embeddings),
        rtol=1e-3,
        atol=1e-3,
    )
