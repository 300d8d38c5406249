import pytest
import torch

from taxonet.errors import ConfigError, DataError
from taxonet.inference import diffuse, tune_alpha
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy

TREE = Taxonomy.from_parents(list("abcdefg"), [-1, 0, 0, 1, 1, 2, 2])
SCORES = torch.from_numpy(generator("tuning").random((60, 7)))
TRUTH = torch.from_numpy(generator("tuning", "truth").integers(3, 6, 60))  # g has no images


def recall_by_loops(alpha: float) -> float:
    diffused = diffuse(SCORES, TREE, alpha=alpha).tolist()
    recalls = []
    for leaf in (3, 4, 5):
        named = [max(range(3, 7), key=row.__getitem__) for row in diffused]
        hits = [n == leaf for n, t in zip(named, TRUTH.tolist(), strict=True) if t == leaf]
        recalls.append(sum(hits) / len(hits))
    return sum(recalls) / 3


def test_the_default_metric_is_macro_recall_of_the_best_leaf() -> None:
    found = tune_alpha(SCORES, TREE, TRUTH)
    assert list(found.values) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    for alpha, value in found.values.items():
        assert value == pytest.approx(recall_by_loops(alpha))
    assert found.values[found.alpha] == max(found.values.values())


def test_another_metric_decides_and_the_first_of_equals_is_taken() -> None:
    roots = torch.zeros(60, dtype=torch.int64)  # which only another metric can judge
    found = tune_alpha(
        SCORES, TREE, roots, alphas=[0.1, 0.5], metric=lambda _, truth: float(len(truth))
    )
    assert found == (0.1, {0.1: 60.0, 0.5: 60.0})
    # The more a score spreads, the less of it stays.
    alone = torch.eye(7)[3:4]
    spread = tune_alpha(
        alone, TREE, TRUTH[:1], alphas=[0.2, 0.8, 0.5], metric=lambda f, _: -float(f[0, 3])
    )
    assert spread.alpha == 0.8


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one alpha"):
        tune_alpha(SCORES, TREE, TRUTH, alphas=[])
    with pytest.raises(ConfigError, match=r"alpha in \[0, 1\)"):
        tune_alpha(SCORES, TREE, TRUTH, alphas=[1.5])
    with pytest.raises(DataError, match="true node for each of 60 images"):
        tune_alpha(SCORES, TREE, TRUTH[:5])
    with pytest.raises(DataError, match="no leaves"):
        tune_alpha(SCORES, TREE, torch.ones(60, dtype=torch.int64))
