"""A small model of images and texts, and what it learns from one batch in two processes.

``python -m torch.distributed.run --nproc_per_node 2 -m tests.two_towers FOLDER`` leaves, for each
process, the losses and gradients of all ways of splitting the batch; see `figures`.
"""

import sys
from itertools import product
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.losses import Duplicates, ImageTextContrastiveLoss
from taxonet.training.gathering import gather_rows
from taxonet.training.gradient_cache import encode_in_chunks

#: How many of the eight images the first process has; the second has the others.
SPLITS = (4, 5, 1, 8)
TREATMENTS: tuple[Duplicates, ...] = ("positives", "negatives", "masked")
#: The last three images, all that the second process has of five and three, are not labelled.
LABELS = torch.tensor([3, 1, 3, 2, 1, -1, -1, -1])

Figures = dict[str, Tensor]


class TwoTowers(nn.Module):
    """Images and texts of unit length, and the loss of all processes' batch."""

    def __init__(self) -> None:
        super().__init__()
        self.images = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4))
        self.texts = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4))
        self.log_scale = nn.Parameter(torch.tensor(1.5))

    def forward(
        self,
        photos: Tensor,
        words: Tensor,
        labels: Tensor,
        *,
        accelerator: Accelerator,
        duplicates: Duplicates = "positives",
        chunk: int | None = None,
    ) -> Tensor:
        if chunk is None:
            encoded = self.images(photos), self.texts(words)
        else:
            encoded = (
                encode_in_chunks(self.images, photos, chunk=chunk),
                encode_in_chunks(self.texts, words, chunk=chunk),
            )
        images, texts = (F.normalize(features, dim=1) for features in encoded)
        gathered = gather_rows(accelerator, images, texts, labels)
        loss: Tensor = ImageTextContrastiveLoss(duplicates)(*gathered, self.log_scale.exp())
        return loss


def towers() -> TwoTowers:
    """The same weights whoever asks."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoTowers().double()


def batch(rows: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    photos = torch.randn(8, 6, dtype=torch.float64, generator=draw)
    words = torch.randn(8, 5, dtype=torch.float64, generator=draw)
    return photos[rows], words[rows], LABELS[rows]


def figures(model: TwoTowers, loss: Tensor) -> Figures:
    """The loss, and the gradient of every parameter."""
    gradients = {
        name: torch.zeros_like(weights) if weights.grad is None else weights.grad.clone()
        for name, weights in model.named_parameters()
    }
    return {"loss": loss.detach(), **gradients}


def main(folder: Path) -> None:
    """What each process of two finds."""
    accelerator = Accelerator(cpu=True)
    found: dict[str, Figures] = {}
    for first, duplicates, chunk in product(SPLITS, TREATMENTS, (None, 2)):
        model = towers()
        wrapped = accelerator.prepare(model)
        mine = batch(slice(first) if accelerator.is_main_process else slice(first, None))
        loss = wrapped(*mine, accelerator=accelerator, duplicates=duplicates, chunk=chunk)
        accelerator.backward(loss)
        found[f"{first} {duplicates} {chunk}"] = figures(model, loss)
    rank = accelerator.process_index
    for dtype in (torch.float16, torch.bfloat16):
        here = (torch.arange(2.0 + rank)[:, None] + 10 * rank).to(dtype).requires_grad_()
        (gathered,) = gather_rows(accelerator, here)
        weights = torch.arange(1, 6, dtype=dtype)[:, None]
        torch.autograd.backward((weights * gathered).sum())
        assert here.grad is not None
        found[str(dtype)] = {"rows": gathered.detach(), "gradient": here.grad}
    torch.save(found, folder / f"found.{rank}.pt")
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
