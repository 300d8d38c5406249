"""A few drawn species with splits and a long tail, and how to train on them in a second."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from taxonet.recipes.verbs import TrainConfig
from taxonet.seeds import generator

SPECIES = ("Rosa canina", "Rosa gallica", "Rubus idaeus", "Acer rubrum", "Acer saccharum")
FAMILY = {"Rosa": "Rosaceae", "Rubus": "Rosaceae", "Acer": "Sapindaceae"}
TRAIN = dict(zip(SPECIES, (14, 10, 8, 5, 3), strict=True))
SPLITS = ("train", "val", "calibration", "test")
SIDE_PX = 32


def draw(key: str, hue: int) -> Image.Image:
    """A noisy picture of three bands, whose colours tell its species."""
    rng = generator("small set", key)
    bands = np.random.default_rng(hue).integers(40, 216, (3, 1, 3)).repeat(11, axis=0)[:SIDE_PX]
    noise = rng.integers(-30, 31, (SIDE_PX, SIDE_PX, 3))
    return Image.fromarray((bands + noise).clip(0, 255).astype(np.uint8))


def write_set(
    folder: Path, *, train: Mapping[str, int] = TRAIN, splits: tuple[str, ...] = SPLITS
) -> Path:
    """Write photos, ``images.csv`` and ``taxonomy.csv``, and return the folder.

    The splits besides train have four photos of each species.
    """
    rows = []
    for hue, species in enumerate(train):
        for split in splits:
            for number in range(train[species] if split == "train" else 4):
                name = f"{species.replace(' ', '_')}_{split}_{number}.png"
                (folder / "images").mkdir(parents=True, exist_ok=True)
                draw(name, hue).save(folder / "images" / name)
                rows.append((f"images/{name}", species, split))
    frame = pd.DataFrame(rows, columns=["image", "taxon", "split"])
    frame.to_csv(folder / "images.csv", index=False)
    genera = [name.split()[0] for name in train]
    pd.DataFrame(
        {"family": [FAMILY[genus] for genus in genera], "genus": genera, "species": list(train)}
    ).to_csv(folder / "taxonomy.csv", index=False)
    return folder


def config(
    photos: Path,
    out: Path,
    *changes: str,
    recipe: str = "cross_entropy",
    resume: bool = False,
    workers: int = 0,
    checkpoint_minutes: float = 60.0,
    broken_share: float = 0.05,
    tensorboard: bool = False,
) -> TrainConfig:
    """Return a config of a run of a second or two on the CPU."""
    small = ("model.backbone=test_resnet", f"model.image_size={SIDE_PX}", "epochs=2")
    return TrainConfig(
        images=photos / "images.csv",
        taxonomy=photos / "taxonomy.csv",
        out=out,
        recipe=f"tiny,{recipe}",
        set=(*small, "batch_size=4", "optimiser.learning_rate=0.01", *changes),
        resume=resume,
        workers=workers,
        device="cpu",
        checkpoint_minutes=checkpoint_minutes,
        broken_share=broken_share,
        tensorboard=tensorboard,
    )
