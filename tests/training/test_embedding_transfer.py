"""SMART on stored features: what a step learns from, and whole runs."""

import json
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.losses import CrossEntropyLoss
from taxonet.models import build_network_on_features
from taxonet.recipes import TransferRecipe, load_recipe
from taxonet.training import EmbeddingClassifier, train
from taxonet.training.building import build
from taxonet.training.covariance import EmbeddingCovariances, transfer_embeddings
from taxonet.training.objectives import EmbeddingTransferObjective, build_objective
from taxonet.training.second_stage import CachedEmbeddings
from tests.small_set import TRAIN, config, write_set
from tests.training.test_methods import COUNTS, toy_data

Neck = Literal["none", "linear"]

SIZE = 5
TARGET = torch.tensor([0, 1, 2, 2, 0, 2, 3])
PART = torch.tensor([0, 0, 0, 1, 1, 1, 1])
STORED = ("features={}", "model.weights=none")


def stored() -> CachedEmbeddings:
    """Classes 0 and 1 of many photos, 2 of four, 3 of one."""
    rng = torch.Generator().manual_seed(0)
    targets = torch.arange(4).repeat_interleave(torch.tensor([30, 20, 4, 1]))
    spread = 1 + targets[:, None] * torch.linspace(0, 1, SIZE)
    return CachedEmbeddings(torch.randn(len(targets), SIZE, generator=rng) / spread, targets)


def objective(*, neck: Neck = "none", **options: object) -> EmbeddingTransferObjective:
    given = stored()
    return EmbeddingTransferObjective(
        build_network_on_features(SIZE, head="cosine", classes=4, neck=neck, seed=0),
        CrossEntropyLoss([30, 20, 4, 1]),
        recipe=TransferRecipe.model_validate(options),
        covariances=EmbeddingCovariances(given.embeddings, given.targets, 4, columns=3),
        tail_classes=np.array([2, 3]),
        head_classes=np.array([0, 1]),
    )


def batch() -> Tensor:
    given = stored()
    return given.embeddings[[0, 30, 50, 51, 1, 52, 54]]


def seen(one: EmbeddingTransferObjective) -> Tensor:
    """Run a step and return what the network was given."""
    inputs: list[Tensor] = []
    handle = one.network.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    one(batch(), TARGET, PART, keep=3, key=("step", 0))
    handle.remove()
    return inputs[0]


def test_only_tail_images_of_the_second_batch_change() -> None:
    changed = (seen(objective()) != batch()).any(dim=1)
    # Image 2 is of the batch proper, 4 of a head class, and 6 the one photo of its class.
    assert changed.tolist() == [False, False, False, True, False, True, False]


def test_a_step_is_the_plain_loss_of_what_is_transferred() -> None:
    one = objective()
    output = one(batch(), TARGET, PART, keep=3, key=("step", 0))
    expected = one.loss(one.network(seen(one)).scores, TARGET)
    torch.testing.assert_close(output.loss, expected)
    assert (output.images, output.tail_kept, dict(output.figures)) == (7, 4, {})


def test_heads_are_drawn_by_the_key_of_the_step() -> None:
    one = objective()
    inputs = batch()[[3]].repeat(40, 1)
    target, part = torch.full((40,), 2), torch.ones(40, dtype=torch.int64)
    given: list[Tensor] = []
    one.network.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    for step in (0, 0, 1):
        one(inputs, target, part, keep=40, key=("step", step))
    assert torch.equal(given[0], given[1])
    assert not torch.equal(given[0], given[2])
    lent = [
        transfer_embeddings(inputs[:1], target[:1], torch.tensor([head]), one.covariances)
        for head in (0, 1)
    ]
    from_first = torch.isclose(given[0], lent[0], atol=1e-5).all(dim=1)
    from_second = torch.isclose(given[0], lent[1], atol=1e-5).all(dim=1)
    assert (from_first ^ from_second).all()
    assert 8 < int(from_first.sum()) < 32


def test_the_tail_batch_may_learn_alone() -> None:
    one = objective(train_on="tail")
    output = one(batch(), TARGET, PART, keep=3, key=("step", 0))
    expected = one.loss(one.network(seen(one)[3:]).scores, TARGET[3:])
    torch.testing.assert_close(output.loss, expected)
    assert output.images == 4


@pytest.mark.parametrize("neck", ["none", "linear"])
def test_gradients_reach_neck_and_head_and_are_finite(neck: Neck) -> None:
    one = objective(neck=neck)
    one(1e4 * batch(), TARGET, PART, keep=3, key=("step", 0)).loss.backward()
    gradients = [parameter.grad for parameter in one.parameters()]
    assert len(gradients) >= (1 if neck == "none" else 2)
    for gradient in gradients:
        assert gradient is not None
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
    # The transfer is on what the neck is given.
    assert seen(one).shape == batch().shape


def test_it_says_what_it_takes_and_who_borrows_nothing() -> None:
    takes, alone = objective().notes
    assert takes.startswith("Covariances (3 directions) of 4 classes of 5 values")
    assert alone.startswith("1 of 2 tail classes have one photo")


def test_its_state_holds_nothing_that_follows_from_the_features() -> None:
    assert not [name for name in objective().state_dict() if name.startswith("covariances")]


