"""`taxonet decide`."""

from taxonet.cli.screen import say
from taxonet.recipes.verbs import DecideConfig


def run(config: DecideConfig) -> None:
    """Name photos anew from their scores, and say what that promises."""
    from taxonet.classifier import decide_from_file

    summary = decide_from_file(config)
    say(f"{summary.images} photos, {summary.named} named. Promise: {summary.promise}.")
    print(summary.out)  # noqa: T201 - the result, for a pipe
