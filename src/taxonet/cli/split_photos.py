"""`taxonet data split`."""

from taxonet.cli.screen import say
from taxonet.recipes.verbs import SplitConfig


def run(config: SplitConfig) -> None:
    """Divide photos and write the manifest."""
    from taxonet.data import images_of_taxa, open_images, split_images
    from taxonet.errors import ConfigError

    if config.out.exists():
        raise ConfigError(f"{config.out} exists already. Remove it or choose another --out.")
    images = open_images(config.images)
    held_out = None
    if config.hold_out_taxa:
        # It needs torch, which takes a while to import.
        from taxonet.training.data import open_taxonomy

        held_out = images_of_taxa(images, open_taxonomy(config, images), config.hold_out_taxa)
    table = split_images(images, fractions=config.fractions, seed=config.seed, held_out=held_out)
    table.save(config.out)
    counts = ", ".join(f"{name} {count}" for name, count in table.split_counts().items())
    say(f"{len(table)} photos: {counts}.")
    print(config.out)  # noqa: T201 - the result, for a pipe