def made(*changes: str) -> EmbeddingTransferObjective:
    """The objective that a recipe asks for, on four classes of 120 to 12 photos."""
    recipe = load_recipe("quick,method/smart", ["transfer.tail_shots=30", *changes])
    network, loss = build(recipe, toy_data(), feature_size=SIZE)
    targets = torch.arange(4).repeat_interleave(torch.tensor(COUNTS))
    embeddings = torch.randn(len(targets), SIZE, generator=torch.Generator().manual_seed(0))
    found = build_objective(
        recipe,
        network,
        loss,
        data=toy_data(),
        accelerator=Accelerator(cpu=True),
        stored=CachedEmbeddings(embeddings, targets),
    )
    assert isinstance(found, EmbeddingTransferObjective)
    return found


def test_directions_are_as_many_as_asked_or_all() -> None:
    assert made().covariances.directions.shape == (4, SIZE, SIZE)
    assert made("transfer.rank=2").covariances.directions.shape == (4, SIZE, 2)


def test_heads_may_be_relatives_or_alike() -> None:
    assert made("transfer.similar=1").similarity.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    one = made("transfer.similar=1", "transfer.similarity=prototypes")
    one.start_epoch(0)
    weight = nn.functional.normalize(one.network.head.weight.detach(), dim=1)
    torch.testing.assert_close(one.similarity, weight[2:] @ weight[:2].T)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("transfer.tail_shots=12", r"fewer than 12.*no tail class.*smallest has 12"),
        ("transfer.tail_shots=500", "no head class"),
        ("transfer.budget_gb=1e-7", r"budget.*lower transfer\.rank"),
        ("transfer.tau=8", r"transfer\.tau=8\.0 is about the softmax.*leave it out"),
        ("transfer.normalise=none", r"transfer\.normalise='none' is about"),
        ("transfer.weight_min=0.5", r"weights of tail images other than 1"),
        ("transfer.weight_max=2", r"weights of tail images other than 1"),
        ("transfer.momentum=0.1", "statistics that run along"),
        ("transfer.layer=stage3", "a layer of the backbone"),
    ],
)
def test_what_cannot_work_is_refused_before_training(change: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        made(change)


@pytest.mark.parametrize(
    "recipe",
    ["quick,method/smart", "quick,method/smart-relatives", "quick,method/dual-margin-smart"],
)
def test_it_learns_from_arrays(recipe: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array(["ash", "beech", "elm"]), (60, 30, 4))
    kind = np.unique(labels, return_inverse=True)[1]
    embeddings = rng.normal(size=(len(labels), 6)) + 4 * np.eye(6)[kind]
    changes = ["epochs=8", "transfer.tail_shots=10", "optimiser.learning_rate=0.05"]
    model = EmbeddingClassifier(recipe, changes, device="cpu").fit(embeddings, labels)
    others = rng.normal(size=(90, 6)) + 4 * np.eye(6)[np.arange(90) % 3]
    truth = np.array(["ash", "beech", "elm"])[np.arange(90) % 3]
    assert (model.predict(others) == truth).mean() > 0.9
    plain = EmbeddingClassifier(recipe, ["transfer=null", *changes[::2]], device="cpu")
    other = plain.fit(embeddings, labels)
    assert not torch.equal(other.network.head.weight, model.network.head.weight)


def test_a_run_on_photos_is_repeated_by_the_recipe_that_it_wrote(
    photos: Path, tmp_path: Path
) -> None:
    changes = (*STORED, "epochs=3", "features.views=2", "transfer.tail_shots=8")
    whole = train(config(photos, tmp_path / "whole", *changes, recipe="method/smart"))
    kept = whole.load(device="cpu").network.head.weight
    # That recipe gives every option, also those that mean nothing here.
    again = config(photos, tmp_path / "again")
    again = again.model_copy(update={"recipe": whole.folder / "recipe.yaml", "set": ()})
    torch.testing.assert_close(train(again).load(device="cpu").network.head.weight, kept)
    steps = (whole.folder / "log.jsonl").read_text().splitlines()
    assert all(np.isfinite(json.loads(line).get("loss", 0.0)) for line in steps)


def test_broken_photos_have_no_part_in_the_covariances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_images: list[list[int]] = []

    def estimate(*args: Any, **options: Any) -> EmbeddingCovariances:
        found = EmbeddingCovariances(*args, **options)
        seen_images.append(found.images.tolist())
        return found

    chooses = sys.modules[build_objective.__module__]
    monkeypatch.setattr(chooses, "EmbeddingCovariances", estimate)
    photos = write_set(tmp_path / "photos")
    for name in ("Rosa_canina_train_3.png", "Acer_saccharum_train_0.png"):
        (photos / "images" / name).write_bytes(b"no image")
    changes = (*STORED, "transfer.tail_shots=8")
    given = config(photos, tmp_path / "run", *changes, recipe="method/smart", broken_share=0.5)
    result = train(given)
    assert len(result.broken) == 2
    counted = result.load(device="cpu").class_counts.sum()
    assert sum(seen_images[0]) == sum(TRAIN.values()) - 2 == counted - 2
    assert sorted(seen_images[0]) == [2, 5, 8, 10, 13]
