"""`taxonet train`."""

import sys

from taxonet.cli.screen import say
from taxonet.recipes.verbs import TrainConfig


def run(config: TrainConfig) -> None:
    """Train, and say where the classifier is and what to know about it."""
    from taxonet.training import Interrupted, train

    try:
        result = train(config, show_progress=True)
    except Interrupted:
        say(
            f"Stopped and saved. The same command with --resume goes on where it was; the run is "
            f"in {config.out}."
        )
        sys.exit(130)
    if not result.is_main:
        return
    recall = result.val_macro_recall
    if recall is not None:
        say(f"Kept epoch {result.kept_epoch}: macro recall {recall:.1%} on the validation photos.")
    for note in result.notes:
        say(note)
    if result.broken:
        say(f"Skipped {len(result.broken)} unreadable photos: {result.folder / 'broken.json'}")
    print(result.classifier)  # noqa: T201 - the result, for a pipe
