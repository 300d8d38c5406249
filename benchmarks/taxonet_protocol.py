"""What a training step of TaxoNet's own protocol takes: ResNet-101 at 614 x 512, batches of 32 + 8.

    python -m benchmarks.taxonet_protocol

Measures steps of 2 + 1 and 4 + 2 images, each in a process of its own, and extends peak memory and
time to the whole batch, linearly in the number of images. The weights are random ones of the
architecture, read from a file as the protocol reads those of ImageNet.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from taxonet.recipes import Recipe, load_recipe
from taxonet.training.building import build
from taxonet.training.data import TrainingData, flat_taxonomy, open_training_data
from taxonet.training.objectives import ClassificationObjective
from taxonet.training.updates import build_optimiser

_STEPS = ((2, 1), (4, 2))
_WHOLE = (32, 8)


def protocol(weights: Path) -> Recipe:
    """Return the recipe of the paper's rows, with the backbone's weights in a file."""
    return load_recipe("protocol/taxonet,taxonet", [f"model.weights={weights}"])


def some_taxa(count: int = 20) -> TrainingData:
    from taxonet.data.table import ImageTable

    taxa = [f"taxon {one}" for one in range(count) for _ in range(1 + 10 * (one % 2))]
    names = [f"{row}.jpg" for row in range(len(taxa))]
    table = ImageTable(pd.DataFrame({"image": names, "taxon": taxa, "split": "train"}))
    return open_training_data(table, flat_taxonomy(table), seed=0, val_share=0, calibration_share=0)


def write_random_weights(path: Path) -> None:
    """Write weights of the protocol's architecture, as a file of ImageNet's would hold them."""
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("resnet101", num_classes=0).state_dict(), path)


def one_step(weights: Path, batch: int, extra: int) -> dict[str, float]:
    """Take one update, with norm-guided selection of ``batch`` of ``batch + extra`` images."""
    recipe, data = protocol(weights), some_taxa()
    network, loss = build(recipe, data)
    objective = ClassificationObjective(network, loss, selection=recipe.selection).train()
    optimiser = build_optimiser(objective, recipe.optimiser)
    rng = np.random.default_rng(0)
    shape = (batch + extra, 3, *recipe.model.input_size)
    images = torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
    target = torch.arange(batch + extra) % len(data.classes)
    part = torch.tensor([0] * batch + [1] * extra)
    start = time.perf_counter()
    output = objective(images, target, part, keep=batch, key=("step", 0))
    output.loss.backward()
    optimiser.step()
    assert output.images == batch
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"bytes": peak, "seconds": time.perf_counter() - start, "loss": output.loss.item()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--step", type=int, nargs=2, help="one step of that many images")
    parser.add_argument("--weights", type=Path, help="file of the backbone's weights")
    options = parser.parse_args()
    if options.step:
        print(json.dumps(one_step(options.weights, *options.step)))
        return
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "resnet101.safetensors"
        write_random_weights(weights)
        found = []
        for step in _STEPS:
            words = [*map(str, step), "--weights", str(weights)]
            command = [sys.executable, "-m", "benchmarks.taxonet_protocol", "--step", *words]
            ran = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append((sum(step), json.loads(ran.stdout)))
            print(f"{step[0]} + {step[1]} images: {_said(found[-1][1])}")
    (few, small), (more, large) = found
    whole = {
        key: large[key] + (large[key] - small[key]) / (more - few) * (sum(_WHOLE) - more)
        for key in ("bytes", "seconds")
    }
    print(f"{_WHOLE[0]} + {_WHOLE[1]} images, extended: {_said(whole)}")


def _said(figures: dict[str, float]) -> str:
    return f"{figures['bytes'] / 1e9:.1f} GB at most, {figures['seconds']:.0f} s"


if __name__ == "__main__":
    main()
