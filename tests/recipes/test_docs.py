"""The recipes page does what it says."""

import re
import subprocess
import sys
from pathlib import Path

from taxonet.recipes import load_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(found)


def test_the_recipe_on_the_page_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "my_recipe.yaml").write_text(block("yaml"), encoding="utf-8")
    recipe = load_recipe(tmp_path / "my_recipe.yaml")
    assert recipe.loss.name == "dbm"
    assert recipe.transfer is not None
    assert recipe.second_stage is not None


def test_the_loss_on_the_page_is_a_loss() -> None:
    use = (
        "import torch\n"
        "loss = LOSSES.build('halved', {}, [3, 1])\n"
        "value = loss(torch.tensor([[4.0, 0.0]]), torch.tensor([0]))\n"
        "assert torch.isclose(value, torch.log1p(torch.tensor(-2.0).exp())), value\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", block("python") + use], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
