"""`taxonet calibrate`."""

from taxonet.cli.screen import say
from taxonet.recipes.verbs import CalibrateConfig


def run(config: CalibrateConfig) -> None:
    """Set thresholds and a policy; say what they promise and where the new classifier is."""
    from taxonet.training import recalibrate

    result = recalibrate(config, show_progress=True)
    for note in result.notes:
        say(note)
    say(f"{result.images} calibration photos. Promise: {result.promise}.")
    print(result.classifier)  # noqa: T201 - the result, for a pipe
