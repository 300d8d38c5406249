"""Models: backbones, heads, and the network that both make."""

from taxonet.models.backbones import BACKBONES, Preprocessing, build_backbone, preprocessing
from taxonet.models.cifar_resnet import CifarResNet
from taxonet.models.experts import ExpertBackbone, ExpertHeads
from taxonet.models.heads import CosineHead, Head, LinearHead
from taxonet.models.layers import feature_layer
from taxonet.models.network import Network, Output, build_network
from taxonet.models.prototype import PrototypeHead

__all__ = [
    "BACKBONES",
    "CifarResNet",
    "CosineHead",
    "ExpertBackbone",
    "ExpertHeads",
    "Head",
    "LinearHead",
    "Network",
    "Output",
    "Preprocessing",
    "PrototypeHead",
    "build_backbone",
    "build_network",
    "feature_layer",
    "preprocessing",
]
