"""Pixels as a backbone wants them."""

import pytest
import torch
from torch import nn

from taxonet.models import LinearHead, Network, Normalisation, build_network


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_normalised_by_hand(dtype: torch.dtype) -> None:
    images = torch.tensor([[0, 255], [51, 102], [255, 0]], dtype=dtype).view(1, 3, 1, 2)
    done = Normalisation((0.5, 0.2, 0.0), (0.5, 0.2, 2.0))(images)
    torch.testing.assert_close(done.view(3, 2), torch.tensor([[-1.0, 1.0], [0.0, 1.0], [0.5, 0.0]]))


def test_a_network_normalises_what_its_backbone_sees() -> None:
    normalisation = Normalisation((0.5, 0.2, 0.0), (0.5, 0.2, 2.0))
    network = Network(nn.Flatten(), LinearHead(12, 2), normalisation=normalisation)
    images = torch.randint(0, 256, (3, 3, 2, 2), dtype=torch.uint8)
    torch.testing.assert_close(network.features(images), normalisation(images).flatten(1))
    assert not [key for key in network.state_dict() if "normalise" in key]


def test_a_neck_stands_between_features_and_head() -> None:
    neck = nn.Linear(12, 4)
    network = Network(nn.Flatten(), LinearHead(4, 2), neck=neck)
    images = torch.rand(3, 3, 2, 2)
    embedding, scores = network(images)
    torch.testing.assert_close(embedding, neck(images.flatten(1)))
    on_features = network.on_features()
    torch.testing.assert_close(on_features(network.features(images)).scores, scores)
    assert on_features.head is network.head


def test_a_built_network_normalises_as_its_backbone_asks() -> None:
    network = build_network(backbone="resnet32", head="linear", classes=2, seed=0)
    assert isinstance(network.normalise, Normalisation)
    assert network.normalise.mean == (0.485, 0.456, 0.406)
