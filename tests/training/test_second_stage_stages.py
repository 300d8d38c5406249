"""Each stage against a slow loop, against cases by hand, and against what it is for."""

from typing import Any

import numpy as np
import pytest
import torch

from taxonet.errors import ConfigError, DataError
from taxonet.models import CosineHead, ExpertHeads, Head, LinearHead, PrototypeHead
from taxonet.registry import SECOND_STAGES
from taxonet.training.second_stage import (
    CachedEmbeddings,
    ClassifierRetraining,
    LearnableWeightScaling,
    MaxNorm,
    NearestClassMean,
    PrototypeLearning,
    TauNormalisation,
)
from taxonet.training.second_stage.fitting import balanced_batches
from taxonet.training.second_stage.max_norm import project_rows_, radius_between
from taxonet.training.second_stage.tau_norm import tau_normalised
from tests.long_tailed_gaussians import COUNTS, gaussians
from tests.reference import prototypes as slow

SMALL_COUNTS = (12, 5, 1)
SMALL_TARGETS = torch.tensor([0] * 12 + [1] * 5 + [2])


def small_set() -> CachedEmbeddings:
    rng = np.random.default_rng(1)
    return CachedEmbeddings(torch.from_numpy(rng.standard_normal((18, 4))).float(), SMALL_TARGETS)


def small_head() -> LinearHead:
    rng = np.random.default_rng(2)
    head = LinearHead(4, 3)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(rng.standard_normal((3, 4))))
        head.bias.copy_(torch.from_numpy(rng.standard_normal(3)))
    return head


def small_batches(batch_size: int, epochs: int) -> list[slow.Batch]:
    source = small_set()
    return [
        (source.embeddings[rows].double().numpy(), SMALL_TARGETS[rows].tolist())
        for epoch in range(1, epochs + 1)
        for rows in balanced_batches(
            SMALL_TARGETS, classes=3, batch_size=batch_size, seed=7, epoch=epoch
        )
    ]


def fit(name: str, head: Head | None = None, **options: Any) -> Head:
    stage = SECOND_STAGES.build(name, options)
    fitted = stage.fit(small_set(), head=head or small_head(), class_counts=SMALL_COUNTS, seed=7)
    assert isinstance(fitted, Head)
    return fitted


def assert_near(actual: torch.Tensor | None, expected: Any) -> None:
    assert actual is not None
    np.testing.assert_allclose(actual.detach().numpy(), np.array(expected), rtol=1e-4, atol=1e-5)


def double(values: torch.Tensor) -> slow.Array:
    return values.detach().double().numpy()


def test_ncm_equals_the_loop() -> None:
    head = fit("ncm")
    assert isinstance(head, PrototypeHead)
    assert head.log_temperature is None
    source = small_set()
    means = slow.class_means(double(source.embeddings), SMALL_TARGETS.tolist(), 3)
    assert_near(head.weight, means)
    # The only image of class 2 is its prototype.
    assert torch.equal(head.weight[2], source.embeddings[17])


@pytest.mark.parametrize("temperatures", [False, True])
@pytest.mark.parametrize("tau", [0.0, 0.25])
def test_prototypes_equal_the_loop(temperatures: bool, tau: float) -> None:
    head = fit(
        "prototype",
        channel_temperature=temperatures,
        tau=tau,
        batch_size=5,
        epochs=2,
        learning_rate=0.5,
        temperature_learning_rate=0.3,
    )
    assert isinstance(head, PrototypeHead)
    means = slow.class_means(double(small_set().embeddings), SMALL_TARGETS.tolist(), 3)
    prototypes, log_t = slow.prototype_steps(
        np.array(means),
        small_batches(5, 2),
        counts=SMALL_COUNTS,
        tau=tau,
        rate=0.5,
        temperature_rate=0.3 if temperatures else 0.0,
    )
    assert_near(head.weight, prototypes)
    if temperatures:
        assert_near(head.log_temperature, log_t)
        assert np.abs(log_t).max() > 0.01
    else:
        assert head.log_temperature is None


def test_crt_equals_the_loop() -> None:
    head = fit("crt", batch_size=5, epochs=2, weight_decay=0.02)
    assert isinstance(head, LinearHead)
    weight, bias = slow.linear_steps(
        np.zeros((3, 4)), np.zeros(3), small_batches(5, 2), rate=0.2, decay=0.02
    )
    assert_near(head.weight, weight)
    assert_near(head.bias, bias)


@pytest.mark.parametrize("radius", [0.8, None])
def test_max_norm_equals_the_loop(radius: float | None) -> None:
    old = small_head()
    norms = old.weight.detach().norm(dim=1).tolist()
    expected_radius = radius or min(norms) + 0.1 * (max(norms) - min(norms))
    head = fit("max_norm", batch_size=5, epochs=2, learning_rate=0.1, radius=radius)
    assert isinstance(head, LinearHead)
    weight, bias = slow.linear_steps(
        double(old.weight),
        double(old.bias),
        small_batches(5, 2),
        rate=0.1,
        decay=0.1,
        project=lambda values: slow.within(values, expected_radius),
    )
    assert_near(head.weight, weight)
    assert_near(head.bias, bias)
    assert head.weight.norm(dim=1).max() <= expected_radius * (1 + 1e-6)


