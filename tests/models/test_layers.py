from typing import Any

import pytest
import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.models import CifarResNet, ExpertBackbone, build_backbone, feature_layer


class Odd(nn.Module):
    """A backbone with a layer that is not run, and one that gives two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 7, 3)
        self.idle = nn.Conv2d(3, 7, 3)
        self.pair = Pair()

    def forward(self, images: Tensor) -> Tensor:
        first, _ = self.pair(self.convolution(images))
        return torch.mean(first, dim=(2, 3))


class Pair(nn.Module):
    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return features, features


@pytest.mark.parametrize(
    ("name", "layer", "channels"),
    [
        ("resnet32", "stage3", 64),
        ("resnet32x4d", "stage3", 256),
        ("resnet10", "layer4", 512),
        ("test_resnet", "layer4", 96),
        ("test_convnext", "stages.3", 64),
    ],
)
def test_the_last_feature_map(name: str, layer: str, channels: int) -> None:
    backbone, _ = build_backbone(name)
    found, size = feature_layer(backbone)
    assert found is backbone.get_submodule(layer)
    assert size == channels


@pytest.mark.parametrize(
    ("name", "layer", "channels"),
    [
        ("resnet32", "stage2", 32),
        ("resnet32", "stage2.0.bn1", 32),
        ("resnet32", "conv1", 16),
        ("resnet10", "layer2", 128),
        ("test_resnet", "layer3", 192),
    ],
)
def test_a_layer_by_name(name: str, layer: str, channels: int) -> None:
    backbone, _ = build_backbone(name)
    found, size = feature_layer(backbone, layer)
    assert found is backbone.get_submodule(layer)
    assert size == channels


def test_the_map_is_what_is_pooled() -> None:
    backbone = CifarResNet().eval()
    layer, channels = feature_layer(backbone)
    maps: list[Tensor] = []
    layer.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    embedding = backbone(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert maps[0].shape == (2, channels, 8, 8)
    torch.testing.assert_close(maps[0].mean(dim=(2, 3)), embedding)


def test_a_layer_of_one_expert() -> None:
    backbone = ExpertBackbone(CifarResNet(), 2)
    assert feature_layer(backbone, "experts.1.stage3")[1] == 64
    with pytest.raises(ConfigError, match="ExpertBackbone does not say which layer"):
        feature_layer(backbone)


@pytest.mark.parametrize("name", ["resnet32", "resnet10"])
def test_nothing_changes(name: str) -> None:
    backbone, _ = build_backbone(name)
    backbone.train()
    frozen = next(m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))
    frozen.eval()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    modes = [module.training for module in backbone.modules()]
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    feature_layer(backbone)
    assert torch.equal(torch.rand(2), expected)
    assert [module.training for module in backbone.modules()] == modes
    assert not frozen.training
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert not any(module._forward_hooks for module in backbone.modules())


def test_a_failing_backbone_is_left_as_it_was() -> None:
    class Broken(Odd):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("broken")

    backbone = Broken().train()
    with pytest.raises(RuntimeError, match="broken"):
        feature_layer(backbone, "convolution")
    assert all(module.training for module in backbone.modules())
    assert not any(module._forward_hooks for module in backbone.modules())


@pytest.mark.parametrize(
    ("name", "layer", "message"),
    [
        ("resnet32", "stage4", r"CifarResNet has no layer 'stage4'. Did you mean one of .*stage3"),
        ("resnet32", "", "no layer ''"),
        ("resnet32", "zzz", r"See named_modules\(\)"),
        ("resnet10", "global_pool", r"no feature map \(B, C, H, W\), but \(1, 512\)"),
        ("test_vit", "blocks.5", r"no feature map .* but \(1, 101, 64\)"),
        ("test_vit", None, "no feature map"),
        ("test_mambaout", None, r"as \(B, H, W, C\)"),
    ],
)
def test_what_is_no_feature_map_is_refused(name: str, layer: str | None, message: str) -> None:
    backbone, _ = build_backbone(name)
    with pytest.raises(ConfigError, match=message):
        feature_layer(backbone, layer)


@pytest.mark.parametrize(("layer", "got"), [("idle", "NoneType"), ("pair", "tuple")])
def test_layers_that_give_no_tensor_are_refused(layer: str, got: Any) -> None:
    assert feature_layer(Odd(), "convolution")[1] == 7
    with pytest.raises(ConfigError, match=f"layer '{layer}' of Odd gives no feature map.*{got}"):
        feature_layer(Odd(), layer)
