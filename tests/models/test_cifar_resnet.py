import pytest
import torch
from torch import nn

from taxonet.errors import ConfigError
from taxonet.models import CifarResNet, build_backbone
from taxonet.models.cifar_resnet import BasicBlock


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize(
    ("name", "size", "parameters", "layers"),
    [
        # Without the last layer of 10 classes: the paper prints 0.46 M and 0.85 M with it.
        ("resnet32", 64, 464_154 - 650, 32),
        ("resnet56", 64, 853_018 - 650, 56),
        ("resnet32x4d", 256, 7_383_616, 32),
    ],
)
def test_they_have_the_printed_sizes(name: str, size: int, parameters: int, layers: int) -> None:
    network, embedding_size = build_backbone(name)
    assert embedding_size == size
    assert sum(p.numel() for p in network.parameters()) == parameters
    # The classifier is the one layer with weights that is not here.
    assert len(convolutions(network)) + 1 == layers


@pytest.mark.parametrize("width", [16, 64])
def test_parameters_by_hand(width: int) -> None:
    first = 3 * 9 * width + 2 * width
    in_stages = [
        10 * (9 * c * c + 2 * c) - 9 * c * (c - before)  # the first convolution has fewer channels
        for before, c in [(width, width), (width, 2 * width), (2 * width, 4 * width)]
    ]
    network = CifarResNet(width=width)
    assert sum(p.numel() for p in network.parameters()) == first + sum(in_stages)


def test_four_times_as_wide_means_the_first_convolution_too() -> None:
    network, _ = build_backbone("resnet32x4d")
    narrow, _ = build_backbone("resnet32")
    for wide, usual in zip(convolutions(network), convolutions(narrow), strict=True):
        assert wide.out_channels == 4 * usual.out_channels
    assert convolutions(network)[0].out_channels == 64


def test_names_of_weights_are_those_of_saved_networks() -> None:
    state = CifarResNet().state_dict()
    assert {key.split(".")[0] for key in state} == {"conv1", "bn1", "stage1", "stage2", "stage3"}
    assert state["stage2.0.conv1.weight"].shape == (32, 16, 3, 3)
    assert state["stage3.4.bn2.running_var"].shape == (64,)
    # 31 convolutions, 31 normalisations of two weights and three statistics each.
    assert len(state) == 31 + 31 * 5


def test_the_stages_halve_the_image() -> None:
    network = CifarResNet().eval()
    features = network.stage1(torch.zeros(1, 16, 32, 32))
    assert features.shape == (1, 16, 32, 32)
    features = network.stage2(features)
    assert features.shape == (1, 32, 16, 16)
    assert network.stage3(features).shape == (1, 64, 8, 8)


def test_the_shortcut_takes_every_second_pixel_and_pads_with_zeros() -> None:
    block = BasicBlock(2, 4).eval()
    nn.init.zeros_(block.conv2.weight)  # the residual is then zero
    features = torch.arange(32.0).reshape(1, 2, 4, 4)
    out = block(features)
    assert out.shape == (1, 4, 2, 2)
    assert out[0, 0].tolist() == [[0.0, 2.0], [8.0, 10.0]]
    assert out[0, 1].tolist() == [[16.0, 18.0], [24.0, 26.0]]
    assert out[0, 2:].abs().sum() == 0


def test_embeddings_and_gradients() -> None:
    torch.manual_seed(0)
    network = CifarResNet()
    embedding = network(torch.randn(4, 3, 32, 32))
    assert embedding.shape == (4, network.embedding_size)
    assert embedding.min() >= 0
    assert embedding.std(dim=0).max() > 0.01
    embedding.sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_an_image_embeds_alone_as_in_a_batch() -> None:
    torch.manual_seed(0)
    network = CifarResNet().eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(images)[1:2], network(images[1:2]))


@pytest.mark.parametrize(("blocks", "width"), [(0, 16), (5, 0)])
def test_sizes_below_one_are_refused(blocks: int, width: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 1, but got {blocks} and {width}"):
        CifarResNet(blocks, width)
