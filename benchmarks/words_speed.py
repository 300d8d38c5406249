"""How long a step of HMCF takes beside a step of cross entropy on the same image tower.

    python -m benchmarks.words_speed --data DATA --model clip:RN50 --batch 8
    python -m benchmarks.words_speed --data DATA --batch 64    # the small towers of the study

Both objectives are those of training, with random weights, on the same random photos of the taxa
of iNaturalist 2018 (DATA is the folder that holds ``trees/``). They take turns, and the fastest
step of each counts, in processor time: what else a machine does can only add to it. The paper's
appendix D prints 2.04 times the time, with 64 photos on a GPU.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from benchmarks.word_towers import write_model
from taxonet.data.classes import ClassIndex
from taxonet.data.table import ImageTable
from taxonet.models.clip_architecture import architecture_of
from taxonet.recipes import Recipe, load_recipe
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from taxonet.training.building import build
from taxonet.training.data import TrainingData
from taxonet.training.objectives import Objective, build_objective

Step = Callable[[], None]
_METHODS = {"CE": "hmcf/ce", "CE, all levels": "hmcf/ce-all-levels", "HMCF": "hmcf/hmcf"}


def training_data(tree: Taxonomy, *, photos: int) -> TrainingData:
    """Return a table of photos that are not there, each of another leaf of a tree."""
    leaves = generator("words speed").permutation(np.asarray(tree.leaves))[:photos]
    nodes = np.sort(leaves).astype(np.int64)
    names = [f"{place}.jpg" for place in range(photos)]
    frame = pd.DataFrame({"image": names, "taxon": names, "split": "train"})
    return TrainingData(ImageTable(frame), tree, nodes, ClassIndex.from_nodes(nodes))


def step_of(recipe: Recipe, data: TrainingData, images: torch.Tensor) -> Step:
    """Return one step of training: forward, backward, and the move of the weights."""
    network, loss = build(recipe, data)
    objective: Objective = build_objective(
        recipe, network, loss, data=data, accelerator=Accelerator(cpu=True)
    )
    objective.train()
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-5)
    target = torch.arange(len(images)) % len(data.classes)

    def step() -> None:
        optimiser.zero_grad()
        key = ("speed", 0, 0, 0, 0)
        output = objective(images, target, torch.zeros_like(target), keep=len(images), key=key)
        output.loss.backward()
        optimiser.step()

    return step


def fastest(steps: dict[str, Step], *, repeats: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, run in steps.items():
            start = process_time()
            run()
            times[name].append(process_time() - start)
    return {name: min(of_step) for name, of_step in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds trees/")
    parser.add_argument("--model", help="a CLIP model; the small towers of the study if left out")
    parser.add_argument("--batch", type=int, default=16, help="photos of a batch")
    parser.add_argument("--taxa", type=int, default=1000, help="species among the photos")
    parser.add_argument("--repeats", type=int, default=5, help="steps, the fastest of which counts")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = options.model or write_model(Path("runs/words_speed/tower.json"))
    size = architecture_of(model).input_size[0]
    changes = (
        f"model.backbone={model}",
        "model.weights=none",
        f"model.image_size={size}",
    )
    tree = Taxonomy.from_edges(options.data / "trees" / "inat18.csv")
    data = training_data(tree, photos=options.taxa)
    images = torch.randint(256, (options.batch, 3, size, size), dtype=torch.uint8)
    steps = {
        name: step_of(load_recipe(recipe, changes), data, images)
        for name, recipe in _METHODS.items()
    }
    taken = fastest(steps, repeats=options.repeats)
    name = options.model or "small towers"
    print(f"{name}, {size} pixels, batch {options.batch}, {options.taxa} species")
    print("| method | s a step | steps a second | times CE |")
    print("|---|---|---|---|")
    for method, seconds in taken.items():
        ratio = seconds / taken["CE"]
        print(f"| {method} | {seconds:.2f} | {1 / seconds:.3f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
