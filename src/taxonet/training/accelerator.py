"""Where a run computes, and in which precision."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from taxonet.devices import pick_device
from taxonet.errors import ConfigError


def accelerator_on(device: str, *, precision: str) -> Accelerator:
    """Return the holder of device, precision and process group.

    Raises:
        ConfigError: The device is not there, or cannot compute in that precision.
    """
    kind = pick_device(device).type
    if precision == "fp16" and kind == "cpu":
        raise ConfigError(
            "The precision fp16 needs a GPU, and this run computes on the CPU: choose "
            "--set precision=bf16, or leave `precision` out of the recipe."
        )
    if precision == "auto":
        can_bf16 = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if can_bf16 else "no"
    # Accelerate remembers the first device and precision of a Python process; this run may have
    # others. Only the group of several processes, which cannot be made twice, has to stay.
    grouped = torch.distributed.is_available() and torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=not grouped)
    return Accelerator(cpu=kind == "cpu", mixed_precision=precision)
