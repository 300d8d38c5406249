"""Adapters: the few weights that are trained of a backbone that stays as it is otherwise."""

from taxonet.models.adapters.adaptformer import AdaptFormer
from taxonet.models.adapters.base import Adapter
from taxonet.models.adapters.lora import LoRA
from taxonet.models.adapters.selective import BiasTuning, LayerNormTuning

__all__ = ["AdaptFormer", "Adapter", "BiasTuning", "LayerNormTuning", "LoRA"]
