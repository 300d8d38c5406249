"""Learning rates by layer, and which weights are decayed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.optim._param_groups import param_groups_layer_decay
from torch import nn

from taxonet.errors import ConfigError
from taxonet.losses import CrossEntropyLoss
from taxonet.models import Network, build_network
from taxonet.recipes import OptimiserRecipe
from taxonet.training import train
from taxonet.training.objectives import ClassificationObjective
from taxonet.training.parameter_groups import parameter_groups
from tests.small_set import config


def objective(backbone: str, *, experts: int = 1) -> ClassificationObjective:
    network = build_network(backbone=backbone, head="linear", classes=3, seed=0, experts=experts)
    return objective_of(network)


def objective_of(network: Network) -> ClassificationObjective:
    loss = CrossEntropyLoss([3, 2, 1])
    return ClassificationObjective(network, loss)


def by_name(objective: ClassificationObjective, **choice: Any) -> Mapping[str, tuple[float, float]]:
    """Return factor and decay of each parameter of the network."""
    names = {id(weights): name for name, weights in objective.network.named_parameters()}
    groups = parameter_groups(objective, OptimiserRecipe(**choice))
    found = {
        names[id(weights)]: (group["lr_scale"], group["weight_decay"])
        for group in groups
        for weights in group["params"]
    }
    assert len(found) == len(names) == sum(len(group["params"]) for group in groups)
    return found


def test_sgd_has_one_group_in_the_order_of_the_objective() -> None:
    given = objective("resnet10")
    (group,) = parameter_groups(given, OptimiserRecipe())
    assert (group["weight_decay"], group["lr_scale"]) == (5e-4, 1.0)
    assert list(map(id, group["params"])) == list(map(id, given.parameters()))


@pytest.mark.parametrize(
    "backbone", ["test_vit", "test_convnext", "test_resnet", "test_efficientnet"]
)
def test_it_is_timms_own_layer_decay(backbone: str) -> None:
    """The head of taxonet stands where timm's classifier stands."""
    import timm

    model = timm.create_model(backbone, num_classes=3)
    names = {id(weights): name for name, weights in model.named_parameters()}
    stated: Any = getattr(model, "no_weight_decay", tuple)
    theirs = {
        names[id(weights)]: (group["lr_scale"], group["weight_decay"])
        for group in param_groups_layer_decay(
            model, weight_decay=0.05, layer_decay=0.5, no_weight_decay_list=stated()
        )
        for weights in group["params"]
    }
    ours = by_name(
        objective(backbone), name="adamw", weight_decay=0.05, layer_decay=0.5, head_factor=2.0
    )
    classifier = [name for name in theirs if f"backbone.{name}" not in ours]
    assert len(classifier) == 2
    for name, (factor, decay) in theirs.items():
        if name in classifier:
            assert factor == 1.0
        else:
            our_factor, our_decay = ours[f"backbone.{name}"]
            assert our_factor == pytest.approx(factor), name
            assert our_decay == decay, name
    assert ours["head.weight"] == (2.0, 0.05)
    assert ours["head.bias"] == (2.0, 0.0)


@pytest.mark.parametrize(
    ("backbone", "experts", "expected"),
    [
        ("resnet32", 1, {"conv1.weight": 16, "stage1.0.": 15, "stage3.4.": 1}),
        ("resnet10", 1, {"conv1.weight": 5, "layer1.0.": 4, "layer4.0.": 1}),
        (
            "resnet10",
            2,
            {"trunk.stem": 5, "trunk.layer1.0.": 4, "experts.0.layer4.": 1, "experts.1.layer4.": 1},
        ),
        ("resnet32", 3, {"trunk.stem": 16, "trunk.stage1.4.": 11, "experts.2.stage2.0.": 10}),
    ],
)
def test_own_backbones_state_their_layers(
    backbone: str, experts: int, expected: dict[str, int]
) -> None:
    found = by_name(objective(backbone, experts=experts), layer_decay=0.5)
    for start, depth in expected.items():
        factors = {
            factor for name, (factor, _) in found.items() if name.startswith(f"backbone.{start}")
        }
        assert factors == {0.5**depth}, start


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "vit",
            {
                "visual.conv1": 2,
                "visual.transformer.resblocks.0.": 1,
                "visual.ln_post": 1,
                "visual.proj": 0,
            },
        ),
        (
            "modified_resnet",
            {"visual.conv1": 5, "visual.layer1.0.": 4, "visual.layer4.0": 1, "visual.attnpool": 0},
        ),
        ("timm", {"visual.trunk.conv1": 5, "visual.trunk.layer4.0": 1, "visual.head": 0}),
    ],
)
def test_towers_of_clip_have_layers(
    tiny_clips: dict[str, Path], kind: str, expected: dict[str, int]
) -> None:
    found = by_name(objective(f"clip:{tiny_clips[kind]}"), layer_decay=0.5)
    for start, depth in expected.items():
        factors = {
            factor for name, (factor, _) in found.items() if name.startswith(f"backbone.{start}")
        }
        assert factors == {0.5**depth}, start


def test_a_backbone_without_layers_is_refused() -> None:
    class Head(nn.Linear):
        kind, scale = "logits", 1.0

    given = objective_of(Network(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), Head(4, 3)))  # type: ignore[arg-type] # as in test_updates
    assert len(parameter_groups(given, OptimiserRecipe())) == 1
    with pytest.raises(
        ConfigError, match=r"Sequential, does not state its layers.*layer_decay to 1"
    ):
        parameter_groups(given, OptimiserRecipe(layer_decay=0.9))


def test_the_rates_of_a_run(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[set[float]] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *given: Any, **named: Any) -> Any:
        rates.append({round(group["lr"] / 1e-3, 6) for group in self.param_groups})
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    changes = ["optimiser.name=adamw", "optimiser.learning_rate=0.001", "epochs=1"]
    changes += ["optimiser.layer_decay=0.5", "optimiser.head_factor=3", "schedule.warmup_epochs=0"]
    train(config(photos, tmp_path / "run", *changes))
    # The first rate is the peak: three times of it for the head, then half of it from layer to
    # layer of the four blocks and the stem.
    assert rates[0] == {3.0, *(0.5**depth for depth in range(1, 6))}
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert len(rates) == 10
    assert log
