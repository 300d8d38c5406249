"""The tree of verbs, and how errors reach the user."""

import os
import sys
from typing import Annotated

import typer

from taxonet.cli import (
    analyse,
    benchmark_chat,
    calibrate,
    decide,
    demo,
    doctor,
    draw_flora,
    embed,
    evaluate,
    fetch_photos,
    fit_diffusion,
    import_photos,
    inspect_photos,
    listing,
    match_taxonomies,
    predict,
    refit,
    split_photos,
    train,
    zero_shot,
)
from taxonet.cli.draw_flora import FloraVerb
from taxonet.cli.options import verb
from taxonet.cli.screen import say
from taxonet.errors import ConfigError, TaxonetError
from taxonet.recipes.verbs import (
    AnalyseConfig,
    CalibrateConfig,
    ChatConfig,
    DecideConfig,
    DemoConfig,
    EmbedConfig,
    EvaluateConfig,
    FetchConfig,
    FitDiffusionConfig,
    ImportConfig,
    InspectConfig,
    MatchConfig,
    PredictConfig,
    RefitConfig,
    SplitConfig,
    TrainConfig,
    ZeroShotConfig,
)
from taxonet.version import __version__

_RAN_BUT_BAD_INPUT, _USAGE = 1, 2

app = typer.Typer(
    name="taxonet",
    help="Names species from photos: right about rare ones, aware of the taxonomy, honest about "
    "the unknown.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
data = typer.Typer(
    help="Look at photos, split them, match taxonomies, draw a flora, or bring in a public "
    "benchmark set.",
    no_args_is_help=True,
)
app.add_typer(data, name="data")
benchmark = typer.Typer(
    help="Judge other ways to name photos beside a classifier.", no_args_is_help=True
)
app.add_typer(benchmark, name="benchmark")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"taxonet {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options of taxonet itself; the verbs do the work."""


data.command("inspect")(verb(InspectConfig, inspect_photos.run))
data.command("split")(verb(SplitConfig, split_photos.run))
data.command("match")(verb(MatchConfig, match_taxonomies.run))
data.command("flora")(verb(FloraVerb, draw_flora.run))
data.command("fetch")(verb(FetchConfig, fetch_photos.run))
data.command("import")(verb(ImportConfig, import_photos.run))
app.command("train")(verb(TrainConfig, train.run))
app.command("refit")(verb(RefitConfig, refit.run))
app.command("fit-diffusion")(verb(FitDiffusionConfig, fit_diffusion.run))
app.command("evaluate")(verb(EvaluateConfig, evaluate.run))
app.command("analyse")(verb(AnalyseConfig, analyse.run))
app.command("zero-shot")(verb(ZeroShotConfig, zero_shot.run))
app.command("calibrate")(verb(CalibrateConfig, calibrate.run))
app.command("predict")(verb(PredictConfig, predict.run))
app.command("decide")(verb(DecideConfig, decide.run))
app.command("embed")(verb(EmbedConfig, embed.run))
benchmark.command("chat")(verb(ChatConfig, benchmark_chat.run))
app.command("list")(listing.run)
app.command("doctor")(doctor.run)
app.command("demo")(verb(DemoConfig, demo.run))


def main() -> None:
    """Run the command line; errors are for the user, with a next step and no traceback.

    Exit code 0: done. 1: it ran and found bad input. 2: the call itself is wrong. 130: Ctrl-C,
    for which typer cares.
    """
    # Torch's threads spin while they wait. Beside any other program that needs a processor, a
    # spinning thread holds up the one it waits for, and training gets many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(prog_name="taxonet")  # also under `python -m taxonet`
    except ConfigError as error:
        say(f"Error: {error}")
        sys.exit(_USAGE)
    except (TaxonetError, OSError) as error:
        say(f"Error: {error}")
        sys.exit(_RAN_BUT_BAD_INPUT)
