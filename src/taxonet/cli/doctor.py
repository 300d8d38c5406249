"""`taxonet doctor`."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from taxonet.cli.screen import show

_PACKAGES = ("taxonet", "torch", "torchvision", "timm", "accelerate", "numpy", "pandas", "pillow")
_OPTIONAL = {
    "open_clip_torch": "CLIP models, `zero-shot` among others (pip install 'taxonet[clip]')",
    "numba": "diffusion over the tree at full speed on the CPU (pip install 'taxonet[fast]')",
    "scikit-learn": "t-SNE of embeddings in `analyse` (pip install 'taxonet[explore]')",
    "tensorboard": "TensorBoard logs (pip install 'taxonet[track]')",
}


def run() -> None:
    """Show what is installed, which device computes, and what will be slow."""
    import torch

    from taxonet.devices import pick_device
    from taxonet.report import Column, Table, terminal_table

    device = pick_device("auto")
    rows: list[tuple[str, str]] = [
        ("python", platform.python_version()),
        *((name, _version(name)) for name in _PACKAGES),
        *((name, _optional(name, use)) for name, use in _OPTIONAL.items()),
        ("device", _device_line(device)),
        ("processors", f"{os.cpu_count()}, torch uses {torch.get_num_threads()}"),
        ("advice", _advice(device.type)),
    ]
    show(terminal_table(Table("taxonet doctor", (Column("what"), Column("found")), tuple(rows))))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing: install taxonet again"


def _optional(name: str, use: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"not installed; needed for {use}"


def _device_line(device: object) -> str:
    import torch

    if str(device).startswith("cuda"):
        return f"{device}: {torch.cuda.get_device_name(0)}"
    return str(device)


def _advice(kind: str) -> str:
    if kind == "cpu":
        return (
            "Without a GPU, train small backbones (resnet10) on small images (64 pixels); large "
            "backbones and photos of 224 pixels take hours. Prediction is fine."
        )
    return (
        "Where the GPU waits for photos, raise --workers above the number that is chosen by itself."
    )
