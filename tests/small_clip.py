"""CLIP models of random weights that take a millisecond, as files that name their architecture."""

import json
from pathlib import Path

VIT = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 16}
RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}


def small_clip(folder: Path, vision: dict[str, object] | None = None) -> str:
    """Write a model's config and return the name of its backbone; a ViT unless told otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.json"
    config = {"embed_dim": 16, "vision_cfg": vision or VIT, "text_cfg": TEXT}
    path.write_text(json.dumps(config), encoding="utf-8")
    return f"clip:{path}"
