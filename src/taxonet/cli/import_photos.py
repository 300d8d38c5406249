"""`taxonet data import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from taxonet.cli.screen import say
from taxonet.recipes.verbs import ImportConfig

if TYPE_CHECKING:
    from taxonet.data.benchmarks import BenchmarkSet


def run(config: ImportConfig) -> None:
    """Read and check the set, then write its manifest and its taxonomy."""
    import taxonet.data.benchmarks  # noqa: F401 - the readers register themselves
    from taxonet.registry import BENCHMARK_SETS

    reader = BENCHMARK_SETS.get(config.name)
    options = BENCHMARK_SETS.check(config.name, config.options)
    if config.out is not None:
        _require_new(config.out)
    found: BenchmarkSet = reader(config.folder, **options)
    suffix = "csv" if found.images.blobs is None else "parquet"
    out = Path(f"{config.name}.{suffix}") if config.out is None else config.out
    _require_new(out)
    if found.taxonomy is not None:
        _require_new(out.with_name("taxonomy.csv"))
    found.images.save(out)
    for note in found.images.notes:
        say(note)
    counts = ", ".join(f"{name} {count:,}" for name, count in found.images.split_counts().items())
    say(f"{len(found.images):,} photos of {len(found.images.taxon_counts()):,} classes: {counts}.")
    say(f"Next: taxonet train {out}{_write_taxonomy(found, out)} --out runs/{config.name}")
    print(out)  # noqa: T201 - the result, for a pipe


def _require_new(path: Path) -> None:
    from taxonet.errors import ConfigError

    if path.exists():
        raise ConfigError(f"{path} exists already. Remove it or choose another --out.")


def _write_taxonomy(found: BenchmarkSet, out: Path) -> str:
    """Write the taxonomy beside the manifest and return the options that name it."""
    from taxonet.files import atomic_file

    if found.taxonomy is None:
        return ""
    path = out.with_name("taxonomy.csv")
    with atomic_file(path) as temporary:
        found.taxonomy.to_csv(temporary, index=False, lineterminator="\n")
    ranks = "".join(f" --ranks {rank}" for rank in found.ranks)
    return f" --taxonomy {path}{ranks}"
