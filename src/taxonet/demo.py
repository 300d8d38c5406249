"""The demonstration: two classifiers on the procedural flora, judged side by side."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from taxonet.classifier import predict_to_file
from taxonet.data import open_images
from taxonet.data.flora import FloraConfig, make_flora, write_flora
from taxonet.evaluation import Evaluation, evaluate
from taxonet.files import atomic_folder, write_json, write_text
from taxonet.progress import Progress
from taxonet.recipes import load_recipe
from taxonet.recipes.verbs import DemoConfig, EvaluateConfig, PredictConfig, TrainConfig
from taxonet.report import evaluation_report, write_html
from taxonet.training import train
from taxonet.training.views import with_input_of_weights

#: What is compared: two heads on the same features, with equally many updates.
_RECIPES = {"Default (quick)": "quick", "Cross entropy": "cross_entropy"}


@dataclass(frozen=True)
class Demo:
    """Where the demonstration put everything."""

    evaluations: dict[str, Evaluation]
    classifier: Path
    predictions: Path
    metrics: Path
    report: Path


def run_demo(config: DemoConfig, *, say: Callable[[str], None]) -> Demo:
    """Draw a flora, train, evaluate and predict in ``config.out``.

    Every photo is embedded once, by the pretrained network that comes with taxonet; both heads,
    their evaluation and the predictions read what was stored. What an interrupted demonstration
    had finished is kept, and a training goes on where it was.

    Args:
        config: Folder, seed and epochs.
        say: Tells the user what happens next.
    """
    out = config.out
    say("1/4  Drawing a flora: invented plants of invented families, most species rare.")
    _draw(out / "flora", demo_flora(config.seed))
    evaluations = {}
    for step, (name, recipe) in enumerate(_RECIPES.items(), start=2):
        say(f"{step}/4  Training and evaluating {name} (recipe {recipe}).")
        classifier = _trained(config, recipe)
        evaluations[name] = evaluate(
            EvaluateConfig(
                classifier=classifier,
                images=out / "flora" / "images.csv",
                region=out / "flora" / "region.csv",
                unknown=out / "flora" / "unknown.csv",
                features=_features(out),
            ),
            show_progress=True,
        )
    say("4/4  Naming photos of the other region and of unknown plants, and writing the report.")
    subject = next(iter(_RECIPES.values()))
    _copy_folder(out / subject / "classifier", out / "classifier")
    metrics = {name: one.metrics for name, one in evaluations.items()}
    write_json(out / "metrics.json", metrics)
    write_html(
        evaluation_report(evaluations, title="taxonet on the procedural flora"),
        out / "report.html",
    )
    return Demo(
        evaluations=evaluations,
        classifier=out / "classifier",
        predictions=_predictions(out),
        metrics=out / "metrics.json",
        report=out / "report.html",
    )


def demo_flora(seed: int) -> FloraConfig:
    """Return the flora of the demonstration: few common species, many rare ones, large photos."""
    return FloraConfig(
        species=40,
        genera=16,
        families=6,
        image_size=160,
        train_images=150,
        test_images=12,
        calibration_images=12,
        unknown_species=10,
        unknown_images=15,
        seed=seed,
    )


def _features(out: Path) -> Path:
    return out / "features"


def _draw(folder: Path, config: FloraConfig) -> None:
    with Progress("drawing plants", len(make_flora(config).plan)) as progress:
        write_flora(folder, config, progress=lambda done, total: progress.advance())


def _trained(config: DemoConfig, recipe: str) -> Path:
    """Train, go on with an interrupted training, or keep a finished one of the same recipe."""
    run = config.out / recipe
    overrides = (f"epochs={config.epochs}", f"seed={config.seed}")
    same = (run / "recipe.yaml").is_file() and (
        load_recipe(run / "recipe.yaml") == with_input_of_weights(load_recipe(recipe, overrides))
    )
    if same and (run / "classifier").is_dir():
        return run / "classifier"
    resume = same and any((run / "checkpoints").glob("step-*"))
    # Never a folder that is no run: it may be the user's.
    if (run / "recipe.yaml").is_file() and not resume:
        shutil.rmtree(run)
    result = train(
        TrainConfig(
            images=config.out / "flora" / "images.csv",
            taxonomy=config.out / "flora" / "taxonomy.csv",
            out=run,
            features=_features(config.out),
            recipe=recipe,
            set=overrides,
            resume=resume,
        ),
        show_progress=True,
    )
    return result.classifier


def _predictions(out: Path) -> Path:
    """Name photos that the classifier never saw, from a list of paths."""
    photos = [
        name
        for table in ("region.csv", "unknown.csv")
        for name in open_images(out / "flora" / table).frame["image"]
    ]
    write_text(out / "flora" / "new_photos.txt", "".join(f"{name}\n" for name in photos))
    predictions = out / "predictions.csv"
    for old in (predictions, predictions.with_name("predictions.csv.partial")):
        old.unlink(missing_ok=True)
    predict_to_file(
        PredictConfig(
            classifier=out / "classifier",
            images=(str(out / "flora" / "new_photos.txt"),),
            out=predictions,
            features=_features(out),
        ),
        show_progress=True,
    )
    return predictions


def _copy_folder(source: Path, target: Path) -> None:
    with atomic_folder(target, replace=True) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)
