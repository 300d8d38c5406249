from importlib import import_module
from typing import Any, Literal

import pytest

from taxonet.errors import ConfigError
from taxonet.registry import ADAPTERS, HEADS, LOSSES, NOVELTY_SCORES, TRANSFORMS, Registry


@pytest.fixture
def shapes() -> Registry[Any]:
    registry: Registry[Any] = Registry("shape")

    @registry.register("square")
    class Square:
        def __init__(
            self, origin: int, *, side: float = 1.0, colour: Literal["red", "blue"] = "red"
        ) -> None:
            self.origin, self.side, self.colour = origin, side, colour

    @registry.register("point")
    def point(origin: int, *, label: str | None) -> tuple[int, str | None]:
        return origin, label

    assert registry.get("square") is Square
    assert registry.get("point") is point
    return registry


def test_names_are_sorted(shapes: Registry[Any]) -> None:
    assert shapes.names() == ["point", "square"]


def test_a_name_is_given_once(shapes: Registry[Any]) -> None:
    with pytest.raises(ConfigError, match="Two parts want to be the shape 'square'"):
        shapes.register("square")(dict)
    assert shapes.build("square", {}, 3).side == 1.0


def test_an_unknown_name_gives_the_nearest_and_all(shapes: Registry[Any]) -> None:
    with pytest.raises(ConfigError) as error:
        shapes.get("squre")
    assert str(error.value) == (
        "No shape is called 'squre'. Did you mean 'square'? Known: point, square."
    )


def test_options_are_the_keyword_only_parameters(shapes: Registry[Any]) -> None:
    fields = shapes.options("square").model_fields
    assert list(fields) == ["side", "colour"]
    assert fields["side"].default == 1.0
    assert fields["side"].annotation is float
    assert shapes.options("point").model_fields["label"].is_required()


def test_options_come_back_complete_and_in_their_types(shapes: Registry[Any]) -> None:
    assert shapes.check("square", {"side": "1e-2"}) == {"side": 0.01, "colour": "red"}
    square = shapes.build("square", {"colour": "blue"}, 7)
    assert (square.origin, square.side, square.colour) == (7, 1.0, "blue")
    assert shapes.build("point", {"label": None}, 7) == (7, None)


def test_all_wrong_options_come_at_once(shapes: Registry[Any]) -> None:
    with pytest.raises(ConfigError) as error:
        shapes.build("square", {"sied": 2, "side": "wide", "colour": "green"}, 7)
    lines = str(error.value).split("\n")
    assert len(lines) == 3
    assert (
        "The shape 'square' has no option 'sied'. Did you mean 'side'? Options: side, colour."
        in lines
    )
    assert any(line.startswith("shape 'square', option 'side': Input should") for line in lines)
    assert any("'red' or 'blue' (got 'green')" in line for line in lines)


def test_a_missing_option_is_named(shapes: Registry[Any]) -> None:
    with pytest.raises(ConfigError, match="shape 'point', option 'label': Field required"):
        shapes.build("point", {}, 7)


def test_a_part_without_options_says_so(shapes: Registry[Any]) -> None:
    shapes.register("empty")(dict)
    with pytest.raises(ConfigError, match=r"'empty' has no option 'x'\. Options: none\."):
        shapes.check("empty", {"x": 1})


def test_the_parts_of_taxonet_are_registered() -> None:
    for room in ("losses", "models", "data.transforms", "inference"):
        import_module(f"taxonet.{room}")
    assert {"cross_entropy", "am_softmax", "dual_margin"} <= set(LOSSES.names())
    assert HEADS.names() == ["cosine", "level_cosine", "linear", "prototype"]
    assert {"plain", "crop_flip", "augmix", "none"} <= set(TRANSFORMS.names())
    assert {"max_logit", "energy"} <= set(NOVELTY_SCORES.names())
    assert ADAPTERS.names() == ["adaptformer", "bias", "layer_norm", "lora"]
    for registry in (LOSSES, HEADS, TRANSFORMS, NOVELTY_SCORES, ADAPTERS):
        for name in registry.names():
            registry.options(name)
