"""`taxonet embed`."""

import sys

from taxonet.cli.screen import say
from taxonet.recipes.verbs import EmbedConfig


def run(config: EmbedConfig) -> None:
    """Write embeddings; exit code 1 where photos were unreadable."""
    from taxonet.classifier import embed_photos

    found = embed_photos(config, show_progress=True)
    if found.out.is_dir():
        # A store has no names of photos, so that this is the place where one finds them.
        for name, reason in found.broken:
            say(f"{name}: {reason}")
        say(
            f"{found.images} photos: {found.embedded} were embedded now, {len(found.broken)} are "
            "unreadable. The others were stored already, or occur twice."
        )
    else:
        say(
            f"{found.images} photos, {len(found.broken)} unreadable (the reason is in the column "
            "`error`)."
        )
    print(found.out)  # noqa: T201 - the result, for a pipe
    if found.broken:
        sys.exit(1)
