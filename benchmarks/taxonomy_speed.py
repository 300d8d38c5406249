"""How long a taxonomy takes to build, and a million lowest common ancestors to find.

Times are given as ratios to reading the same file with pandas in the same run, so that they
compare across machines. Run with ``--data``, the folder that holds ``trees/``.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import pandas as pd

from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy

PAIRS = 1_000_000


def median_seconds(work: Callable[[], object], *, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times)


def measure(path: Path, build: Callable[[Path], Taxonomy], *, repeats: int) -> str:
    taxonomy = build(path)
    read = median_seconds(lambda: pd.read_csv(path, dtype=str), repeats=repeats)
    built = median_seconds(lambda: build(path), repeats=repeats)
    a, b = generator("taxonomy speed").integers(0, len(taxonomy), (2, PAIRS))
    # Levels and jumps are made with the first call and stay with the taxonomy.
    lca = median_seconds(lambda: taxonomy.lca(a, b), repeats=repeats)
    return (
        f"| {path.name} | {len(taxonomy):,} | {read:.3f} | {built:.3f} | {built / read:.1f} "
        f"| {lca:.3f} | {lca / read:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds trees/")
    parser.add_argument("--repeats", type=int, default=5, help="runs, of which the median counts")
    options = parser.parse_args()
    trees = options.data / "trees"
    print("| file | nodes | pandas read s | build s | build/read | 1M lca s | lca/read |")
    print("|---|---|---|---|---|---|---|")
    print(measure(trees / "inat18.csv", Taxonomy.from_edges, repeats=options.repeats))
    plants = trees / "plant_list_accepted.csv.gz"
    print(measure(plants, Taxonomy.from_table, repeats=options.repeats))


if __name__ == "__main__":
    main()
