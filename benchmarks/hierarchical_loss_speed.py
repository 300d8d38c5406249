"""How long hierarchical losses take, forward and backward, beside cross entropy over the leaves.

Times are given as ratios to the flat cross entropy of the same run, so that they compare across
machines. The losses take turns, and the fastest run of each counts, in processor time: what else
a machine does can only add to it. Run with ``--data``, the folder that holds ``trees/``.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from time import process_time

import torch
from torch import Tensor
from torch.nn import functional as F

from taxonet.losses.hierarchical import (
    ConditionalSigmoidLoss,
    ConditionalSoftmaxLoss,
    DescendantSoftmaxLoss,
    FlatSoftmaxLoss,
    HierarchicalCrossEntropyLoss,
    HierarchicalLoss,
    LevelwiseCrossEntropyLoss,
    LevelwiseMarginLoss,
    MultilabelFocalLoss,
    ParameterSharingSoftmaxLoss,
    RandomCutLoss,
    SoftLabelLoss,
    SoftMaxMarginLoss,
)
from taxonet.taxonomy import Taxonomy

Step = Callable[[], object]


def all_losses(tree: Taxonomy) -> dict[str, tuple[float, HierarchicalLoss]]:
    """Return each loss and how many times the flat cross entropy it may take."""
    counts = torch.zeros(len(tree), dtype=torch.int64)
    counts[torch.tensor(tree.leaves)] = 10
    return {
        "flat softmax": (3, FlatSoftmaxLoss(tree)),
        "soft labels": (3, SoftLabelLoss(tree)),
        "level-wise": (3, LevelwiseCrossEntropyLoss(tree)),
        "PS softmax": (3, ParameterSharingSoftmaxLoss(tree)),
        "soft-max-margin, edge": (3, SoftMaxMarginLoss(tree)),
        "soft-max-margin, information": (3, SoftMaxMarginLoss(tree, margin="information")),
        "descendant softmax, root": (3, DescendantSoftmaxLoss(tree)),
        "descendant softmax, cousin": (10, DescendantSoftmaxLoss(tree, form="cousin")),
        "HXE": (10, HierarchicalCrossEntropyLoss(tree)),
        "conditional softmax": (10, ConditionalSoftmaxLoss(tree)),
        "conditional sigmoid": (10, ConditionalSigmoidLoss(tree)),
        "multilabel focal": (10, MultilabelFocalLoss(tree)),
        "random cut": (10, RandomCutLoss(tree)),
        "level-wise DBM": (10, LevelwiseMarginLoss(tree, counts, options={"base": "bs"})),
    }


def flat_step(tree: Taxonomy, target: Tensor) -> Step:
    scores = torch.randn(len(target), len(tree.leaves), requires_grad=True)
    return lambda: torch.autograd.grad(F.cross_entropy(scores, target), scores)


def step(loss: HierarchicalLoss, nodes: Tensor) -> Step:
    scores = torch.randn(len(nodes), loss.columns).clamp(-1, 1).requires_grad_()
    return lambda: torch.autograd.grad(loss(scores, nodes), scores)


def fastest(steps: dict[str, Step], *, repeats: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, run in steps.items():
            run()  # what another loss left in the caches is not this one's
            start = process_time()
            run()
            times[name].append(process_time() - start)
    return {name: min(of_step) for name, of_step in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds trees/")
    parser.add_argument("--repeats", type=int, default=15, help="runs, of which the fastest counts")
    parser.add_argument("--batch", type=int, default=64, help="images of a batch")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    tree = Taxonomy.from_edges(options.data / "trees" / "inat18.csv")
    target = torch.randint(len(tree.leaves), (options.batch,))
    losses = all_losses(tree)
    nodes = torch.tensor(tree.leaves)[target]
    steps = {name: step(loss, nodes) for name, (_, loss) in losses.items()}
    taken = fastest({"flat": flat_step(tree, target), **steps}, repeats=options.repeats)
    print(f"{len(tree):,} nodes, batch {options.batch}, flat {1e3 * taken['flat']:.2f} ms")
    print("| loss | ms | times flat cross entropy | at most |")
    print("|---|---|---|---|")
    for name, (most, _) in losses.items():
        ratio = taken[name] / taken["flat"]
        print(f"| {name} | {1e3 * taken[name]:.2f} | {ratio:.1f} | {most} |")


if __name__ == "__main__":
    main()
