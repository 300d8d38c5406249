"""Is the procedural flora hard enough, and not too hard? Measures the default flora.

For each seed: nearest neighbour on raw pixels, and a small network trained from scratch on the
training split (20,000 image passes), judged at species, genus and family, in the home region and
in region B. Prints one JSON line a seed and a table; exits with 1 if any number is out of bounds.

    python benchmarks/flora_difficulty.py --seeds 0 1 2
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.data.flora import Flora, FloraConfig, write_flora
from taxonet.data.flora.write import jpeg

IMAGE_PASSES = 20_000
BATCH = 64
LEARNING_RATE = 0.1
WEIGHT_DECAY = 5e-4
PADDING = 6
SPEED_IMAGES = 500


@dataclass(frozen=True)
class Figures:
    """What is measured for one seed; accuracies in percent, on balanced test sets."""

    seed: int
    images_per_s: float
    neighbour: float
    species: float
    genus: float
    family: float
    region_b: float
    train_s: float

    def out_of_bounds(self) -> list[str]:
        """Return the bounds that are broken, in words."""
        bounds = {
            "at least 200 images a second": self.images_per_s >= 200,
            "nearest neighbour at most 35 %": self.neighbour <= 35,
            "species 60 to 90 %": 60 <= self.species <= 90,
            "genus at least 10 points above species": self.genus >= self.species + 10,
            "family at least as good as genus": self.family >= self.genus,
            "region B at least 5 points below": self.region_b <= self.species - 5,
        }
        return [bound for bound, holds in bounds.items() if not holds]


@dataclass(frozen=True)
class Photos:
    """Photos as bytes (n, 3, size, size) and their classes (n,)."""

    images: Tensor
    targets: Tensor


def measure(seed: int, config: FloraConfig) -> Figures:
    """Write a flora to a temporary folder, and return its figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flora = write_flora(folder, config)
        taxonomy = pd.read_csv(folder / "taxonomy.csv")
        home = pd.read_csv(folder / "images.csv")
        train = _read(folder, home[home["split"] == "train"], taxonomy)
        test = _read(folder, home[home["split"] == "test"], taxonomy)
        region_b = _read(folder, pd.read_csv(folder / "region.csv"), taxonomy)
    start_train = time.perf_counter()
    network = _trained(train, classes=len(taxonomy), seed=seed)
    train_s = time.perf_counter() - start_train
    probs = _probs(network, test.images)
    return Figures(
        seed=seed,
        images_per_s=_speed(flora),
        neighbour=_percent(train.targets[_nearest(test.images, train.images)], test.targets),
        species=_percent(probs.argmax(1), test.targets),
        genus=_at_rank(probs, test.targets, taxonomy["genus"]),
        family=_at_rank(probs, test.targets, taxonomy["family"]),
        region_b=_percent(_probs(network, region_b.images).argmax(1), region_b.targets),
        train_s=round(train_s, 1),
    )


def _speed(flora: Flora) -> float:
    """Return how many photos one core draws and encodes in a second of its time."""
    rows = np.random.default_rng(0).permutation(len(flora.plan))[:SPEED_IMAGES]
    start = time.process_time()
    for row in rows:
        jpeg(flora, int(row))
    return round(len(rows) / (time.process_time() - start), 1)


def _read(folder: Path, table: pd.DataFrame, taxonomy: pd.DataFrame) -> Photos:
    images = np.stack([np.asarray(Image.open(folder / image)) for image in table["image"]])
    classes = pd.Index(taxonomy["species"]).get_indexer(pd.Index(table["taxon"]))
    return Photos(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.tensor(classes))


def _nearest(queries: Tensor, gallery: Tensor) -> Tensor:
    """Return for each query the gallery image that is nearest by Euclidean distance of pixels."""
    return torch.cdist(queries.flatten(1).float(), gallery.flatten(1).float()).argmin(1)


def _trained(photos: Photos, *, classes: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network: nn.Module = timm.create_model("resnet10t", num_classes=classes)
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=LEARNING_RATE,
        momentum=0.9,
        nesterov=True,
        weight_decay=WEIGHT_DECAY,
    )
    steps = IMAGE_PASSES // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.2
    )
    network.train()
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(photos.targets))])
        batch, order = order[:BATCH], order[BATCH:]
        scores = network(_augmented(_normalised(photos.images[batch])))
        loss = F.cross_entropy(scores, photos.targets[batch])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
        schedule.step()
    return network


def _normalised(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1.0


def _augmented(images: Tensor) -> Tensor:
    """Flip each image or not, and crop the batch's images at random places of a padded frame."""
    size = images.shape[-1]
    flipped = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(-1), images)
    padded = F.pad(flipped, [PADDING] * 4, mode="reflect")
    shifts = torch.randint(0, 2 * PADDING + 1, (len(images), 2)).tolist()
    crops = [
        image[:, top : top + size, left : left + size]
        for image, (top, left) in zip(padded, shifts, strict=True)
    ]
    return torch.stack(crops)


@torch.inference_mode()
def _probs(network: nn.Module, images: Tensor) -> Tensor:
    network.eval()
    parts = torch.chunk(images, -(-len(images) // 256))
    return torch.cat([network(_normalised(part)).softmax(1) for part in parts])


def _at_rank(probs: Tensor, targets: Tensor, taxa: "pd.Series[str]") -> float:
    """Return the accuracy at a coarser rank, from the summed probabilities of its species."""
    codes: NDArray[np.int64] = pd.factorize(taxa)[0].astype(np.int64)
    taxon_of_class = torch.from_numpy(codes)
    sums = torch.zeros(len(probs), int(codes.max()) + 1).index_add_(1, taxon_of_class, probs)
    return _percent(sums.argmax(1), taxon_of_class[targets])


def _percent(predicted: Tensor, targets: Tensor) -> float:
    return round(100 * (predicted == targets).float().mean().item(), 1)


def main() -> int:
    """Measure every seed and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    all_figures, broken = [], False
    for seed in parser.parse_args().seeds:
        figures = measure(seed, FloraConfig(seed=seed))
        all_figures.append(asdict(figures))
        problems = figures.out_of_bounds()
        broken = broken or bool(problems)
        print(json.dumps({**asdict(figures), "out_of_bounds": problems}), flush=True)
    print(pd.DataFrame(all_figures).to_string(index=False))
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
