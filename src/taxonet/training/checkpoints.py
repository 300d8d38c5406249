"""Checkpoints that a killed run resumes from: whole or absent, the last two kept."""

import shutil
from dataclasses import asdict, dataclass, field
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


@dataclass
class Position:
    """Where a run stands: everything of the loop that is not a tensor.

    ``step`` counts finished batches of the epoch ``epoch``; epochs and steps start at 0.
    """

    epoch: int = 0
    step: int = 0
    images: int = 0
    loss_sum: float = 0.0
    tail_kept: int = 0
    best_epoch: int | None = None
    best_recall: float | None = None
    broken: dict[str, str] = field(default_factory=dict)
    """Unreadable training photos met so far, with the reason."""


def save_checkpoint(
    folder: Path, accelerator: Accelerator, position: Position, *, serial: int, recipe_digest: str
) -> None:
    """Write a checkpoint named by its serial number and drop all but the last two.

    Args:
        folder: The run's checkpoint folder.
        accelerator: Holder of the prepared objective and optimiser.
        position: Where the run stands.
        serial: Number that grows with the run (batches done in all).
        recipe_digest: What the run was told to do; a resume compares it.
    """
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    with atomic_folder(folder / f"{_PREFIX}{serial:010d}") as temporary:
        accelerator.save_state(str(temporary))
        write_json(temporary / "position.json", {"recipe": recipe_digest, **asdict(position)})
    for old in list_checkpoints(folder)[:-_KEPT]:
        shutil.rmtree(old)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


def load_checkpoint(folder: Path, accelerator: Accelerator, *, recipe_digest: str) -> Position:
    """Restore the newest checkpoint into the prepared objects and say where the run stood.

    Raises:
        CheckpointError: The checkpoint belongs to another recipe or other data.
    """
    newest = list_checkpoints(folder)[-1]
    content: dict[str, Any] = read_json(newest / "position.json")
    if content.pop("recipe") != recipe_digest:
        raise CheckpointError(
            f"{newest} was written with another recipe or other training images than this run has. "
            "Resume with the same ones, or train into a new folder."
        )
    accelerator.load_state(str(newest))
    return Position(**content)


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's weights and buffers as safetensors, atomically."""
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with atomic_file(path) as temporary:
        save_file(state, temporary)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load what `save_weights` wrote; every tensor must be there and none besides."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    network.load_state_dict(load_file(path, device=str(device)))
