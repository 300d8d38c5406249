"""The rows of all processes in one, so that a loss sees the whole batch and not this process's."""

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.distributed.nn import functional as distributed
from torch.nn import functional as F

from taxonet.errors import DataError


def gather_rows(accelerator: Accelerator, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return each tensor with the rows of all processes, in the order of the processes.

    A contrastive loss compares every pair with every other: the mean of the losses of parts of a
    batch is not the loss of the batch. So each process gathers the features and labels of all, and
    computes the loss of the whole batch. The gradient of what comes back goes to the process that
    a row is from, summed over the losses of all processes; data-parallel training divides it by
    their number, and each parameter, used before the gathering or after, gets the gradient that
    one process with the whole batch would give it.

    It is a meeting: all processes must call it at the same point of their work, and once more as
    the gradients come back, so that a loss that one of them computes must be computed by all. One
    process alone gets its tensors back as they are.

    Args:
        accelerator: Of the data-parallel run.
        tensors: ``(B, ...)``, B rows each, one for each image of this process; other processes may
            have another B, as at the end of an epoch. Floating-point ones carry gradients.

    Raises:
        DataError: The tensors of this process are not of one length.

    Examples:
        >>> (labels,) = gather_rows(Accelerator(cpu=True), torch.tensor([3, 1]))
        >>> labels
        tensor([3, 1])
    """
    lengths = {len(tensor) for tensor in tensors}
    if len(lengths) > 1:
        raise DataError(
            "What is gathered must have one row for each image of this process, but the tensors "
            f"have {[len(tensor) for tensor in tensors]} rows."
        )
    if accelerator.num_processes == 1:
        return tensors
    rows = torch.tensor([len(tensors[0])], device=tensors[0].device)
    counts = [int(count) for count in accelerator.gather(rows)]
    return tuple(_gathered(tensor, counts) for tensor in tensors)


def _gathered(tensor: Tensor, counts: list[int]) -> Tensor:
    # The processes exchange tensors of one shape; what fills the shorter ones up is cut off again.
    missing = max(counts) - len(tensor)
    filled = F.pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, missing))
    parts = distributed.all_gather(filled)  # type: ignore[no-untyped-call]
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
