"""Models: backbones, heads, the network that both make, and towers for images and texts."""

from taxonet.models.adapters import Adapter
from taxonet.models.alike_texts import alike_texts
from taxonet.models.backbone_table import BACKBONE_TABLE, BackboneRow, find_row
from taxonet.models.backbones import BACKBONES, InputConfig, build_backbone, input_config
from taxonet.models.cifar_resnet import CifarResNet
from taxonet.models.clip import TextTower, Towers, load_towers, save_towers
from taxonet.models.clip_architecture import Architecture
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
from taxonet.models.origin import WeightsOrigin, weights_origin
from taxonet.models.prompts import NameForm, prompts
from taxonet.models.prototype import PrototypeHead
from taxonet.models.text_embeddings import embed_texts

__all__ = [
    "BACKBONES",
    "BACKBONE_TABLE",
    "Adapter",
    "Architecture",
    "BackboneRow",
    "CifarResNet",
    "CosineHead",
    "ExpertBackbone",
    "ExpertHeads",
    "Head",
    "InputConfig",
    "LevelCosineHead",
    "LinearHead",
    "NameForm",
    "Network",
    "Normalisation",
    "Output",
    "PrototypeHead",
    "TextTower",
    "Towers",
    "WeightsOrigin",
    "alike_texts",
    "build_backbone",
    "build_network",
    "build_network_on_features",
    "embed_texts",
    "feature_layer",
    "find_row",
    "input_config",
    "keyed_weights",
    "load_towers",
    "prompts",
    "save_towers",
    "weights_origin",
]
