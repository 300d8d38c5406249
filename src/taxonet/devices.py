"""Where tensors are computed, in which precision, and by how many processes photos are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from taxonet.errors import ConfigError

if TYPE_CHECKING:
    import torch

_MOST_WORKERS = 8
_BATCH_SIZE = 64
#: Larger ones no longer fit into the caches of a processor: of 224-pixel photos, 64 at a time took
#: up to twice as long for each as 4 or 8 did (EfficientNet-Lite0, ResNet-50, ViT-S/16).
_BATCH_SIZE_ON_CPU = 8
#: Below this, starting processes takes about as long as the reading that they would save.
_PHOTOS_WORTH_WORKERS = 500


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


def pick_precision(asked: str, device: torch.device) -> str:
    """Return the precision to compute in: ``no`` (float32), ``bf16`` or ``fp16``.

    ``auto`` is ``bf16`` on a GPU of CUDA that has it in hardware, and ``no`` elsewhere.

    Raises:
        ConfigError: ``fp16`` on the CPU.

    Examples:
        >>> import torch
        >>> pick_precision("auto", torch.device("cpu"))
        'no'
    """
    import torch

    if asked == "auto":
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if has_bf16 else "no"
    if asked == "fp16" and device.type == "cpu":
        raise ConfigError(
            "The precision fp16 needs a GPU, and this run computes on the CPU: choose "
            "--set precision=bf16, or leave `precision` out of the recipe."
        )
    return asked


def pick_batch_size(asked: int | None, device: torch.device) -> int:
    """Return how many photos pass a network at a time where nothing is learned from them.

    Left to the machine, there are 8 on the CPU and 64 on a GPU.

    Args:
        asked: A number that the user chose, which is taken as it is; None: by the machine.
        device: Where the network is.

    Raises:
        ConfigError: A number below 1.

    Examples:
        >>> import torch
        >>> pick_batch_size(3, torch.device("cpu")), pick_batch_size(None, torch.device("cpu"))
        (3, 8)
    """
    if asked is None:
        return _BATCH_SIZE_ON_CPU if device.type == "cpu" else _BATCH_SIZE
    if asked < 1:
        raise ConfigError(f"batch_size must be at least 1, got {asked}.")
    return asked


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Compute on so many threads of the processor inside; None: as many as otherwise.

    Examples:
        >>> import torch
        >>> before = torch.get_num_threads()
        >>> with threads(1):
        ...     torch.get_num_threads()
        1
        >>> torch.get_num_threads() == before
        True
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_workers(asked: int | None, photos: int | None) -> int:
    """Return how many processes read photos next to the main one.

    Left to the machine, there are none for fewer than 500 photos, whose reading takes about as
    long as starting a process, or for an unknown number of them. For more there are as many as the
    process may use processors, less two (on two processors one reader gained nothing, since torch
    keeps both busy), and 8 at most. Processes that torchrun starts on one machine share it.

    Args:
        asked: A number that the user chose, which is taken as it is; None: by the machine.
        photos: How many there are to read, where that is known.

    Examples:
        >>> pick_workers(3, None), pick_workers(None, 20), pick_workers(None, None)
        (3, 0, 0)
    """
    if asked is not None:
        return asked
    if photos is None or photos < _PHOTOS_WORTH_WORKERS:
        return 0
    share = _usable_processors() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(_MOST_WORKERS, share - 2))


def _usable_processors() -> int:
    # Not every system can tell which of its processors this process may use.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
