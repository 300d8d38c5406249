import sys
from pathlib import Path

import pytest

from benchmarks.records import append_record, command_of, read_records


def test_commands_tell_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["study.py", "runs/a/classifier", "--region", "/home/me/data/flickr5/images"]
    monkeypatch.setattr(sys, "argv", [*words, "--name", "two words"])
    assert command_of("region_study") == (
        "python -m benchmarks.region_study runs/a/classifier --region .../flickr5/images "
        "--name 'two words'"
    )


def test_records_are_read_as_they_were_added(tmp_path: Path) -> None:
    path = tmp_path / "new" / "study.jsonl"
    assert read_records(path) == []
    for seed in range(2):
        append_record(path, {"row": "CE", "seed": seed})
    assert read_records(path) == [{"row": "CE", "seed": 0}, {"row": "CE", "seed": 1}]
