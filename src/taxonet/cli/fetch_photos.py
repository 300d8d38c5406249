"""`taxonet data fetch`."""

from pathlib import Path

from taxonet.cli.screen import say
from taxonet.recipes.verbs import FetchConfig


def run(config: FetchConfig) -> None:
    """Say what would be downloaded from where; with --yes, download it."""
    from taxonet.data.fetching import describe, fetch, from_mirror, only, remote_set
    from taxonet.errors import ConfigError

    out = Path("benchmarks") / config.name if config.out is None else config.out
    chosen = only(remote_set(config.name), config.only)
    if config.url is not None:
        chosen = from_mirror(chosen, config.url)
    for line in describe(chosen, out):
        say(line)
    if not config.yes:
        raise ConfigError(
            "Nothing was downloaded. The same command with --yes accepts the terms and downloads."
        )
    fetch(chosen, out, show_progress=True)
    say(f"Next: taxonet data import {config.name} {out} (see docs/benchmark-data.md)")
    print(out)  # noqa: T201 - the result, for a pipe
