"""What a recipe that starts at given weights does where it does not say otherwise."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from taxonet.recipes import (
    ModelRecipe,
    OptimiserRecipe,
    PartChoice,
    Recipe,
    dump_recipe,
    load_recipe,
    preset_names,
)
from taxonet.recipes.loading import _read

GIVEN = "model.weights=pretrained"
LOSS = PartChoice(name="cross_entropy")


def moves(*overrides: str, source: str = "tiny") -> tuple[Any, ...]:
    """Return update rule, rate, decay, warm-up and epochs of a recipe."""
    recipe = load_recipe(source, overrides)
    rule = recipe.optimiser
    warmup = recipe.schedule.warmup_epochs
    return rule.name, rule.learning_rate, rule.weight_decay, warmup, recipe.epochs


def test_random_weights_are_trained_as_ever() -> None:
    assert moves() == ("sgd", 0.1, 5e-4, 1.0, 30)
    assert moves("model.frozen=true") == ("sgd", 0.1, 5e-4, 1.0, 30)
    assert moves("model.weights=none", "epochs=5") == ("sgd", 0.1, 5e-4, 1.0, 5)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), ("adamw", 1e-4, 0.05, 2.0, 20)),
        (("model.frozen=true",), ("adamw", 1e-3, 0.05, 2.0, 20)),
        (("model.adapter=lora",), ("adamw", 1e-3, 0.05, 2.0, 20)),
        (("model.adapter=null",), ("adamw", 1e-4, 0.05, 2.0, 20)),
        (("epochs=5",), ("adamw", 1e-4, 0.05, 0.5, 5)),
        (("epochs=50",), ("adamw", 1e-4, 0.05, 2.0, 50)),
        (("schedule.warmup_epochs=0",), ("adamw", 1e-4, 0.05, 0.0, 20)),
        (("optimiser.learning_rate=3e-5",), ("adamw", 3e-5, 0.05, 2.0, 20)),
        (("optimiser.weight_decay=0",), ("adamw", 1e-4, 0.0, 2.0, 20)),
        (("optimiser.name=sgd",), ("sgd", 0.01, 5e-4, 2.0, 20)),
        (("optimiser.momentum=0.8",), ("sgd", 0.01, 5e-4, 2.0, 20)),
        (("optimiser.name=sgd", "optimiser.learning_rate=0.1"), ("sgd", 0.1, 5e-4, 2.0, 20)),
    ],
)
def test_given_weights_are_trained_gently(
    overrides: tuple[str, ...], expected: tuple[Any, ...]
) -> None:
    assert moves(GIVEN, *overrides) == expected


@pytest.mark.parametrize("name", ["cross_entropy", "taxonet", "method/dbm-bs", "method/supcon"])
def test_weights_alone_never_meet_a_rate_for_random_ones(name: str) -> None:
    assert moves(GIVEN, source=f"tiny,{name}")[:2] == ("adamw", 1e-4)


def test_it_is_the_same_in_python() -> None:
    model = ModelRecipe(weights="pretrained")
    assert Recipe(model=model, loss=LOSS) == load_recipe("tiny,cross_entropy", [GIVEN])
    given = Recipe(model=model, loss=LOSS, optimiser=OptimiserRecipe(learning_rate=3e-5))
    assert (given.optimiser.name, given.optimiser.learning_rate) == ("adamw", 3e-5)


@pytest.mark.parametrize("overrides", [(GIVEN,), (GIVEN, "model.frozen=true"), (GIVEN, "epochs=3")])
def test_it_survives_writing_and_reading(overrides: tuple[str, ...], tmp_path: Path) -> None:
    recipe = load_recipe("tiny,taxonet", overrides)
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe
    # What was resolved stays where the weights are taken away again: it is stated now.
    assert moves("model.weights=none", source=str(path)) == moves(source=str(path))


@pytest.mark.parametrize("name", preset_names())
def test_what_a_preset_states_is_kept(name: str) -> None:
    stated = _read(name, [])
    # A half of a recipe has no loss.
    recipe = Recipe.model_validate({"loss": "cross_entropy", **stated})
    for section in ("optimiser", "schedule"):
        resolved = getattr(recipe, section).model_dump(mode="json")
        assert resolved.items() >= stated.get(section, {}).items()
    assert recipe.epochs == stated.get("epochs", recipe.epochs)


@pytest.mark.parametrize(
    "text", ["optimiser: null", "optimiser: fast", "schedule: [1]", "model: 3"]
)
def test_what_is_no_section_is_still_complained_about(text: str) -> None:
    values = {"loss": "cross_entropy", "model": {"weights": "pretrained"}, **yaml.safe_load(text)}
    with pytest.raises(ValueError, match=text.partition(":")[0]):
        Recipe.model_validate(values)
