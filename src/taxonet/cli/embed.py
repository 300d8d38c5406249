"""`taxonet embed`."""

import sys

from taxonet.cli.screen import say
from taxonet.recipes.verbs import EmbedConfig


def run(config: EmbedConfig) -> None:
    """Write embeddings; exit code 1 where photos were unreadable."""
    from taxonet.classifier import embed_to_file

    images, unreadable = embed_to_file(config, show_progress=True)
    say(f"{images} photos, {unreadable} unreadable (the reason is in the column `error`).")
    print(config.out)  # noqa: T201 - the result, for a pipe
    if unreadable:
        sys.exit(1)
