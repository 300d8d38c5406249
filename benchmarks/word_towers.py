"""Small image and text towers for the study of images and words, and photos they never saw.

No pretrained weights are at hand where these tables are made. So one flora is drawn whose families
are known to all and whose genera are divided in two: towers learn the names of one half by
contrast (MCF), and rows are compared on the other half.
"""

import json
import shutil
from pathlib import Path

import pandas as pd

from benchmarks.datasets import PreparedData
from taxonet.data import open_images
from taxonet.data.flora import FloraConfig, write_flora
from taxonet.recipes.verbs import TrainConfig
from taxonet.seeds import generator
from taxonet.training import train

_FLORA = {"species": 120, "genera": 48, "families": 8, "unknown_species": 0}
_MODEL = {
    "embed_dim": 128,
    "vision_cfg": {
        "timm_model_name": "resnet10t",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 64,
    },
    "text_cfg": {
        "context_length": 32,
        "vocab_size": 49408,
        "width": 128,
        "heads": 4,
        "layers": 2,
    },
}
#: What makes a recipe of CLIP's fine-tuning one for these towers and photos.
SMALL = (
    "model.image_size=64",
    "words.names=path",
    "optimiser.learning_rate=1.0e-3",
    "schedule.warmup_epochs=1",
)
_PRETRAINING_EPOCHS = 12


def flora_with_towers(data: Path, work: Path, seed: int) -> PreparedData:
    """Draw a flora, train towers on half of its genera, and give the photos of the others."""
    folder, towers = work / "flora", work / "towers"
    if not (folder / "taxonomy.csv").is_file():
        write_flora(folder, FloraConfig(seed=seed, **_FLORA))
    taxa = pd.read_csv(folder / "taxonomy.csv", dtype=str)
    learnt = _half_of_the_genera(taxa, seed=seed)
    ours = _write_part(folder, work / "rows", taxa[~taxa["genus"].isin(learnt)])
    if not towers.is_dir():
        _train_towers(
            _write_part(folder, work / "other", taxa[taxa["genus"].isin(learnt)]), work, seed
        )
        shutil.copytree(work / "pretraining" / "towers", towers)
    return PreparedData(
        images=ours.images,
        taxonomy=ours.taxonomy,
        changes=(f"model.backbone=clip:local-dir:{towers}", "model.weights=pretrained"),
    )


def _half_of_the_genera(taxa: pd.DataFrame, *, seed: int) -> set[str]:
    """Choose every other genus of each family, in an order that the seed decides."""
    chosen: set[str] = set()
    for family, members in taxa.groupby("family"):
        genera = sorted(members["genus"].unique())
        order = generator("genera of the towers", str(family), seed).permutation(len(genera))
        chosen |= {genera[place] for place in order[::2]}
    return chosen


def _write_part(folder: Path, out: Path, taxa: pd.DataFrame) -> PreparedData:
    out.mkdir(parents=True, exist_ok=True)
    images = open_images(folder / "images.csv")
    images.rows(images.frame["taxon"].isin(taxa["species"])).save(out / "images.csv")
    taxa.to_csv(out / "taxonomy.csv", index=False)
    return PreparedData(out / "images.csv", out / "taxonomy.csv")


def write_model(path: Path) -> str:
    """Write what the towers are made of, and return the name of such a backbone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_MODEL))
    return f"clip:{path}"


def _train_towers(photos: PreparedData, work: Path, seed: int) -> None:
    backbone = write_model(work / "tower.json")
    shutil.rmtree(work / "pretraining", ignore_errors=True)
    changes = (
        *SMALL,
        f"model.backbone={backbone}",
        "model.weights=none",
        f"epochs={_PRETRAINING_EPOCHS}",
        f"seed={seed}",
    )
    train(
        TrainConfig(
            images=photos.images,
            taxonomy=photos.taxonomy,
            recipe="hmcf/mcf",
            set=changes,
            out=work / "pretraining",
        ),
        show_progress=True,
    )
