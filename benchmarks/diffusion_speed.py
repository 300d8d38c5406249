"""How long the exact limit of diffusion takes, beside one dense product and one copy.

Times are compared as ratios within one run, in which the contestants take turns, so that they
compare across machines. Run with ``--data``, the folder that holds ``trees/``. The second tree's
batch is smaller, so that the scores take about as much memory: beyond that, a copy itself spends
its time on getting memory from the system. The compiled pass gives 8 images to a thread, so a
machine of many processors sees the second tree on two of them.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from taxonet.inference.diffusion import diffuse
from taxonet.inference.elimination import eliminate_by_levels, elimination
from taxonet.taxonomy import Taxonomy

ALPHA = 0.3


def shortest_in_turns(
    contestants: Mapping[str, Callable[[], object]], *, repeats: int
) -> dict[str, float]:
    """Return the shortest run of each in seconds: what disturbs a run only makes it longer.

    Each runs once unmeasured before, so that none starts with another's caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, work in contestants.items():
            work()
            start = perf_counter()
            work()
            seconds[name].append(perf_counter() - start)
    return {name: min(times) for name, times in seconds.items()}


def contestants_for(taxonomy: Taxonomy, scores: Tensor) -> dict[str, Callable[[], object]]:
    multipliers = elimination(taxonomy, ALPHA, scores.dtype, scores.device)
    return {
        "copy": scores.clone,
        "diffuse": lambda: diffuse(scores, taxonomy, alpha=ALPHA),
        "plain": lambda: eliminate_by_levels(scores, multipliers),
    }


def row(name: str, scores: Tensor, seconds: Mapping[str, float]) -> str:
    copy, fast, plain = (seconds[key] for key in ("copy", "diffuse", "plain"))
    dense = seconds.get("dense")
    cells = [
        name,
        f"{scores.shape[1]:,}",
        str(len(scores)),
        f"{1e3 * copy:.2f}",
        f"{1e3 * dense:.0f}" if dense else "-",
        f"{1e3 * fast:.2f}",
        f"{1e3 * plain:.2f}",
        f"{fast / copy:.1f}",
        f"{dense / fast:.0f}" if dense else "-",
        f"{dense / plain:.0f}" if dense else "-",
        f"{1e9 * fast / scores.numel():.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds trees/")
    parser.add_argument(
        "--repeats", type=int, default=15, help="rounds, of which the shortest counts"
    )
    parser.add_argument("--batch", type=int, default=256, help="images at once on the first tree")
    options = parser.parse_args()
    trees = options.data / "trees"
    print(
        "| tree | nodes | batch | copy ms | dense ms | diffuse ms | plain ms | diffuse/copy "
        "| dense/diffuse | dense/plain | ns a node and image |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    inat = Taxonomy.from_edges(trees / "inat18.csv")
    plants = Taxonomy.from_table(trees / "plant_list_accepted.csv.gz")
    scores = torch.rand(options.batch, len(inat))
    matrix = torch.rand(len(inat), len(inat))
    with_dense = contestants_for(inat, scores) | {"dense": lambda: scores @ matrix}
    print(row("inat18.csv", scores, shortest_in_turns(with_dense, repeats=options.repeats)))
    same_memory = 8 * -(-scores.numel() // (8 * len(plants)))  # whole blocks of 8
    many = torch.rand(same_memory, len(plants))
    seconds = shortest_in_turns(contestants_for(plants, many), repeats=options.repeats)
    print(row("plant_list_accepted.csv.gz", many, seconds))


if __name__ == "__main__":
    main()
