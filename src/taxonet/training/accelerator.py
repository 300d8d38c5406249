"""Where a run computes, and in which precision."""

from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs

from taxonet.devices import pick_device, pick_precision


def accelerator_on(device: str, *, precision: str) -> Accelerator:
    """Return the holder of device, precision and process group.

    Raises:
        ConfigError: The device is not there, or cannot compute in that precision.
    """
    chosen = pick_device(device)
    resolved = pick_precision(precision, chosen)
    # Accelerate remembers the first device and precision of a Python process; this run may have
    # others. Only the group of several processes, which cannot be made twice, has to stay.
    grouped = torch.distributed.is_available() and torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=not grouped)
    # The first process embeds all photos while the others wait for it.
    patience = InitProcessGroupKwargs(timeout=timedelta(days=7))
    return Accelerator(
        cpu=chosen.type == "cpu", mixed_precision=resolved, kwargs_handlers=[patience]
    )
