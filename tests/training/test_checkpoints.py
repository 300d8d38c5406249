from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from taxonet.errors import CheckpointError
from taxonet.training.checkpoints import (
    Position,
    list_checkpoints,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)

ORDERS: dict[str, str | int] = {"recipe": "abc", "number of processes": 2}


def process(*, main: bool) -> Any:
    """A stand-in for the accelerator of one process."""
    return SimpleNamespace(
        is_main_process=main,
        save_state=lambda folder: (Path(folder) / "model").write_text("weights"),
        load_state=lambda folder: None,
    )


def save(folder: Path, serial: int, position: Position) -> None:
    save_checkpoint(folder, process(main=True), position, serial=serial, orders=ORDERS)


def test_the_counts_of_all_processes_are_carried_on_by_one(tmp_path: Path) -> None:
    position = Position(
        epoch=2,
        step=3,
        images=40,
        loss_sum=12.5,
        tail_kept=3,
        kept_epoch=1,
        kept_recall=0.5,
        broken={"a.jpg": "torn"},
    )
    save(tmp_path, 23, position)
    assert load_checkpoint(tmp_path, process(main=True), orders=ORDERS) == position
    other = load_checkpoint(tmp_path, process(main=False), orders=ORDERS)
    assert (other.images, other.loss_sum, other.tail_kept) == (0, 0.0, 0)
    assert (other.epoch, other.step, other.kept_epoch, other.kept_recall) == (2, 3, 1, 0.5)
    assert other.broken == {"a.jpg": "torn"}


def test_the_newest_two_stay_in_order(tmp_path: Path) -> None:
    for serial in (2, 10, 9999999999):
        save(tmp_path, serial, Position(step=serial))
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-0000000010",
        "step-9999999999",
    ]
    assert load_checkpoint(tmp_path, process(main=True), orders=ORDERS).step == 9999999999


def test_a_failed_save_leaves_the_last_ones(tmp_path: Path) -> None:
    save(tmp_path, 1, Position(step=1))

    def full(folder: str) -> None:
        raise OSError("no space left on device")

    accelerator = process(main=True)
    accelerator.save_state = full
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(tmp_path, accelerator, Position(step=2), serial=2, orders=ORDERS)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001"]


@pytest.mark.parametrize(
    ("orders", "complaint"),
    [
        ({**ORDERS, "recipe": "xyz"}, "another recipe than"),
        ({**ORDERS, "number of processes": 1}, "another number of processes than"),
        ({"recipe": "x", "number of processes": 1}, "another recipe and another number of proc"),
    ],
)
def test_other_orders_are_refused(
    tmp_path: Path, orders: dict[str, str | int], complaint: str
) -> None:
    save(tmp_path, 1, Position())
    with pytest.raises(CheckpointError, match=complaint):
        load_checkpoint(tmp_path, process(main=True), orders=orders)


def test_weights_come_back_with_buffers(tmp_path: Path) -> None:
    one, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    one(torch.arange(6.0).reshape(2, 3))
    save_weights(one, tmp_path / "weights.safetensors")
    load_weights(other, tmp_path / "weights.safetensors")
    assert other.running_mean is not None
    assert torch.equal(other.running_mean, torch.tensor([0.15, 0.25, 0.35]))
    with pytest.raises(RuntimeError, match="Unexpected key"):
        load_weights(nn.Linear(3, 3), tmp_path / "weights.safetensors")