def test_lws_equals_the_loop() -> None:
    old = small_head()
    head = fit("lws", batch_size=5, epochs=2, weight_decay=0.02)
    assert isinstance(head, LinearHead)
    factors = slow.scaling_steps(
        double(old.weight), double(old.bias), small_batches(5, 2), rate=0.2, decay=0.02
    )
    assert_near(head.weight, factors[:, None] * double(old.weight))
    assert_near(head.bias, factors * double(old.bias))


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_tau_norm_equals_the_loop(tau: float) -> None:
    head = fit("tau_norm", tau=tau)
    assert isinstance(head, LinearHead)
    assert_near(head.weight, slow.normalised(double(small_head().weight), tau=tau))
    assert head.bias.tolist() == [0.0] * 3


def test_projections_by_hand() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    assert radius_between(weight) == pytest.approx(0.5)
    assert tau_normalised(weight, tau=2.0).tolist() == [
        [pytest.approx(0.12), pytest.approx(0.16)],
        [pytest.approx(1.2), pytest.approx(1.6)],
        [0.0, 0.0],
    ]
    project_rows_(weight, 1.0)
    assert weight.tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        [pytest.approx(0.3), pytest.approx(0.4)],
        [0.0, 0.0],
    ]


def test_without_effect_the_old_head_comes_back() -> None:
    old = small_head()
    kept = fit("max_norm", learning_rate=1e-30, radius=1e6)
    assert isinstance(kept, LinearHead)
    assert torch.equal(kept.weight, old.weight)
    assert torch.equal(kept.bias, old.bias)
    assert torch.equal(fit("tau_norm", tau=0.0).weight, old.weight)
    assert torch.equal(fit("lws", learning_rate=1e-30).weight, old.weight)
    means = fit("ncm").weight
    assert torch.equal(fit("prototype", learning_rate=1e-30).weight, means)


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("ncm", 0.12),
        ("prototype", 0.12),
        ("crt", 0.08),
        ("tau_norm", 0.08),
        ("lws", 0.05),
        ("max_norm", 0.12),
    ],
)
def test_rare_classes_gain(name: str, gain: float) -> None:
    for seed in range(3):
        data = gaussians(seed)
        stage = SECOND_STAGES.build(name, {})
        head = stage.fit(data.source, head=data.head, class_counts=COUNTS, seed=0)
        assert data.macro_recall(head) > data.macro_recall(data.head) + gain


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine"])
def test_every_distance_can_be_learned(distance: str) -> None:
    data = gaussians()
    options = {"distance": distance, "learning_rate": 0.1}
    head = SECOND_STAGES.build("prototype", options).fit(
        data.source, head=data.head, class_counts=COUNTS, seed=0
    )
    assert data.macro_recall(head) > data.macro_recall(data.head) + 0.12


def test_the_prior_favours_rare_classes() -> None:
    """What training adds to the logits of frequent classes, prediction leaves out."""
    data = gaussians()
    rare = data.test_targets == len(COUNTS) - 1
    recalls = []
    for tau in (0.0, 2.0):
        head = PrototypeLearning(tau=tau).fit(
            data.source, head=data.head, class_counts=COUNTS, seed=0
        )
        recalls.append((head(data.test[rare]).argmax(dim=1) == len(COUNTS) - 1).double().mean())
    assert recalls[1] > recalls[0] + 0.02


@pytest.mark.parametrize("name", ["tau_norm", "lws", "max_norm"])
@pytest.mark.parametrize("head", [CosineHead(4, 3), PrototypeHead(4, 3)])
def test_stages_on_weights_refuse_other_heads(name: str, head: Head) -> None:
    with pytest.raises(ConfigError, match="works on the weights of a linear head"):
        fit(name, head)


@pytest.mark.parametrize("name", ["crt", "ncm", "prototype"])
@pytest.mark.parametrize(
    "head", [CosineHead(4, 3), PrototypeHead(4, 3), ExpertHeads([LinearHead(2, 3) for _ in "ab"])]
)
def test_stages_on_embeddings_take_any_head(name: str, head: Head) -> None:
    expected = fit(name).state_dict()
    for key, value in fit(name, head).state_dict().items():
        assert torch.equal(value, expected[key])


def test_embeddings_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match="5 features, but the source gives 4"):
        fit("crt", LinearHead(5, 3))


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="tau"):
        PrototypeLearning(tau=-1.0)
    with pytest.raises(ConfigError, match="temperature_learning_rate"):
        PrototypeLearning(temperature_learning_rate=-1.0)
    with pytest.raises(ConfigError, match="tau"):
        TauNormalisation(tau=float("nan"))
    with pytest.raises(ConfigError, match="radius"):
        MaxNorm(radius=0.0)
    with pytest.raises(ConfigError, match="'manhattan'"):
        NearestClassMean(distance="manhattan")  # type: ignore[arg-type] # the point of the test
    for stage in (PrototypeLearning, ClassifierRetraining, LearnableWeightScaling, MaxNorm):
        with pytest.raises(ConfigError, match="epochs"):
            stage(epochs=0)
    head = small_head()
    with torch.no_grad():
        head.weight.zero_()
    with pytest.raises(ConfigError, match="All weights"):
        fit("max_norm", head)
