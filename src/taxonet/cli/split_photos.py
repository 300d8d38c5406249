"""`taxonet data split`."""

from taxonet.cli.screen import say
from taxonet.recipes.verbs import SplitConfig


def run(config: SplitConfig) -> None:
    """Divide photos and write the manifest."""
    from taxonet.data import open_images, split_images
    from taxonet.errors import ConfigError

    if config.out.exists():
        raise ConfigError(f"{config.out} exists already. Remove it or choose another --out.")
    images = open_images(config.images)
    table = split_images(images, fractions=config.fractions, seed=config.seed)
    table.save(config.out)
    counts = ", ".join(f"{name} {count}" for name, count in table.split_counts().items())
    say(f"{len(table)} photos: {counts}.")
    print(config.out)  # noqa: T201 - the result, for a pipe
