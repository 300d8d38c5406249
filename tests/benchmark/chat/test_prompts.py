import json
import re

import pytest

from taxonet.benchmark.chat.prompts import MOST_CANDIDATES, PERSONA, PROMPTS, question_text
from taxonet.errors import ConfigError
from taxonet.recipes.verbs import ChatConfig


def test_the_verb_has_the_prompts_that_there_are() -> None:
    assert ChatConfig.model_fields["prompt"].annotation.__args__ == PROMPTS  # type: ignore[union-attr] # a Literal


@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_prompt_asks_for_the_object_that_is_read(prompt: str) -> None:
    text = question_text(prompt)
    (shown,) = re.findall(r"\{.*?\}", text)
    assert json.loads(shown.replace("...", "null")) == {"genus": None, "species": None}
    assert "null" in text
    assert "botanist" in PERSONA


def test_the_chain_of_thought_goes_from_genus_to_species() -> None:
    steps = question_text("chain-of-thought").splitlines()[1:4]
    assert ["genera" in step for step in steps] == [False, True, False]
    assert ["species" in step for step in steps] == [False, False, True]


def test_candidates_are_lines_and_not_too_many() -> None:
    text = question_text("zero-shot", ["Acer rubrum", "Rosa canina"])
    assert text.endswith("The species is one of these:\nAcer rubrum\nRosa canina")
    assert text.startswith(question_text("zero-shot"))
    assert question_text("zero-shot", ["x"] * MOST_CANDIDATES)
    with pytest.raises(ConfigError, match="5,001 species into every question"):
        question_text("zero-shot", ["x"] * (MOST_CANDIDATES + 1))
