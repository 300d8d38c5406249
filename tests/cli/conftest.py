"""The command line as a function, a classifier on disk, and a folder of labelled photos."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from taxonet.classifier import TaxonClassifier
from taxonet.cli import main
from tests.helpers import save_photo, tiny_parts

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Ran(NamedTuple):
    """What a command left: its exit code, results and messages."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The messages as one line, without the frame and the colours that a terminal gets."""
        return " ".join(re.sub(r"[│╭╮╰╯─]", " ", _COLOURS.sub("", self.err)).split())


Command = Callable[..., Ran]


@pytest.fixture
def taxonet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``taxonet`` with some words, in this process; an error of ours ends it cleanly."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["taxonet", *map(str, words)])
        capsys.readouterr()
        # Whatever is no SystemExit would show a user a traceback, and fails the test.
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(int(stopped.value.code or 0), _COLOURS.sub("", captured.out), captured.err)

    return run


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier's folder, to be read only; see `tests.helpers`."""
    folder = tmp_path_factory.mktemp("saved") / "classifier"
    TaxonClassifier(tiny_parts(), device="cpu").save(folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six photos that each look like a class; the fourth is text."""
    folder = tmp_path / "photos"
    for seed in range(6):
        save_photo(folder / f"{seed}.png", seed)
    (folder / "3.png").write_text("no photo", encoding="utf-8")
    return folder
