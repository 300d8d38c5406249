"""Checkpoints that a killed run resumes from: whole or absent, the last two kept."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import nn

from taxonet.errors import CheckpointError
from taxonet.files import atomic_file, atomic_folder, read_json, write_json

_KEPT = 2
_PREFIX = "step-"

#: What a run was told to do, in the words of an error message: a resume must be told the same.
Orders = Mapping[str, str | int]


@dataclass
class Position:
    """Where a run stands: everything of the loop that is not a tensor.

    ``step`` counts finished batches of the epoch ``epoch``; epochs and steps start at 0.
    """

    epoch: int = 0
    step: int = 0
    images: int = 0
    """Images that entered the loss in this epoch."""
    loss_sum: float = 0.0
    """Sum of their losses."""
    tail_kept: int = 0
    """Added tail images among them."""
    kept_epoch: int | None = None
    """The epoch whose weights are to be kept, as far as is known."""
    kept_recall: float | None = None
    """Its macro recall on the validation split."""
    broken: dict[str, str] = field(default_factory=dict)
    """Unreadable training photos met so far, with the reason."""


def save_checkpoint(
    folder: Path, accelerator: Accelerator, position: Position, *, serial: int, orders: Orders
) -> None:
    """Write a checkpoint named by its serial number and drop all but the last two.

    Only the main process may call it.

    Args:
        folder: The run's checkpoint folder.
        accelerator: Holder of the prepared objective and optimiser.
        position: Where the run stands, with the counts of all its processes.
        serial: Number that grows with the run (batches done in all).
        orders: What the run was told to do.
    """
    with atomic_folder(folder / f"{_PREFIX}{serial:010d}", replace=True) as temporary:
        accelerator.save_state(str(temporary))
        write_json(temporary / "position.json", {"orders": dict(orders), **asdict(position)})
    for old in list_checkpoints(folder)[:-_KEPT]:
        shutil.rmtree(old)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


def load_checkpoint(folder: Path, accelerator: Accelerator, *, orders: Orders) -> Position:
    """Restore the newest checkpoint into the prepared objects and say where the run stood.

    Raises:
        CheckpointError: The checkpoint belongs to a run with other orders; the message says which.
    """
    newest = list_checkpoints(folder)[-1]
    content: dict[str, Any] = read_json(newest / "position.json")
    found = content.pop("orders", {})
    different = [what for what, value in orders.items() if found.get(what) != value]
    if different:
        raise CheckpointError(
            f"{newest} was written with another {' and another '.join(different)} than this run "
            "has. Resume with the same, or train into a new folder."
        )
    accelerator.load_state(str(newest))
    position = Position(**content)
    if accelerator.is_main_process:
        return position
    # The counts are those of all processes: one of them has to carry them on.
    return replace(position, images=0, loss_sum=0.0, tail_kept=0)


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's weights and buffers as safetensors, atomically."""
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with atomic_file(path) as temporary:
        save_file(state, temporary)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load what `save_weights` wrote; every tensor must be there and none besides."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    network.load_state_dict(load_file(path, device=str(device)))
