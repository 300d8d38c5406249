"""The demonstration from end to end, on a flora of a few photos."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from taxonet import demo
from taxonet.classifier import TaxonClassifier
from taxonet.data.flora import FloraConfig
from taxonet.demo import Demo, run_demo
from taxonet.errors import ConfigError
from taxonet.recipes.verbs import DemoConfig
from taxonet.training.loop import Trainer
from taxonet.training.objectives import ClassificationObjective


def small_flora(seed: int) -> FloraConfig:
    return FloraConfig(
        species=5,
        genera=3,
        families=2,
        image_size=32,
        train_images=24,
        imbalance_factor=4,
        val_images=2,
        calibration_images=3,
        test_images=3,
        region_images=2,
        unknown_species=2,
        unknown_images=3,
        seed=seed,
    )


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "demo_flora", small_flora)
        yield
    torch.set_num_threads(threads)


def run(out: Path, *, epochs: int = 2) -> tuple[Demo, list[str]]:
    said: list[str] = []
    return run_demo(DemoConfig(out=out, epochs=epochs), say=said.append), said


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, list[str]]:
    return run(tmp_path_factory.mktemp("demo") / "out")


def folder_of(found: Demo) -> Path:
    return found.metrics.parent


def figures(path: Path) -> dict[str, Any]:
    """The figures of metrics.json without the paths, which differ from run to run."""
    content = json.loads(path.read_text())
    return {
        name: [one["test"], one["region"]["levels"], one["open_set"]]
        for name, one in content.items()
    }


def forbid(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    def fail(*given: object, **named: object) -> None:
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(owner, name, fail)


def test_everything_is_there(finished: tuple[Demo, list[str]]) -> None:
    found, said = finished
    out = folder_of(found)
    assert [line[:3] for line in said] == ["1/4", "2/4", "3/4", "4/4"]
    assert list(found.evaluations) == ["Default (quick)", "Cross entropy"]
    metrics = json.loads((out / "metrics.json").read_text())
    for name, loss in (("Default (quick)", "dbm"), ("Cross entropy", "cross_entropy")):
        assert metrics[name]["recipe"]["loss"]["name"] == loss
        assert metrics[name]["recipe"]["epochs"] == 2
        assert metrics[name]["test"]["matched_images"] == 15
        assert metrics[name]["test"]["seen_in_training"] == 0
        assert metrics[name]["region"]["matched_images"] == 10
        assert metrics[name]["open_set"]["unknown_images"] == 6
        assert set(metrics[name]["test"]["levels"]) == {"class", "species", "genus", "family"}
    page = (out / "report.html").read_text()
    assert "Cross entropy" in page
    assert "Default (quick)" in page
    assert found.report == out / "report.html"


def test_the_predictions_are_of_photos_that_were_not_trained_on(
    finished: tuple[Demo, list[str]],
) -> None:
    out = folder_of(finished[0])
    rows = pd.read_csv(finished[0].predictions)
    assert finished[0].predictions == out / "predictions.csv"
    new = [
        name
        for table in ("region.csv", "unknown.csv")
        for name in pd.read_csv(out / "flora" / table)["image"]
    ]
    assert [
        str(Path(name)).endswith(str(Path(wanted)))
        for name, wanted in zip(rows["image"], new, strict=True)
    ] == [True] * 16
    assert rows["error"].isna().all()
    assert not (out / "predictions.csv.partial").exists()
    # They are the subject's: the classifier beside them says the same.
    classifier = TaxonClassifier.load(finished[0].classifier, device="cpu")
    again = classifier.predict([out / "flora" / name for name in new])
    assert again["rule"].tolist() == rows["rule"].tolist()
    assert classifier.parts.recipe.loss.name == "dbm"


def test_a_finished_demonstration_trains_nothing_again(
    finished: tuple[Demo, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(folder_of(finished[0]), tmp_path / "out")
    (out / "report.html").unlink()
    (out / "predictions.csv").write_text("old")
    forbid(monkeypatch, Trainer, "fit")
    found, _ = run(out)
    assert figures(found.metrics) == figures(finished[0].metrics)
    assert len(pd.read_csv(found.predictions)) == 16
    assert found.report.is_file()


def test_an_interrupted_demonstration_goes_on(
    finished: tuple[Demo, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, batches = ClassificationObjective.forward, iter(range(1, 10_000))

    def press(self: ClassificationObjective, *given: Any, **named: Any) -> Any:
        if next(batches) == 3:
            signal.raise_signal(signal.SIGINT)
        return forward(self, *given, **named)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(ClassificationObjective, "forward", press)
        # As the command line takes it: as any Ctrl-C.
        with pytest.raises(KeyboardInterrupt):
            run(out)
    assert not (out / "metrics.json").exists()
    steps: list[int] = []
    fit = Trainer.fit

    def watched(self: Trainer) -> Any:
        position = fit(self)
        steps.append(self.settings.resume)
        return position

    monkeypatch.setattr(Trainer, "fit", watched)
    found, _ = run(out)
    assert steps == [True, False]  # the default goes on, cross entropy starts
    assert figures(found.metrics) == figures(finished[0].metrics)


def test_other_epochs_are_trained_anew(finished: tuple[Demo, list[str]], tmp_path: Path) -> None:
    out = shutil.copytree(folder_of(finished[0]), tmp_path / "out")
    found, _ = run(out, epochs=1)
    metrics = json.loads(found.metrics.read_text())
    assert {one["recipe"]["epochs"] for one in metrics.values()} == {1}


def test_a_folder_that_is_no_run_is_not_deleted(
    finished: tuple[Demo, list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(folder_of(finished[0]) / "flora", out / "flora")
    (out / "quick").mkdir()
    (out / "quick" / "precious.py").write_text("mine")
    with pytest.raises(ConfigError, match="is no empty folder: choose another one"):
        run(out)
    assert (out / "quick" / "precious.py").read_text() == "mine"
