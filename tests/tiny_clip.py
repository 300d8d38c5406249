"""CLIP models of a few thousand weights, one for each kind of image tower that open_clip has."""

import json
from pathlib import Path
from typing import Any

SIDE_PX = 32
VISION: dict[str, dict[str, Any]] = {
    "vit": {"layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "modified_resnet": {"layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "timm": {
        "timm_model_name": "test_resnet",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
    },
}
#: Its words are CLIP's own: the tokenizer that comes with open_clip knows no fewer.
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}


def model_config(vision: str = "vit", **changes: Any) -> dict[str, Any]:
    """Return what open_clip calls a ``model_cfg``."""
    image = {"image_size": SIDE_PX, **VISION[vision]}
    return {"embed_dim": 16, "vision_cfg": image, "text_cfg": dict(TEXT), **changes}


def tiny_clip(folder: Path, vision: str = "vit", **of_vision: Any) -> str:
    """Write one such config, the image tower changed where told, and name its backbone."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model_config(vision)
    config["vision_cfg"] |= of_vision
    path = folder / "model.json"
    path.write_text(json.dumps(config))
    return f"clip:{path}"


def write_configs(folder: Path) -> dict[str, Path]:
    """Write a ``.json`` file for each kind of image tower, and say where they are."""
    paths = {vision: folder / f"{vision}.json" for vision in VISION}
    for vision, path in paths.items():
        path.write_text(json.dumps(model_config(vision)))
    return paths


def hmcf(backbone: str | Path) -> tuple[str, ...]:
    """Return what makes of `tests.small_set.config` a training of both towers by names."""
    return (
        f"model.backbone=clip:{backbone}",
        "model.head=level_cosine",
        "loss=image_text",
        "words={}",
    )
