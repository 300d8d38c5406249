"""Photos and labels: opening, checking, splitting, cutting, batching.

Names that need torch are imported when they are first used, so that reading a table is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from taxonet.data.classes import ClassIndex
from taxonet.data.decoding import BrokenImage, decode, load_image
from taxonet.data.finding import find_images
from taxonet.data.hold_out import images_of_taxa
from taxonet.data.inspection import Inspection, inspect_images
from taxonet.data.long_tail import (
    cut_to_profile,
    exponential_profile,
    pareto_profile,
    shot_groups,
)
from taxonet.data.sampling import BatchPlan, Draw, TailExtension, in_order
from taxonet.data.sources import open_images
from taxonet.data.splitting import complete_splits, split_images
from taxonet.data.table import SPLITS, UNKNOWN_SPLIT, ImageTable

if TYPE_CHECKING:
    from taxonet.data.loading import Batch, BatchSource, Broken, ImageDataset, stream_batches
    from taxonet.data.transforms import keyed

_NEED_TORCH = {
    "Batch": "loading",
    "Broken": "loading",
    "ImageDataset": "loading",
    "keyed": "transforms",
    "BatchSource": "loading",
    "stream_batches": "loading",
}

__all__ = [
    "SPLITS",
    "UNKNOWN_SPLIT",
    "Batch",
    "BatchPlan",
    "BatchSource",
    "Broken",
    "BrokenImage",
    "ClassIndex",
    "Draw",
    "ImageDataset",
    "ImageTable",
    "Inspection",
    "TailExtension",
    "complete_splits",
    "cut_to_profile",
    "decode",
    "exponential_profile",
    "find_images",
    "images_of_taxa",
    "in_order",
    "inspect_images",
    "keyed",
    "load_image",
    "open_images",
    "pareto_profile",
    "shot_groups",
    "split_images",
    "stream_batches",
]


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEED_TORCH[name]}"), name)
