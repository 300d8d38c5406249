from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from taxonet.classifier.reading import FlatReading
from taxonet.data.loading import ImageDataset
from taxonet.data.resizing import ResizeSpec
from taxonet.data.sources import open_images
from taxonet.data.transforms import plain
from taxonet.models import Output
from taxonet.training.validation import Validation
from tests.helpers import CLASS_NODES, ragged_taxonomy
from tests.small_set import SPECIES, write_set


class Parrot(nn.Module):
    """Says what it was told, image by image, and remembers how it was asked."""

    def __init__(self, answers: list[int]) -> None:
        super().__init__()
        self.answers = iter(answers)
        self.layer = nn.BatchNorm1d(1)
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Output:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        self.sizes.append(len(images))
        said = torch.tensor([next(self.answers) for _ in images])
        return Output(images.flatten(1), nn.functional.one_hot(said, 6).float())


def validation_of(photos: Path, *, batch_size: int) -> Validation:
    table = open_images(photos / "images.csv").split("val")
    targets = torch.tensor([SPECIES.index(name) for name in table.frame["taxon"]])
    return Validation(
        ImageDataset(table, {"plain": plain(ResizeSpec(size=(32, 32)))}),
        targets,
        # One class more than there are val photos of.
        reading=FlatReading(ragged_taxonomy(), np.array(CLASS_NODES)),
        batch_size=batch_size,
        accelerator=Accelerator(cpu=True),
    )


@pytest.mark.parametrize("batch_size", [3, 64])
def test_macro_recall_by_hand(photos: Path, batch_size: int) -> None:
    """Four photos of each of five species: 4, 2, 1, 0 and 4 right; the sixth class has none."""
    answers = [0, 0, 0, 0, 1, 1, 5, 0, 2, 0, 0, 0, 0, 1, 2, 4, 4, 4, 4, 4]
    network = Parrot(answers).train()
    recall = validation_of(photos, batch_size=batch_size).macro_recall(network)
    assert recall == pytest.approx((1 + 0.5 + 0.25 + 0 + 1) / 5)
    assert sum(network.sizes) == 20
    assert max(network.sizes) <= batch_size


def test_unreadable_photos_are_passed_over(tmp_path: Path) -> None:
    photos = write_set(tmp_path / "photos")
    for path in (photos / "images").glob("Rosa_*_val_*"):
        path.write_bytes(b"")
    answers = [2] * 4 + [3, 3, 0, 0] + [0] * 4
    recall = validation_of(photos, batch_size=4).macro_recall(Parrot(answers))
    assert recall == pytest.approx((1 + 0.5 + 0) / 3)
    for path in (photos / "images").glob("*_val_*"):
        path.write_bytes(b"")
    assert validation_of(photos, batch_size=4).macro_recall(Parrot([])) is None
