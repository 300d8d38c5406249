"""A run that was stopped and resumed is, bit for bit, the run that was left alone."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from taxonet.errors import CheckpointError, ConfigError
from taxonet.training import Interrupted, loop, train
from taxonet.training.checkpoints import list_checkpoints, save_checkpoint
from taxonet.training.objectives import ClassificationObjective, StepOutput
from tests.small_set import config, write_set

TAXONET = (
    "selection.extra=2",
    "selection.probability=0.5",
    "selection.tail_shots=9",
    "optimiser.momentum=0.8",
)


@pytest.fixture(scope="module")
def alone(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plain run, never stopped."""
    run = tmp_path_factory.mktemp("alone") / "run"
    train(config(photos, run))
    return run


@pytest.fixture(autouse=True)
def ctrl_c_counts() -> Iterator[None]:
    """A program that was started in the background without a terminal ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, *, in_batch: int) -> None:
    """Send SIGINT to this process while it works on that batch, counted from 1."""
    forward = ClassificationObjective.forward
    batches = iter(range(1, 10_000))

    def forward_and_press(self: ClassificationObjective, *given: Any, **named: Any) -> StepOutput:
        if next(batches) == in_batch:
            signal.raise_signal(signal.SIGINT)
        return forward(self, *given, **named)

    monkeypatch.setattr(ClassificationObjective, "forward", forward_and_press)


def steps_of(run: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in list_checkpoints(run / "checkpoints")]


def state_of(run: Path) -> dict[str, Any]:
    """Everything that a run leaves behind, by name; tensors as they are."""
    last = list_checkpoints(run / "checkpoints")[-1]
    optimiser = torch.load(last / "optimizer.bin", weights_only=True)
    state: dict[str, Any] = {
        f"training {name}": tensor for name, tensor in load_file(last / "model.safetensors").items()
    }
    for index, moments in optimiser["state"].items():
        state |= {f"optimiser {index} {name}": value for name, value in moments.items()}
    for path in last.glob("custom_checkpoint_*.pkl"):
        average = torch.load(path, weights_only=True)
        state["updates"] = average["updates"]
        state |= {f"average {name}": tensor for name, tensor in average["average"].items()}
    weights = load_file(run / "classifier" / "model.safetensors")
    state |= {f"classifier {name}": tensor for name, tensor in weights.items()}
    index = pq.read_table(run / "classifier" / "index" / "training.parquet").to_pandas()
    return state | {
        "rates": [group["lr"] for group in optimiser["param_groups"]],
        "position": json.loads((last / "position.json").read_text()),
        "log": (run / "log.jsonl").read_text(),
        "calibration": (run / "classifier" / "calibration.json").read_text(),
        "index": index["embedding"].map(lambda vector: vector.tolist()).tolist(),
    }


def assert_same_run(one: Path, other: Path) -> None:
    first, second = state_of(one), state_of(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[name]), name
        else:
            assert value == second[name], name


@pytest.mark.parametrize(
    ("changes", "options", "in_batch", "stops_at"),
    [
        pytest.param((), {}, 13, 13, id="sgd with momentum"),
        pytest.param((), {}, 10, 10, id="at the last batch of an epoch"),
        pytest.param(
            ("optimiser.name=adamw", "optimiser.learning_rate=0.001"), {}, 4, 4, id="adamw"
        ),
        pytest.param(
            ("accumulate=2", "optimiser.name=adamw"), {}, 13, 14, id="two batches an update"
        ),
        pytest.param(
            (
                "ema=0.9",
                "optimiser.name=adamw",
                "optimiser.layer_decay=0.7",
                "model.freeze_batch_norm=true",
                "keep_epoch=last",  # the other one may have been kept before the stop
            ),
            {},
            13,
            13,
            id="averaged weights and a rate for each layer",
        ),
        pytest.param(
            TAXONET, {"recipe": "taxonet", "workers": 1}, 13, 13, id="taxonet and a worker"
        ),
        pytest.param(
            (*TAXONET, "selection.keep=random", "accumulate=2"),
            {"recipe": "taxonet"},
            5,
            6,
            id="random selection",
        ),
    ],
)
def test_ctrl_c_and_resume(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: tuple[str, ...],
    options: dict[str, Any],
    in_batch: int,
    stops_at: int,
) -> None:
    monkeypatch.setattr(loop, "_BATCHES_BETWEEN_RECORDS", 2)
    alone = train(config(photos, tmp_path / "alone", *changes, **options))
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, in_batch=in_batch)
        with pytest.raises(Interrupted):
            train(config(photos, tmp_path / "stopped", *changes, **options))
    assert steps_of(tmp_path / "stopped")[-1] == stops_at
    assert not (tmp_path / "stopped" / "classifier").exists()
    resumed = train(config(photos, tmp_path / "stopped", *changes, resume=True, **options))
    assert_same_run(tmp_path / "alone", tmp_path / "stopped")
    assert resumed.kept_epoch == alone.kept_epoch
    assert resumed.val_macro_recall == alone.val_macro_recall


def test_the_checkpoint_holds_what_the_loss_learns(photos: Path, tmp_path: Path) -> None:
    train(config(photos, tmp_path / "run", *TAXONET, recipe="taxonet"))
    first, last = (
        load_file(path / "model.safetensors")["loss.gamma"]
        for path in list_checkpoints(tmp_path / "run" / "checkpoints")
    )
    assert first != last
    assert not any("gamma" in name for name in load_file(_weights(tmp_path / "run")))


def test_ctrl_c_in_the_validation_stops_after_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(self: object, network: object) -> float:
        signal.raise_signal(signal.SIGINT)
        return 0.25

    with monkeypatch.context() as patch:
        patch.setattr("taxonet.training.validation.Validation.macro_recall", press)
        with pytest.raises(Interrupted):
            train(config(photos, tmp_path / "run"))
    assert steps_of(tmp_path / "run") == [10]
    (line,) = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["val_macro_recall"] == 0.25


def test_a_second_ctrl_c_stops_at_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    press_ctrl_c(monkeypatch, in_batch=3)
    press_ctrl_c(monkeypatch, in_batch=3)
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(config(photos, tmp_path / "run"))
    assert not isinstance(stopped.value, Interrupted)
    assert steps_of(tmp_path / "run") == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_stop_may_come_many_times(
    photos: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attempt in range(30):
        with monkeypatch.context() as patch:
            press_ctrl_c(patch, in_batch=3)
            try:
                train(config(photos, tmp_path / "stopped", resume=attempt > 0))
            except Interrupted:
                continue
            break
    assert attempt == 6  # three batches at a time, of twenty
    assert_same_run(alone, tmp_path / "stopped")


def test_a_run_stopped_after_its_last_epoch_only_finishes(
    photos: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def fail(*given: object, **named: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("taxonet.training.run.write_index", fail)
        with pytest.raises(OSError, match="no space"):
            train(config(photos, tmp_path / "stopped"))
    # A classifier without its index would pass for a finished one.
    assert not (tmp_path / "stopped" / "classifier").exists()
    monkeypatch.setattr(ClassificationObjective, "forward", fail)
    train(config(photos, tmp_path / "stopped", resume=True))
    assert_same_run(alone, tmp_path / "stopped")


@pytest.mark.slow
def test_kill_9_and_resume(photos: Path, tmp_path: Path) -> None:
    changes = ("epochs=6", "accumulate=2", *TAXONET)
    alone = train(config(photos, tmp_path / "alone", *changes, recipe="taxonet"))
    killed = tmp_path / "killed"
    given = config(photos, killed, *changes, recipe="taxonet", checkpoint_minutes=1e-6)
    command = [sys.executable, "-m", "taxonet", "train", str(given.images), "--recipe", "taxonet"]
    command += ["--taxonomy", str(given.taxonomy), "--out", str(killed), "--device", "cpu"]
    command += ["--checkpoint-minutes", "1e-6"]
    command += [word for change in given.set for word in ("--set", change)]
    process = subprocess.Popen(command, env=_quiet_environment(), stderr=subprocess.PIPE)
    try:
        _wait_for_mid_epoch(killed, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 10 < steps_of(killed)[-1] < 60
    assert steps_of(killed)[-1] % 10 != 0
    # What a kill in the midst of a save leaves behind.
    (killed / "checkpoints" / ".step-0000000099.abc.tmp").mkdir()
    resumed = train(given.model_copy(update={"resume": True}))
    assert_same_run(tmp_path / "alone", killed)
    assert resumed.kept_epoch == alone.kept_epoch


def _wait_for_mid_epoch(run: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if any(step > 20 and step % 10 == 4 for step in steps_of(run)):
            return
        time.sleep(0.001)
    pytest.fail(f"no checkpoint in mid-epoch: {process.communicate()[1].decode()}")


def _quiet_environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def test_kill_between_an_epochs_record_and_its_checkpoint(
    photos: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch is done again, and its record stands once."""

    def save_until_the_epoch_ends(*given: Any, serial: int, **named: Any) -> None:
        if serial == 20 and given[2].step == 0:
            raise SystemExit
        save_checkpoint(*given, serial=serial, **named)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save_until_the_epoch_ends)
        with pytest.raises(SystemExit):
            train(config(photos, tmp_path / "killed", checkpoint_minutes=1e-9))
    assert steps_of(tmp_path / "killed") == [18, 19]
    train(config(photos, tmp_path / "killed", resume=True, checkpoint_minutes=1e-9))
    left, killed = state_of(alone), state_of(tmp_path / "killed")
    assert killed["log"] == left["log"]
    assert killed["position"] == left["position"]


