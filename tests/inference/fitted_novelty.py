"""Training images and photos that the tests of fitted novelty scores share."""

from typing import NamedTuple

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor, Tensor]

DIM, CLASSES, IMAGES = 5, 4, 40


class Photos(NamedTuple):
    """Embeddings ``(B, d)``, logits ``(B, c)`` of a linear head, and classes ``(B,)``."""

    embeddings: Tensor
    logits: Tensor
    targets: Tensor

    def cut(self, *sizes: int) -> list[Batch]:
        """The same photos in batches of these sizes."""
        parts = [torch.split(part, list(sizes)) for part in self]
        return list(zip(*parts, strict=True))

    def whole(self) -> list[Batch]:
        return [(self.embeddings, self.logits, self.targets)]


def head(dim: int = DIM, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear head; the logits of its own class are positive."""
    chance = torch.Generator().manual_seed(7)
    weight = torch.randn(classes, dim, generator=chance, dtype=torch.float64)
    return weight, torch.rand(classes, generator=chance, dtype=torch.float64)


def photos(seed: int = 0, *, images: int = IMAGES, dim: int = DIM, spread: float = 1.0) -> Photos:
    """Classes around different means, with one covariance that is no multiple of the identity."""
    chance = torch.Generator().manual_seed(seed)
    weight, bias = head(dim)
    targets = torch.arange(images) % CLASSES
    shape = torch.linspace(0.5, 2.0, dim, dtype=torch.float64)
    noise = torch.randn(images, dim, generator=chance, dtype=torch.float64) * shape
    embeddings = spread * (3 * weight[targets] + noise)
    return Photos(embeddings, embeddings @ weight.T + bias, targets)
