import pytest
import torch

from taxonet.errors import ConfigError
from taxonet.models import CosineHead, Network, build_network


def build(seed: int = 0, head: str = "cosine", backbone: str = "resnet32") -> Network:
    return build_network(backbone=backbone, head=head, classes=7, seed=seed)


def test_scores_are_the_head_on_the_embedding() -> None:
    network = build().eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    output = network(images)
    assert torch.equal(output.embedding, network.backbone(network.normalise(images)))
    assert torch.equal(output.scores, network.head(output.embedding))
    assert output.scores.shape == (2, 7)


@pytest.mark.parametrize("backbone", ["resnet32", "resnet10", "test_vit"])
def test_the_seed_alone_gives_the_weights(backbone: str) -> None:
    first = build(backbone=backbone).state_dict()
    torch.manual_seed(99)
    second = build(backbone=backbone).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = build(seed=1, backbone=backbone)
    weights = {key: value for key, value in other.named_parameters() if value.std() > 0}
    assert weights
    assert not any(torch.equal(first[key], value) for key, value in weights.items())


def test_the_backbone_starts_the_same_under_every_head() -> None:
    cosine, linear = build(head="cosine"), build(head="linear")
    for one, other in zip(cosine.backbone.parameters(), linear.backbone.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build()
    assert torch.equal(torch.rand(3), expected)
    with pytest.raises(ConfigError, match="No head"):
        build(head="cosin")
    torch.manual_seed(5)
    with pytest.raises(ConfigError, match="No head"):
        build(head="cosin")
    assert torch.equal(torch.rand(3), expected)


def test_options_reach_the_head() -> None:
    network = build_network(
        backbone="resnet32", head="cosine", classes=7, seed=0, head_options={"scale": 30.0}
    )
    assert isinstance(network.head, CosineHead)
    assert network.head.scale == 30.0
    with pytest.raises(ConfigError, match="no option 'scal'"):
        build_network(
            backbone="resnet32", head="cosine", classes=7, seed=0, head_options={"scal": 30.0}
        )


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_weights() -> None:
    network = build(backbone="test_resnet")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.freeze_batch_norm()
    network.eval().train()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network(images).scores.square().sum().backward()
    norms = [one for one in network.backbone.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    assert network.training
    assert network.backbone.training
    assert norms
    assert not any(one.training for one in norms)
    assert all(one.weight.grad is not None and one.bias.grad is not None for one in norms)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_backbone_without_batch_norm_has_none_to_freeze() -> None:
    network = build(backbone="test_vit").train()
    network.freeze_batch_norm()
    assert all(module.training for module in network.modules())
