"""What several rooms' tests stand on: small photos, and a classifier that needs no training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from taxonet.classifier import (
    Calibration,
    ClassifierParts,
    Preprocessing,
    TaxonClassifier,
    index_file,
)
from taxonet.models import build_network
from taxonet.recipes import ModelRecipe, PartChoice, Recipe
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy

SIZE = 32


def photo(seed: int, size: tuple[int, int] = (44, 36)) -> Image.Image:
    """Return a smooth picture with colours of its own."""
    coarse = generator("photo of a test", seed).integers(0, 256, (3, 3, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save_photo(path: Path, seed: int) -> Path:
    """Write a photo without loss, so that its file and its pixels are the same picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(seed).save(path, format="PNG")
    return path


def ragged_taxonomy() -> Taxonomy:
    """A family without species, a genus with a species without photos, a genus as a class.

    Nodes: 1 Betulaceae, 2 Rosaceae, 3 Sapindaceae, 4 Rosa, 5 Rubus, 6 Acer, 7 Rosa canina,
    8 Rosa gallica, 9 Rubus idaeus, 10 Acer rubrum.
    """
    rows = [
        ("birch", "Betulaceae", "", ""),
        ("bramble", "Rosaceae", "Rubus", ""),
        ("dog rose", "Rosaceae", "Rosa", "Rosa canina"),
        ("French rose", "Rosaceae", "Rosa", "Rosa gallica"),
        ("maple", "Sapindaceae", "Acer", ""),
        ("red maple", "Sapindaceae", "Acer", "Acer rubrum"),
        ("", "Rosaceae", "Rubus", "Rubus idaeus"),
    ]
    return Taxonomy.from_table(pd.DataFrame(rows, columns=["label", "family", "genus", "species"]))


CLASS_NODES = (1, 5, 6, 7, 8, 10)
"""Betulaceae, Rubus (its species is no class), Acer (its species is one), and three species."""


def tiny_parts(
    head: str = "cosine",
    *,
    taxonomy: Taxonomy | None = None,
    class_nodes: tuple[int, ...] = CLASS_NODES,
) -> ClassifierParts:
    """Return a classifier of random features whose class k looks like the photo of seed k."""
    classes = len(class_nodes)
    preprocessing = Preprocessing(
        image_size=(SIZE, SIZE),
        fit="crop",
        interpolation="bilinear",
        crop_share=1.0,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    network = build_network(
        backbone="resnet32", head=head, classes=classes, seed=0, colours=preprocessing
    )
    loss = "am_softmax" if head == "cosine" else "cross_entropy"
    parts = ClassifierParts(
        network=network,
        taxonomy=ragged_taxonomy() if taxonomy is None else taxonomy,
        class_nodes=np.array(class_nodes),
        class_counts=np.arange(1, classes + 1),
        preprocessing=preprocessing,
        calibration=Calibration(),
        recipe=Recipe(
            model=ModelRecipe.model_validate(
                {"backbone": "resnet32", "head": head, "image_size": SIZE}
            ),
            loss=PartChoice(name=loss),
        ),
    )
    _look_like_photos(parts)
    return parts


def save_index(
    classifier: Path, embeddings: np.ndarray, targets: Sequence[int], *, rows: int = 1024
) -> None:
    """Write the index of training photos in groups of some rows, as `taxonet train` does."""
    schema = pa.schema(
        [
            ("image", pa.string()),
            ("class", pa.int32()),
            ("sha256", pa.string()),
            ("embedding", pa.list_(pa.float32(), embeddings.shape[1])),
        ]
    )
    path = index_file(classifier)
    path.parent.mkdir(parents=True)
    columns = {
        "image": [f"{k}.jpg" for k in range(len(targets))],
        "class": targets,
        "sha256": [f"{k:064x}" for k in range(len(targets))],  # of no photo there is
    }
    table = pa.table({**columns, "embedding": list(embeddings)}, schema=schema)
    pq.write_table(table, path, row_group_size=rows)


def _look_like_photos(parts: ClassifierParts) -> None:
    """Solve for the weights whose logit on photo k is 4 for class k, -1 to 0 for the others."""
    head = parts.network.head
    classifier = TaxonClassifier(parts, device="cpu")
    embedding = torch.from_numpy(classifier.embed([photo(k) for k in range(head.classes)]))
    if head.kind == "cosines":
        embedding = embedding / embedding.norm(dim=1, keepdim=True)
    others = generator("logits of a test").uniform(-1, 0, (head.classes, head.classes))
    wanted = torch.from_numpy(np.where(np.eye(head.classes) > 0, 4, others))
    weight = (torch.linalg.pinv(embedding.double()) @ wanted).T.float()  # (c, d)
    if head.kind == "cosines":
        # Prototypes have the length 1; with one scale for all, the shortest class gets its 4.
        head.scale = float(weight.norm(dim=1).max())
    with torch.no_grad():
        head.weight.copy_(weight)
