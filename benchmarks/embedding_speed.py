"""How fast photos are embedded and named, beside a plain loop of PyTorch and timm.

    python -m benchmarks.embedding_speed
    python -m benchmarks.embedding_speed --backbone resnet50 --weights none --batch-size 64

The plain loop is a ``DataLoader`` with timm's evaluation transform and the same network in the same
memory format; size, batch size, threads and reading processes are the same. The loops take turns in
one run, on JPEGs of 500 x 375 pixels that the benchmark makes itself; a ratio above 1 says that
taxonet is faster. taxonet's embedding fills a new feature store, which includes the digests of all
photos; its prediction names photos at every rank, where the plain loop has the best class alone.

The highest memory of each loop is that of a process of its own, after it has done nothing else.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from taxonet.classifier import (
    Calibration,
    ClassifierParts,
    Embedder,
    TaxonClassifier,
    preprocessing_of,
)
from taxonet.classifier.model_input import with_input_of_weights
from taxonet.devices import pick_batch_size
from taxonet.models import build_network
from taxonet.recipes import ModelRecipe, PartChoice, Recipe
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy

SPECIES = 200
WIDTH, HEIGHT = 500, 375
_LOOPS = ("plain embedding", "taxonet embedding", "plain prediction", "taxonet prediction")


def write_photos(folder: Path, number: int) -> list[Path]:
    """Write JPEGs with as much detail as photos of plants have, about 60 kB each."""
    folder.mkdir(parents=True)
    paths = []
    for place in range(number):
        rng = generator("embedding speed", place)
        coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3)).astype(np.uint8))
        pixels = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=int)
        noisy = pixels + rng.integers(-12, 13, pixels.shape)
        paths.append(folder / f"{place:05}.jpg")
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


class Photos(Dataset[Tensor]):
    """The photos of the plain loop."""

    def __init__(self, paths: list[Path], transform: Callable[[Image.Image], Tensor]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Tensor:
        with Image.open(self.paths[place]) as photo:
            return self.transform(photo.convert("RGB"))


@dataclass
class Contest:
    """The four loops over the same photos.

    Args:
        paths: The photos.
        model: Backbone, weights and input size.
        batch_size: Photos per forward pass.
        workers: Reading processes.
        device: Where to compute.
    """

    paths: list[Path]
    model: ModelRecipe
    batch_size: int
    workers: int
    device: torch.device

    @cached_property
    def classifier(self) -> TaxonClassifier:
        """A classifier of random head and tree."""
        model = self.model
        network = build_network(
            backbone=model.backbone, weights=model.weights, head="linear", classes=SPECIES, seed=0
        )
        names = [(f"F{k // 40}", f"G{k // 5}", f"S{k:03}") for k in range(SPECIES)]
        tree = Taxonomy.from_table(pd.DataFrame(names, columns=["family", "genus", "species"]))
        parts = ClassifierParts(
            network=network,
            taxonomy=tree,
            class_nodes=np.asarray(tree.leaves),
            class_counts=np.full(SPECIES, 10),
            preprocessing=preprocessing_of(model, network),
            calibration=Calibration(),
            recipe=Recipe(model=model, loss=PartChoice(name="cross_entropy")),
        )
        return TaxonClassifier(parts, device=str(self.device))

    @cached_property
    def _plain_backbone(self) -> torch.nn.Module:
        return deepcopy(self.classifier.network.backbone)  # in channels_last already

    def _plain_features(self, batch: Tensor) -> Tensor:
        pixels = batch.to(self.device).contiguous(memory_format=torch.channels_last)
        features: Tensor = self._plain_backbone(pixels)
        return features

    def _loader(self) -> DataLoader[Tensor]:
        seen = self.classifier.parts.preprocessing
        transform = create_transform(
            input_size=(3, *seen.image_size),
            interpolation=seen.interpolation,
            mean=seen.mean,
            std=seen.std,
            crop_pct=seen.crop_share,
        )
        return DataLoader(Photos(self.paths, transform), self.batch_size, num_workers=self.workers)

    @torch.inference_mode()
    def plain_embedding(self) -> Tensor:
        """Return the features of all photos."""
        return torch.cat([self._plain_features(batch).cpu() for batch in self._loader()])

    @torch.inference_mode()
    def plain_prediction(self) -> list[int]:
        """Return the best class of each photo."""
        head, found = self.classifier.network.head, []
        for batch in self._loader():
            found += head(self._plain_features(batch)).softmax(dim=1).argmax(dim=1).tolist()
        return found

    def taxonet_embedding(self) -> Tensor:
        """Return the features of all photos out of a new store."""
        parts = self.classifier.parts
        with tempfile.TemporaryDirectory() as folder:
            embedder = Embedder.open(
                Path(folder) / "features",
                self.classifier.network,
                parts.preprocessing,
                model=self.model,
                device=self.device,
            )
            photos = [(str(path), path) for path in self.paths]
            stored = embedder.add(photos, batch_size=self.batch_size, workers=self.workers)
            return embedder.features(stored)

    def taxonet_prediction(self) -> list[int]:
        """Return the best class of each photo."""
        maker = self.classifier.row_maker()
        rows = self.classifier.rows(
            [(str(path), path) for path in self.paths],
            maker=maker,
            batch_size=self.batch_size,
            workers=self.workers,
        )
        return [int(row["species"][1:]) for row in rows]

    def run(self, loop: str) -> float:
        """Run a loop and return its seconds."""
        start = perf_counter()
        getattr(self, loop.replace(" ", "_"))()
        return perf_counter() - start

    def check(self) -> None:
        """Raise an AssertionError unless both ways compute the same features."""
        few = Contest(self.paths[: self.batch_size], self.model, self.batch_size, 0, self.device)
        plain, ours = few.plain_embedding(), few.taxonet_embedding()
        assert (plain - ours).abs().max() <= 1e-3 * plain.abs().max(), "other features"


def _peak_mb(contest: Contest, loop: str, threads: int) -> float:
    torch.set_num_threads(threads)
    contest.run(loop)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def _print_ratio(what: str, plain: list[float], ours: list[float]) -> None:
    ratios = [one / other for one, other in zip(plain, ours, strict=True)]
    print(f"| {what} | {median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_lite0.packaged")
    parser.add_argument("--weights", default="pretrained", help="as model.weights of a recipe")
    parser.add_argument("--image-size", type=int, help="by default that of the backbone")
    parser.add_argument("--photos", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7, help="turns of each loop")
    parser.add_argument("--batch-size", type=int, help="by default taxonet's own choice")
    parser.add_argument("--workers", type=int, default=0, help="reading processes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    model = ModelRecipe(
        backbone=options.backbone, weights=options.weights, image_size=options.image_size
    )
    batch_size = pick_batch_size(options.batch_size, device)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photos(Path(folder) / "photos", options.photos)
        contest = Contest(paths, with_input_of_weights(model), batch_size, options.workers, device)
        peaks = {}
        for loop in _LOOPS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                peaks[loop] = pool.apply(_peak_mb, (contest, loop, options.threads))
        contest.check()
        seconds: dict[str, list[float]] = {loop: [] for loop in _LOOPS}
        for turn in range(options.repeats):
            # Whoever comes first in a turn comes last in the next one.
            for loop in _LOOPS[:: 1 if turn % 2 == 0 else -1]:
                seconds[loop].append(contest.run(loop))
    height, width = contest.model.input_size
    print(
        f"{options.backbone}, {height} x {width}, {options.photos} photos of {WIDTH} x {HEIGHT}, "
        f"batch size {batch_size}, {options.threads} threads, {options.workers} reading processes, "
        f"{device}, OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', 'not set')}"
    )
    print("| loop | photos/s, median | lowest | highest | peak memory, MB |")
    print("|---|---|---|---|---|")
    for loop, taken in seconds.items():
        rates = [options.photos / one for one in taken]
        print(
            f"| {loop} | {median(rates):.1f} | {min(rates):.1f} | {max(rates):.1f} | "
            f"{peaks[loop]:.0f} |"
        )
    print("\n| times as fast as the plain loop | median | lowest | highest |")
    print("|---|---|---|---|")
    for what in ("embedding", "prediction"):
        _print_ratio(what, seconds[f"plain {what}"], seconds[f"taxonet {what}"])


if __name__ == "__main__":
    # Before torch computes anything: what the command line of taxonet sets, for both loops.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
