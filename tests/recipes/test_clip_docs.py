"""The page on images and words says what can be done."""

import doctest
import re
from pathlib import Path

from taxonet.recipes import load_recipe

PAGE = Path(__file__).parents[2] / "docs" / "clip.md"
SECTION = "Fine-tuning image and text towers with the whole taxonomy (HMCF)"


def section() -> str:
    (found,) = re.findall(
        rf"^## {re.escape(SECTION)}\n(.*?)(?=^## |\Z)",
        PAGE.read_text(encoding="utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
    return str(found)


def test_the_examples_run() -> None:
    assert doctest.testfile(str(PAGE), module_relative=False).failed == 0


def test_the_recipe_can_be_read(tmp_path: Path) -> None:
    (yaml,) = re.findall(r"```yaml\n(.*?)```", section(), flags=re.DOTALL)
    path = tmp_path / "hmcf.yaml"
    path.write_text(yaml, encoding="utf-8")
    recipe = load_recipe(path)
    assert (recipe.loss.name, recipe.model.head) == ("image_text", "level_cosine")
    assert recipe.words is not None
    assert recipe.words.templates == ("a photo of a {name}",)
    for loss in re.findall(r"`loss: (\{.*?\})`", section()):
        assert load_recipe(path, (f"loss={loss}",)).loss.name == "image_text"
