from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from taxonet.recipes import verbs
from taxonet.recipes.verbs import ChatConfig, InspectConfig, PredictConfig, SplitConfig, TrainConfig

CONFIGS = [
    config
    for name, config in vars(verbs).items()
    if name.endswith("Config") and issubclass(config, BaseModel)
]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_option_explains_itself_and_others_are_refused(config: type[BaseModel]) -> None:
    assert config.__doc__
    for name, field in config.model_fields.items():
        assert field.description, name
    assert config.model_config["extra"] == "forbid"
    assert config.model_config["frozen"]


def test_the_columns_of_a_taxonomy_need_a_taxonomy() -> None:
    photos = Path("photos")
    for options in ({"ranks": ("genus",)}, {"label_column": "name"}):
        with pytest.raises(ValidationError, match="give --taxonomy"):
            TrainConfig(images=photos, **options)
        TrainConfig(images=photos, taxonomy=Path("t.csv"), **options)
    with pytest.raises(ValidationError, match="names checks the names of a taxonomy"):
        InspectConfig(images=photos, names=Path("names.csv"))


def test_the_shares_of_a_split_sum_to_one() -> None:
    assert SplitConfig(images=Path("p")).fractions == {
        "train": 0.7,
        "val": 0.1,
        "calibration": 0.1,
        "test": 0.1,
    }
    two = SplitConfig(images=Path("p"), train=0.8, val=0, calibration=0, test=0.2)
    assert two.fractions == {"train": 0.8, "test": 0.2}
    with pytest.raises(ValidationError, match=r"must sum to 1, got 1\.1"):
        SplitConfig(images=Path("p"), train=0.8)
    with pytest.raises(ValidationError, match="give --hold-out-taxa"):
        SplitConfig(images=Path("p"), taxonomy=Path("t.csv"))


def test_the_table_of_nodes_has_a_file_of_its_own() -> None:
    given = {"classifier": Path("c"), "images": ("p",), "out": Path("rows.csv")}
    with pytest.raises(ValidationError, match="give --node-probs"):
        PredictConfig.model_validate(given | {"node_probs_from": 0.5})
    with pytest.raises(ValidationError, match=r"different files, got rows\.csv, sub/"):
        PredictConfig.model_validate(given | {"node_probs": Path("sub/../rows.csv")})
    for wrong in (-0.01, 1.01):
        with pytest.raises(ValidationError, match="node_probs_from"):
            PredictConfig.model_validate(
                given | {"node_probs": Path("n.csv"), "node_probs_from": wrong}
            )
    found = PredictConfig.model_validate(given | {"node_probs": "n.csv", "node_probs_from": 1})
    assert (found.node_probs, found.node_probs_from) == (Path("n.csv"), 1.0)


def test_numbers_out_of_range_are_refused_all_at_once() -> None:
    with pytest.raises(ValidationError) as error:
        PredictConfig.model_validate(
            {"classifier": "c", "images": ("p",), "top_k": 0, "batch_size": -1, "device": "gpu"}
        )
    wrong = {problem["loc"] for problem in error.value.errors()}
    assert wrong == {("top_k",), ("batch_size",), ("device",)}


CHAT: dict[str, object] = {
    "images": "p",
    "taxonomy": "t.csv",
    "endpoint": "http://127.0.0.1",
    "model": "NAME",
}


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"endpoint": ""}, "give --endpoint"),
        ({"model": ""}, "give --model"),
        ({"taxonomy": None}, "give --taxonomy"),
        ({"classifier": "c", "train_images": "p"}, "leave --train-images out"),
        ({"few_below": 10, "many_above": 8}, "groups would overlap"),
        ({"price_per_million_input": 1}, "needs both prices"),
        ({"max_cost": 1}, "max_cost needs prices"),
        ({"max_side": 8}, "max_side"),
        ({"temperature": float("inf")}, "finite number"),
    ],
)
def test_what_cannot_be_asked_of_a_chat_model(options: dict[str, object], wrong: str) -> None:
    ChatConfig.model_validate(CHAT)
    with pytest.raises(ValidationError, match=wrong):
        ChatConfig.model_validate(CHAT | options)
