"""Models: backbones, heads, and the network that both make."""

from taxonet.models.backbones import BACKBONES, Preprocessing, build_backbone, preprocessing
from taxonet.models.heads import CosineHead, Head, LinearHead
from taxonet.models.network import Network, Output, build_network
from taxonet.models.resnet32 import ResNet32

__all__ = [
    "BACKBONES",
    "CosineHead",
    "Head",
    "LinearHead",
    "Network",
    "Output",
    "Preprocessing",
    "ResNet32",
    "build_backbone",
    "build_network",
    "preprocessing",
]
