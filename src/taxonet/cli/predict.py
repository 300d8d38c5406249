"""`taxonet predict`."""

import sys

from taxonet.cli.screen import say
from taxonet.recipes.verbs import PredictConfig


def run(config: PredictConfig) -> None:
    """Name photos into a file; exit code 1 where photos were unreadable."""
    from taxonet.classifier import predict_to_file

    try:
        summary = predict_to_file(config, show_progress=True)
    except KeyboardInterrupt:
        say("Stopped. The rows written so far are kept: --resume goes on after them.")
        raise
    for note in summary.notes:
        say(note)
    if summary.resumed_from:
        say(f"Went on after {summary.resumed_from} photos.")
    say(
        f"{summary.images} photos: {summary.unknown} called unknown, {summary.unreadable} "
        "unreadable (the reason is in the column `error`)."
    )
    say(f"Promise: {summary.promise}.")
    print(summary.out)  # noqa: T201 - the result, for a pipe
    if summary.unreadable:
        sys.exit(1)
