"""What a second stage learns from: the embeddings of the training images, epoch by epoch."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from taxonet.errors import DataError

#: Rows that are worked on at once where a copy in another precision is made.
_ROWS_AT_ONCE = 16_384


class EmbeddingSource(Protocol):
    """The embeddings of the training images, as a stage asks for them.

    Epoch 0 is for class means: each image as prediction sees it. Epochs from 1 on are for fitting,
    and may show each image through an augmentation of its own. A stage asks for the epochs it
    needs, in order, each once.
    """

    def epoch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return embeddings ``(N, d)``, float32, and class indices ``(N,)``, int64."""
        ...


@dataclass(frozen=True)
class CachedEmbeddings:
    """The same embeddings in every epoch: images without augmentation, embedded once.

    Args:
        embeddings: ``(N, d)``.
        targets: The class index of each row, int64 ``(N,)``.

    Examples:
        >>> source = CachedEmbeddings(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
        >>> source.epoch(0)[1].tolist() == source.epoch(7)[1].tolist() == [0, 1, 1]
        True
    """

    embeddings: Tensor
    targets: Tensor

    def epoch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the embeddings and the class of each, whatever the epoch."""
        return self.embeddings, self.targets


def check_embeddings(embeddings: Tensor, targets: Tensor, classes: int) -> None:
    """Raise a DataError unless there are finite embeddings ``(N, d)`` of all classes.

    A class whose only images were left out would be fitted to nothing, and predicted by chance.
    """
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        raise DataError(
            "Embeddings must be floating-point numbers of shape (N, d), but got "
            f"{embeddings.dtype} of shape {tuple(embeddings.shape)}."
        )
    if targets.dtype is not torch.int64 or targets.shape != (len(embeddings),):
        raise DataError(
            f"The targets must be int64 of shape ({len(embeddings)},), one class index for each "
            f"embedding, but got {targets.dtype} of shape {tuple(targets.shape)}."
        )
    wrong = torch.nonzero((targets < 0) | (targets >= classes)).flatten().tolist()
    if wrong:
        raise DataError(
            f"Targets must lie in 0..{classes - 1}, but row {wrong[0]} has "
            f"{int(targets[wrong[0]])} ({len(wrong)} such rows)."
        )
    missing = torch.nonzero(torch.bincount(targets, minlength=classes) == 0).flatten().tolist()
    if missing:
        raise DataError(
            f"Every class needs at least 1 embedding, but {len(missing)} of {classes} have none, "
            f"the first of index {missing[0]}. Leave classes without readable images out."
        )
    for block in _blocks(len(embeddings)):
        finite = embeddings[block].isfinite().all(dim=1)
        if not bool(finite.all()):
            row = block.start + int(torch.nonzero(~finite)[0])
            raise DataError(
                f"Embeddings must be finite numbers, but row {row} is not. Look at that image, or "
                "embed in full precision."
            )


def class_means(embeddings: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Return the mean embedding of each class ``(c, d)``, in time that grows as N d.

    The sums are made in float64, on the CPU, in the order of the rows; so the means do not depend
    on the device, and the mean of one image is its embedding, bit by bit.

    Args:
        embeddings: ``(N, d)``, any floating-point numbers.
        targets: The class index of each row, int64 ``(N,)`` in 0..c-1.
        classes: The number c of classes; each needs at least one row.

    Returns:
        ``(c, d)``, in float32 at least, on the device of the embeddings.

    Raises:
        DataError: Embeddings or targets of a wrong form, or a class without a row.

    Examples:
        >>> class_means(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]), 2).tolist()
        [[2.0], [5.0]]
    """
    check_embeddings(embeddings, targets, classes)
    sums = torch.zeros(classes, embeddings.shape[1], dtype=torch.float64)
    for block in _blocks(len(embeddings)):
        sums.index_add_(0, targets[block].cpu(), embeddings[block].cpu().double())
    means = sums / torch.bincount(targets.cpu(), minlength=classes).unsqueeze(1)
    wide = torch.promote_types(embeddings.dtype, torch.float32)
    return means.to(wide).to(embeddings.device)


def _blocks(rows: int) -> list[slice]:
    return [slice(start, start + _ROWS_AT_ONCE) for start in range(0, rows, _ROWS_AT_ONCE)]
