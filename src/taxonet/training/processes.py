"""What the processes of one data-parallel run tell each other; one process alone sends nothing.

Every function here is a meeting: all processes must call it at the same point of their work.
"""

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn


def any_of(accelerator: Accelerator, *flags: bool) -> tuple[bool, ...]:
    """Return for each flag whether it holds in any process, so that all decide alike.

    Examples:
        >>> any_of(Accelerator(cpu=True), True, False)
        (True, False)
    """
    return tuple(count > 0 for count in sum_of(accelerator, *flags))


def sum_of(accelerator: Accelerator, *values: float) -> tuple[float, ...]:
    """Return the sum of each value over the processes."""
    if accelerator.num_processes == 1:
        return values
    here = torch.tensor(values, dtype=torch.float64, device=accelerator.device)
    return tuple(accelerator.reduce(here, "sum").tolist())


def merged(accelerator: Accelerator, record: dict[str, str]) -> dict[str, str]:
    """Return the entries of all processes in one record."""
    if accelerator.num_processes == 1:
        return dict(record)
    return {key: value for one in gather_object([record]) for key, value in one.items()}


def share_buffers(accelerator: Accelerator, module: nn.Module) -> None:
    """Give all processes the main one's buffers, such as the running means of BatchNorm."""
    if accelerator.num_processes > 1:
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, src=0)
