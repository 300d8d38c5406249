"""How long all seven hierarchical metrics take on as many images and nodes as iNaturalist 2018.

Probabilities are drawn batch by batch and not kept. The time of an image is compared in the same
run with two slow ways over a few images: the obvious one, which sorts the nodes of each image with
NumPy and judges its steps one image at a time, and the literal loops the tests trust. Processor
time counts, so that busy neighbours do not. Run with ``--data``, the folder that holds ``trees/``.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from taxonet.metrics import OperatingCurve, hierarchical_agreement
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import class_to_node_probs
from tests.reference import hierarchical_metrics as literal

IMAGES = 24_426
BATCH = 256


class Batch(NamedTuple):
    """Node probabilities ``(B, n)`` and the true leaves ``(B,)``."""

    probs: NDArray[np.float32]
    truth: NDArray[np.int64]


def batches(taxonomy: Taxonomy, images: int) -> Iterator[Batch]:
    """Draw images of a classifier that is right about three times in four and rarely sure."""
    leaves = taxonomy.leaves
    genus = np.unique(taxonomy.parent[leaves], return_inverse=True)[1]
    for start in range(0, images, BATCH):
        rng = generator("operating curve speed", start)
        rows = np.arange(min(BATCH, images - start))
        target = rng.integers(len(leaves), size=len(rows))
        logits = rng.standard_normal((len(rows), len(leaves)), dtype=np.float32)
        logits += 3 * (genus[target][:, None] == genus)
        logits[rows, target] += rng.normal(2.5, 2, len(rows))
        likely = torch.from_numpy(1.5 * logits).softmax(dim=1)
        probs = class_to_node_probs(taxonomy, leaves, likely)
        yield Batch(probs.numpy(), leaves[target])


def package_seconds(taxonomy: Taxonomy, images: int) -> tuple[float, dict[str, float]]:
    seconds = 0.0
    curve = OperatingCurve(taxonomy)
    for probs, truth in batches(taxonomy, images):
        start = process_time()
        curve.update(probs, truth)
        seconds += process_time() - start
    start = process_time()
    metrics = curve.compute().metrics
    return seconds + process_time() - start, metrics


def obvious_seconds(taxonomy: Taxonomy, batch: Batch) -> float:
    """Time what a curve needs of each image, an image at a time; the sweep is not counted."""
    children = np.bincount(taxonomy.parent[1:], minlength=taxonomy.size)
    nameable = np.flatnonzero(children != 1)
    specificity = -taxonomy.leaf_count
    start = process_time()
    for row, truth in zip(*batch, strict=True):
        nodes = nameable[np.lexsort((-specificity[nameable], -row[nameable]))]
        best = np.maximum.accumulate(specificity[nodes])
        steps = nodes[np.flatnonzero(np.diff(best, prepend=-np.inf))]
        likely = nameable[row[nameable] > 0.5]
        majority = likely[specificity[likely].argmax()]
        leaf = taxonomy.leaves[row[taxonomy.leaves].argmax()]
        named = np.concatenate([steps, [majority, leaf]])
        hierarchical_agreement(named, np.full(len(named), truth), taxonomy)
    return process_time() - start


def literal_seconds(taxonomy: Taxonomy, batch: Batch) -> float:
    """Time the loops of the tests over the sequences, their figures, and the other three."""
    tree = literal.Tree(taxonomy.parent.tolist(), "information")
    rows, targets = batch.probs.tolist(), batch.truth.tolist()
    start = process_time()
    for row, truth in zip(rows, targets, strict=True):
        nodes = [node for _, node in literal.pareto_sequence(tree, row, None)]
        for node in (*nodes, literal.majority_node(tree, row), literal.best_leaf(tree, row)):
            tree.f1(node, truth)
    return process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds trees/")
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--slow-images", type=int, default=100, help="images of the slow ways")
    options = parser.parse_args()
    taxonomy = Taxonomy.from_edges(options.data / "trees" / "inat18.csv")
    slow = next(batches(taxonomy, options.slow_images))
    taxonomy.lca(0, 0)  # levels and jumps are made with the first call
    obvious = obvious_seconds(taxonomy, slow) / len(slow.truth)
    loops = literal_seconds(taxonomy, slow) / len(slow.truth)
    seconds, metrics = package_seconds(taxonomy, options.images)
    each = seconds / options.images
    print(", ".join(f"{name} {100 * value:.2f}" for name, value in metrics.items()))
    print()
    print("| way | images | nodes | ms an image | times the package |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, images, time in (
        ("`OperatingCurve`, all seven metrics", options.images, each),
        ("NumPy, an image at a time", len(slow.truth), obvious),
        ("literal loops", len(slow.truth), loops),
    ):
        print(f"| {name} | {images:,} | {len(taxonomy):,} | {1e3 * time:.4f} | {time / each:.0f} |")


if __name__ == "__main__":
    main()
