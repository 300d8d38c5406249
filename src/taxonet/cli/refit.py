"""`taxonet refit`."""

from taxonet.cli.screen import say
from taxonet.recipes.verbs import RefitConfig


def run(config: RefitConfig) -> None:
    """Fit a new head, and say where the new classifier is."""
    from taxonet.training import refit

    result = refit(config, show_progress=True)
    for note in result.notes:
        say(note)
    print(result.classifier)  # noqa: T201 - the result, for a pipe
