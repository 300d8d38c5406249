import torch
from torch import nn

from taxonet.models import ResNet32
from taxonet.models.resnet32 import BasicBlock


def test_it_has_the_printed_size() -> None:
    network = ResNet32()
    # The paper's 0.46 M include the last layer of 10 classes: 64 * 10 + 10.
    assert sum(p.numel() for p in network.parameters()) + 650 == 464_154
    # 6n + 2 layers with weights; the classifier is the one that is not here.
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 31


def test_the_stages_halve_the_image() -> None:
    network = ResNet32().eval()
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
    network = ResNet32()
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
    network = ResNet32().eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(images)[1:2], network(images[1:2]))
