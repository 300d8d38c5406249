"""Where tensors are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taxonet.errors import ConfigError

if TYPE_CHECKING:
    import torch


def pick_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: The device is not available on this machine.

    Examples:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    # Before torch is asked: it would not know what to make of any other word.
    kind = name.partition(":")[0]
    if not available.get(kind, False):
        found = ", ".join(device for device, there in available.items() if there)
        raise ConfigError(f"The device {name!r} is not available here. Available: {found}, auto.")
    return torch.device(name)
