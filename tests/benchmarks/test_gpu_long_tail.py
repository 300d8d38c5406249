"""The whole run on a CPU: records, stopping and going on, second stages."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu_data import DeviceImages
from benchmarks.gpu_long_tail import Run, Settings
from benchmarks.gpu_records import RunFolder
from benchmarks.gpu_rows import Row

KEYS = {
    "row",
    "seed",
    "recipe",
    "epochs",
    "fraction_of_schedule",
    "seconds",
    "rows_at_once",
    "precision",
    "layout",
    "cuda_graphs",
    "hardware",
    "torch",
    "commit",
    "command",
    "last_epoch",
    "best_epoch_on_test",
}


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Two rows of three epochs, the first with two second stages."""
    paths = []
    for name in ("pc/cifar100-lt/softmax", "dbm/cifar100-lt/dbm-bs"):
        paths.append(tmp_path / f"{name.rpartition('/')[2]}.yaml")
        paths[-1].write_text(f"extends: {name}\nepochs: 3\nbatch_size: 16\n", encoding="utf-8")
    stages = (("+ NCM", "pc/cifar100-lt/ncm"), ("+ PC", "pc/cifar100-lt/pc"))
    return [Row("CE, decayed", str(paths[0]), stages), Row("DBM-BS", str(paths[1]))]


def run(tiny: DeviceImages, folder: RunFolder, rows: list[Row], **settings: Any) -> bool:
    jobs = [(row, 0) for row in rows]
    return Run(tiny, folder, Settings(jobs=jobs, commit="abc", **settings)).go()


def without_time(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**record, "seconds": None} for record in records]


def test_a_stopped_run_goes_on_to_the_same_records(
    tiny: DeviceImages, rows: list[Row], tmp_path: Path
) -> None:
    whole = RunFolder(tmp_path / "whole")
    assert run(tiny, whole, rows)
    records = whole.records()
    assert [record["row"] for record in records] == ["CE, decayed", "+ NCM", "+ PC", "DBM-BS"]
    for record in records:
        assert set(record) - {"on", "last_epoch_mean_loss"} == KEYS
        assert (record["epochs"], record["fraction_of_schedule"]) == (3, 1.0)
        assert (record["commit"], record["torch"]) == ("abc", torch.__version__)
        assert set(record["last_epoch"]) == {"top1", "many", "medium", "few"}
        assert record["last_epoch"]["many"] is None  # all classes have few images
        assert record["last_epoch"]["few"] == record["last_epoch"]["top1"]
        assert record["cuda_graphs"] is False
    assert records[1]["on"] == "CE, decayed"
    assert records[1]["best_epoch_on_test"] is None
    for record in (records[0], records[3]):
        assert record["best_epoch_on_test"]["top1"] >= record["last_epoch"]["top1"]
        assert record["last_epoch_mean_loss"] > 0

    stopped = RunFolder(tmp_path / "first")
    assert not run(tiny, stopped, rows, stop_at=time.monotonic())  # after an epoch
    assert stopped.records() == []
    assert len(list(stopped.path.glob("*.checkpoint.pt"))) == 2
    on = RunFolder(tmp_path / "second", previous=stopped.path)
    assert not run(tiny, on, rows, stop_at=time.monotonic())
    assert run(tiny, on, rows)
    assert without_time(on.records()) == without_time(records)
    assert list(on.path.glob("*.checkpoint.pt")) == []
    assert run(tiny, on, rows)  # nothing is missing
    assert len(on.records()) == 4


def test_one_row_after_the_other_gives_the_same(
    tiny: DeviceImages, rows: list[Row], tmp_path: Path
) -> None:
    together, apart = RunFolder(tmp_path / "together"), RunFolder(tmp_path / "apart")
    run(tiny, together, rows, epochs=1)
    run(tiny, apart, rows, epochs=1, at_once=1)
    figures = [[one["last_epoch"] for one in folder.records()] for folder in (together, apart)]
    assert figures[0] == figures[1]
    assert [record["rows_at_once"] for record in apart.records()] == [1, 1, 1, 1]
    shares = {record["fraction_of_schedule"] for record in apart.records()}
    assert shares == {1 / 3}


def test_a_row_without_a_finite_loss_ends_alone(
    tiny: DeviceImages, rows: list[Row], tmp_path: Path
) -> None:
    wild = tmp_path / "wild.yaml"
    wild.write_text(
        f"extends: {rows[1].recipe}\noptimiser: {{learning_rate: 1.0e+30}}\n"
        "schedule: {warmup_epochs: 0}\n",
        encoding="utf-8",
    )
    folder = RunFolder(tmp_path / "out")
    assert run(tiny, folder, [Row("wild", str(wild)), rows[1]], fraction=0.7)
    lines = (folder.path / "records.jsonl").read_text(encoding="utf-8").splitlines()
    failed, fine = map(json.loads, lines)
    assert "not finite" in failed["failed"]
    assert "last_epoch" not in failed
    assert (fine["row"], fine["epochs"]) == ("DBM-BS", 2)
