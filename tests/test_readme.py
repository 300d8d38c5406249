"""What the README and the docs tell people to type exists, with the options they name."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taxonet.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/command-line.md",
    "docs/chat-models.md",
    "docs/features.md",
    "docs/fine-tuning.md",
    "docs/first-classifier.md",
    "docs/recipes.md",
    "docs/weights.md",
)


def commands() -> list[str]:
    """Find the taxonet calls in the code blocks of the pages, without comments and pipes."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text("utf-8"), re.S):
            for line in block.splitlines():
                call = line.split(" #")[0].rpartition("| ")[2].strip()
                if call.startswith("taxonet "):
                    found.append(call)
    return found


def test_the_pages_have_commands() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize("command", commands())
def test_a_documented_command_is_real(command: str) -> None:
    words = shlex.split(command)[1:]
    verb = words[:2] if words[0] in ("data", "benchmark") else words[:1]
    shown = CliRunner().invoke(app, [*verb, "--help"], terminal_width=200)
    assert shown.exit_code == 0, f"there is no {' '.join(verb)}"
    for word in words:
        if word.startswith("--"):
            assert word in shown.output, f"{' '.join(verb)} has no {word}"


def test_make_targets_of_the_readme_exist() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text("utf-8"), re.M):
        assert target in targets


def test_links_between_pages_lead_somewhere() -> None:
    for page in (
        "README.md",
        "CONTRIBUTING.md",
        *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
    ):
        text = (ROOT / page).read_text("utf-8")
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert ((ROOT / page).parent / link).exists(), f"{page} links to {link}"
