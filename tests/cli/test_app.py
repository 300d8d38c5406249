import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from taxonet.cli import app, predict
from taxonet.cli.draw_flora import FloraVerb
from taxonet.errors import ConfigError, DataError
from taxonet.recipes.verbs import (
    DemoConfig,
    EmbedConfig,
    EvaluateConfig,
    InspectConfig,
    MatchConfig,
    PredictConfig,
    SplitConfig,
    TrainConfig,
)
from taxonet.version import __version__
from tests.cli.conftest import Command

VERBS: dict[str, type[BaseModel]] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "embed": EmbedConfig,
    "demo": DemoConfig,
    "data inspect": InspectConfig,
    "data split": SplitConfig,
    "data match": MatchConfig,
    "data flora": FloraVerb,
}


def test_the_version(taxonet: Command) -> None:
    assert taxonet("--version") == (0, f"taxonet {__version__}\n", "")


def test_help_names_every_verb(taxonet: Command) -> None:
    ran = taxonet("--help")
    assert ran.code == 0
    for verb in ("train", "evaluate", "predict", "embed", "list", "doctor", "demo", "data"):
        assert re.search(rf"│ {verb} +\S", ran.out), verb
    ran = taxonet("data", "--help")
    for verb in ("inspect", "split", "flora"):
        assert re.search(rf"│ {verb} +\S", ran.out), verb


@pytest.mark.parametrize("verb", VERBS)
def test_every_field_of_a_config_is_in_the_help_of_its_verb(verb: str, taxonet: Command) -> None:
    ran = taxonet(*verb.split(), "--help")
    assert ran.code == 0
    config = VERBS[verb]
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", ran.out).split())
    assert " ".join((config.__doc__ or "").split()).split(".")[0] in text
    for name, field in config.model_fields.items():
        if field.is_required():
            assert re.search(rf"\* +\{{?{name}\b", text, re.IGNORECASE), name
        else:
            assert f"--{name.rstrip('_').replace('_', '-')}" in text, name
        # The table of options is narrow for long sentences: their first words are enough.
        assert " ".join((field.description or "").split()[:3]) in text, name
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert f"[default: {field.default}]" in text, name


def test_switches_can_be_turned_off(taxonet: Command) -> None:
    assert "--no-renormalise" in taxonet("predict", "--help").out


def test_calls_without_a_verb_show_the_help(taxonet: Command) -> None:
    for words in ((), ("data",)):
        ran = taxonet(*words)
        assert ran.code == 2
        assert "Usage: taxonet" in ran.out + ran.message


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("predct",), "No such command 'predct'. Did you mean 'predict'?"),
        (("predict",), "Missing argument 'CLASSIFIER'"),
        (("predict", "c", "p", "--top-k", "two"), "Invalid value for '--top-k'"),
        (("predict", "c", "p", "--device", "gpu"), "'gpu' is not one of 'auto', 'cpu', 'cuda'"),
        (("predict", "c", "p", "--topk", "2"), "No such option: --topk"),
        (("list", "loses"), "'loses' is not one of 'losses', 'expert-losses'"),
        (("predict", "c", "p", "--top-k", "0", "--batch-size", "0"), "2 problem(s) in the command"),
        (("data", "split", "p", "--train", "0.8"), "must sum to 1, got 1.1."),
        (("data", "inspect", "p", "--names", "n.csv"), "give --taxonomy"),
        (("data", "flora", "--species", "1"), "option 'species': Input should be greater"),
        (("data", "flora", "--families", "9", "--genera", "3"), "genera (3) must be at least fam"),
        (("train", "p", "--recipe", "taxnet"), "Did you mean 'taxonet'?"),
        (("train", "p", "--set", "epoch=3"), "epoch: unknown key. Did you mean 'epochs'?"),
        (("train", "p", "--set", "epochs"), "An override reads path.to.key=value, got 'epochs'"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_what_is_right(
    words: tuple[str, ...],
    says: str,
    taxonet: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = taxonet(*words)
    assert ran.code == 2, ran.err
    assert says in ran.message
    assert ran.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("wrong [b]option[/b]"), 2),
        (DataError("wrong [b]option[/b]"), 1),
        (FileNotFoundError("wrong [b]option[/b]"), 1),
    ],
)
def test_errors_are_told_word_for_word_and_unwrapped(
    error: Exception, code: int, taxonet: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "/".join(["a long path"] * 30)

    def fail(**_: object) -> None:
        raise type(error)(f"{error}: {long}")

    monkeypatch.setattr(app, "app", fail)
    ran = taxonet()
    assert ran == (code, "", f"Error: wrong [b]option[/b]: {long}\n")


def test_a_stopped_prediction_says_how_to_go_on(
    taxonet: Command, saved: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("taxonet.classifier.predict_to_file", stop)
    ran = taxonet("predict", saved, photos, "--out", tmp_path / "rows.csv")
    assert ran.code == 130
    assert "--resume goes on after them" in ran.message
    assert predict.run.__doc__
