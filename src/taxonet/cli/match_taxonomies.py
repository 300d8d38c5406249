"""`taxonet data match`."""

from taxonet.cli.screen import say
from taxonet.recipes.verbs import MatchConfig


def run(config: MatchConfig) -> None:
    """Compare two taxonomies and write a row for every label of the other one."""
    from taxonet.errors import ConfigError
    from taxonet.taxonomy import Synonyms, Taxonomy, compare_taxonomies
    from taxonet.taxonomy.writers import write_frame

    if config.out.suffix != ".csv":
        raise ConfigError(f"The matches are written as CSV; {config.out} does not end in .csv.")
    if config.out.exists():
        raise ConfigError(f"{config.out} exists already. Remove it or choose another --out.")
    taxonomy, other = (
        Taxonomy.from_file(path, ranks=config.ranks or None)
        for path in (config.taxonomy, config.other)
    )
    synonyms = None if config.synonyms is None else Synonyms.from_table(config.synonyms)
    found = compare_taxonomies(taxonomy, other, synonyms=synonyms)
    write_frame(found.to_frame(), config.out)
    say(str(found))
    say(f"Next: taxonet evaluate ... --region PHOTOS --taxon-map {config.out}")
    print(config.out)  # noqa: T201 - the result, for a pipe
