import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from taxonet.errors import ConfigError
from taxonet.training.records import RunLog


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_records_stand_in_order_and_are_there_at_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run" / "log.jsonl", resume_at=None)
    log.write("step", batches=20, loss=0.1 + 0.2)
    assert written(tmp_path / "run" / "log.jsonl") == [
        {"kind": "step", "batches": 20, "loss": 0.30000000000000004}
    ]
    log.write("epoch", batches=24, val_macro_recall=None)
    log.close()
    assert [record["kind"] for record in written(tmp_path / "run" / "log.jsonl")] == [
        "step",
        "epoch",
    ]


def test_a_resume_drops_what_is_done_again_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [json.dumps({"kind": "step", "batches": batches}) for batches in (2, 4, 6, 8)]
    path.write_text("\n".join(lines) + '\n{"kind": "st')
    log = RunLog(path, resume_at=6)
    log.write("step", batches=7)
    log.close()
    assert [record["batches"] for record in written(path)] == [2, 4, 6, 7]


def test_a_new_run_starts_a_new_log(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"kind": "step", "batches": 2}\n')
    RunLog(tmp_path / "log.jsonl", resume_at=None).close()
    assert (tmp_path / "log.jsonl").read_text() == ""


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log.jsonl", resume_at=None, tensorboard=True, written=False)
    log.write("step", batches=1)
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_that_is_not_installed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def without(name: str, *given: Any, **named: Any) -> Any:
        if name == "torch.utils.tensorboard":
            raise ImportError(name)
        return real_import(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'taxonet\[track\]'"):
        RunLog(tmp_path / "log.jsonl", resume_at=None, tensorboard=True)
    assert not (tmp_path / "log.jsonl").exists()
