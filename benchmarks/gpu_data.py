"""A long-tailed set of small images, whole and as uint8 on the device."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from taxonet.data import benchmarks
from taxonet.data.decoding import load_image
from taxonet.data.table import ImageTable
from taxonet.training.data import TrainingData, flat_taxonomy, open_training_data

#: Shot groups by training images: many above 100, medium 20 to 100, few below 20.
_MANY_ABOVE, _FEW_BELOW = 100, 20


@dataclass(frozen=True, eq=False)
class DeviceImages:
    """Training and test images of a set.

    Attributes:
        training: Classes and counts, as the networks and losses are built from them.
        train_images: uint8 ``(N, 3, S, S)``.
        train_targets: int64 ``(N,)``.
        test_images: uint8 ``(T, 3, S, S)``.
        test_targets: int64 ``(T,)``.
    """

    training: TrainingData
    train_images: Tensor
    train_targets: Tensor
    test_images: Tensor
    test_targets: Tensor

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.train_images.device

    @property
    def side(self) -> int:
        """Height and width of an image in pixels."""
        return self.train_images.shape[-1]

    @property
    def class_counts(self) -> Tensor:
        """Training images of each class, int64 ``(c,)`` on the CPU."""
        return torch.tensor(self.training.classes.class_counts)

    def accuracies(self, correct: Tensor) -> dict[str, float | None]:
        """Turn the correct test images of each class ``(c,)`` to shares, in all and by shot group.

        A group without classes has None.
        """
        counts, right = self.class_counts, correct.cpu()
        images = torch.bincount(self.test_targets.cpu(), minlength=len(counts))
        groups = {
            "top1": torch.ones_like(counts, dtype=torch.bool),
            "many": counts > _MANY_ABOVE,
            "medium": (counts >= _FEW_BELOW) & (counts <= _MANY_ABOVE),
            "few": counts < _FEW_BELOW,
        }
        return {
            name: int(right[mine].sum()) / int(images[mine].sum()) if mine.any() else None
            for name, mine in groups.items()
        }


def open_cifar100_lt(folder: Path, *, device: torch.device) -> DeviceImages:
    """Read CIFAR-100-LT of imbalance factor 100."""
    return to_device(benchmarks.cifar100_lt(folder, imbalance=100).images, device=device)


def to_device(images: ImageTable, *, device: torch.device) -> DeviceImages:
    """Decode the splits train and test, in the order of the table, all images of one size."""
    training = open_training_data(
        images, flat_taxonomy(images), seed=0, val_share=0.0, calibration_share=0.0
    )
    tensors = []
    for split in ("train", "test"):
        table, targets = training.split(split)
        pixels = np.stack([np.asarray(load_image(table.source(row))) for row in range(len(table))])
        tensors += [torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), targets]
    return DeviceImages(training, *(tensor.to(device) for tensor in tensors))