def test_weights_of_an_epoch_that_was_not_recorded_are_not_taken_for_the_kept_ones(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the second try of an epoch is judged worse than the first, as on a GPU."""
    recalls = iter([0.5, 0.6])
    patch_recall(monkeypatch, recalls)

    def save_first_epoch(*given: Any, serial: int, **named: Any) -> None:
        if serial == 20:
            raise SystemExit
        save_checkpoint(*given, serial=serial, **named)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save_first_epoch)
        with pytest.raises(SystemExit):
            train(config(photos, tmp_path / "run"))
    first = load_file(tmp_path / "run" / "epoch-1.safetensors")
    patch_recall(monkeypatch, iter([0.4]))
    resumed = train(config(photos, tmp_path / "run", resume=True))
    assert (resumed.kept_epoch, resumed.val_macro_recall) == (1, 0.5)
    final = load_file(_weights(tmp_path / "run"))
    assert all(torch.equal(final[name], tensor) for name, tensor in first.items())
    assert not (tmp_path / "run" / "epoch-2.safetensors").exists()


def patch_recall(monkeypatch: pytest.MonkeyPatch, recalls: Any) -> None:
    monkeypatch.setattr(
        "taxonet.training.validation.Validation.macro_recall",
        lambda self, network: next(recalls),
    )


def stopped_run(photos: Path, run: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        press_ctrl_c(patch, in_batch=3)
        with pytest.raises(Interrupted):
            train(config(photos, run))


def test_only_the_last_two_checkpoints_stay(photos: Path, tmp_path: Path) -> None:
    train(config(photos, tmp_path / "run", checkpoint_minutes=1e-9))
    assert steps_of(tmp_path / "run") == [19, 20]


def test_a_half_written_checkpoint_is_ignored(photos: Path, alone: Path, tmp_path: Path) -> None:
    stopped_run(photos, tmp_path / "run")
    half = tmp_path / "run" / "checkpoints" / ".step-0000000009.x1.tmp"
    half.mkdir()
    (half / "position.json").write_text('{"epoch": 0, "st')
    assert steps_of(tmp_path / "run") == [3]
    train(config(photos, tmp_path / "run", resume=True))
    assert_same_run(alone, tmp_path / "run")


def test_another_recipe_is_refused_and_changes_nothing(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stopped_run(photos, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(
        CheckpointError, match=r"step-0000000003 .*another recipe than this run has"
    ):
        train(config(photos, run, "batch_size=5", resume=True))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("split", ["train", "val"])
def test_other_photos_are_refused(tmp_path: Path, split: str) -> None:
    """What is trained on and what chooses the epoch must stay; the rest may change."""
    photos = write_set(tmp_path / "photos")
    stopped_run(photos, tmp_path / "run")
    manifest = photos / "images.csv"
    table = manifest.read_text()
    manifest.write_text(re.sub(rf"images/Acer_rubrum_{split}_0.png.*\n", "", table))
    with pytest.raises(CheckpointError, match="another set of photos than"):
        train(config(photos, tmp_path / "run", resume=True))
    manifest.write_text(re.sub(r"images/Acer_rubrum_test_0.png.*\n", "", table))
    train(config(photos, tmp_path / "run", resume=True))


def test_resume_without_a_checkpoint_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing to resume: .* Run without --resume"):
        train(config(photos, tmp_path / "none", resume=True))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("finished", [False, True])
def test_a_used_folder_is_refused(photos: Path, tmp_path: Path, finished: bool) -> None:
    run = tmp_path / "run"
    if finished:
        train(config(photos, run, "epochs=1"))
    else:
        stopped_run(photos, run)
    with pytest.raises(ConfigError, match=r"holds a run already. Add --resume"):
        train(config(photos, run))


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    photos: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, in_batch=3)
        press_ctrl_c(patch, in_batch=3)
        with pytest.raises(KeyboardInterrupt):
            train(config(photos, tmp_path / "run", "seed=3"))
    train(config(photos, tmp_path / "run"))
    assert_same_run(alone, tmp_path / "run")
    assert (tmp_path / "run" / "recipe.yaml").read_text() == (alone / "recipe.yaml").read_text()


def _weights(run: Path) -> Path:
    return run / "classifier" / "model.safetensors"
