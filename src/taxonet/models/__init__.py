"""Models: backbones, heads, the network that both make, and towers for images and texts."""

from taxonet.models.adapters import Adapter
from taxonet.models.alike_texts import alike_texts
from taxonet.models.backbones import BACKBONES, Preprocessing, build_backbone, preprocessing
from taxonet.models.cifar_resnet import CifarResNet
from taxonet.models.clip import Architecture, TextTower, Towers, load_towers, save_towers
from taxonet.models.experts import ExpertBackbone, ExpertHeads
from taxonet.models.heads import CosineHead, Head, LinearHead
from taxonet.models.layers import feature_layer
from taxonet.models.level_head import LevelCosineHead
from taxonet.models.network import (
    Network,
    Output,
    build_network,
    build_network_on_features,
    keyed_weights,
)
from taxonet.models.normalisation import Normalisation
from taxonet.models.prompts import NameForm, prompts
from taxonet.models.prototype import PrototypeHead
from taxonet.models.text_embeddings import embed_texts

__all__ = [
    "BACKBONES",
    "Adapter",
    "Architecture",
    "CifarResNet",
    "CosineHead",
    "ExpertBackbone",
    "ExpertHeads",
    "Head",
    "LevelCosineHead",
    "LinearHead",
    "NameForm",
    "Network",
    "Normalisation",
    "Output",
    "Preprocessing",
    "PrototypeHead",
    "TextTower",
    "Towers",
    "alike_texts",
    "build_backbone",
    "build_network",
    "build_network_on_features",
    "embed_texts",
    "feature_layer",
    "keyed_weights",
    "load_towers",
    "preprocessing",
    "prompts",
    "save_towers",
]
