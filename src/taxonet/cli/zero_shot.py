"""`taxonet zero-shot`."""

from taxonet.cli.screen import say
from taxonet.recipes.verbs import ZeroShotConfig


def run(config: ZeroShotConfig) -> None:
    """Make a classifier from names, and say where it is and what it lacks."""
    from taxonet.training import zero_shot

    result = zero_shot(config, show_progress=True)
    for note in result.notes:
        say(note)
    say(
        f"It names {result.taxa} taxa and has no thresholds yet: `taxonet calibrate "
        f"{result.classifier} PHOTOS` sets them with labelled photos."
    )
    print(result.classifier)  # noqa: T201 - the result, for a pipe
