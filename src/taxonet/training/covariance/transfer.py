"""Covariance of head classes lent to the features of tail images (SMART, eq. 6)."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from taxonet.errors import DataError
from taxonet.training.covariance.maps import check_maps, maps_of, positions_of
from taxonet.training.covariance.pairs import DEFAULTS, TransferOptions, transfer_matrices
from taxonet.training.covariance.statistics import ClassStatistics

#: Values of the matrices of the pairs that are computed at once: 16 MB in float32.
BLOCK_VALUES = 2**22


class Transferred(NamedTuple):
    """The features ``(B, C, H, W)`` after the transfer, and the weight of each image ``(B,)``."""

    features: Tensor
    weights: Tensor


def transfer(
    features: Tensor,
    target: Tensor,
    head_classes: Tensor,
    *,
    statistics: ClassStatistics,
    options: TransferOptions = DEFAULTS,
) -> Transferred:
    """Lend tail images the covariance of head classes.

    ``F~ = (F - mu_t) / sqrt(sigma_t^2 + eps) Sigma_th + mu_t`` at each position, with the weight
    ``(1/C) sum_jk Sigma_th[j, k]``, clipped to its range; see `semantic_covariances` for
    ``Sigma_th`` and `transfer_matrices` for the units. Images without a head class, and those of
    a pair in which a class has no covariance, keep their features and the weight 1.

    Gradients flow through the features, not through the statistics, and not into the weights.
    Everything is computed in float32 at least, whatever the autocast; features come back in their
    dtype, at most its largest number.

    The matrices are computed once for each distinct pair of the batch: one product of C x C
    matrices (``O(C^3)``, low rank ``O(C^2 r)``) and a softmax; applying them costs ``O(H W C^2)``
    an image. The backward pass keeps one C x C matrix a pair.

    Shape:
        ``features`` ``(B, C, H, W)``; ``target`` int64 ``(B,)``; ``head_classes`` int64 ``(B,)``,
        -1 where an image keeps its features.

    Raises:
        DataError: Maps, targets or head classes of a wrong form.

    Reference:
        Zhang et al., Semantic Transfer from Head to Tail, eq. 4 to 6 and 11.

    Examples:
        >>> statistics = ClassStatistics(2, 1)
        >>> maps = torch.tensor([[[[1.0, 3.0]]], [[[0.0, 8.0]]]])
        >>> statistics.update(maps, torch.tensor([0, 1]))
        >>> result = transfer(
        ...     maps, torch.tensor([0, 1]), torch.tensor([1, -1]), statistics=statistics
        ... )
        >>> result.features.flatten().tolist()  # deviations of 1 become the head's 4
        [-2.0, 6.0, 0.0, 8.0]
        >>> result.weights.tolist()
        [1.0, 1.0]
    """
    classes, channels = statistics.classes, statistics.channels
    check_maps(features, target, classes=classes, channels=channels)
    _check_heads(head_classes, len(features), classes)
    weights = torch.ones(len(features), dtype=_at_least_float32(features), device=features.device)
    rows = _able_rows(target, head_classes, statistics)
    if len(rows) == 0:
        return Transferred(features, weights)

    pairs = torch.stack([target[rows], head_classes[rows]], dim=1)
    distinct, pair_of, images = torch.unique(pairs, dim=0, return_inverse=True, return_counts=True)
    rows = rows[pair_of.argsort(stable=True)]  # the images of a pair side by side
    changed = []
    weight_of = []
    with torch.autocast(features.device.type, enabled=False):
        positions = positions_of(features[rows]).to(weights.dtype)
        groups = torch.split(positions, images.tolist())
        lent = _each_pair(distinct, statistics, options)
        for group, (mean, matrix, weight) in zip(groups, lent, strict=True):
            mean = mean.to(group)
            changed.append((group - mean) @ matrix.to(group) + mean)
            weight_of.append(weight)
        largest = torch.finfo(features.dtype).max
        new = torch.cat(changed).clamp(-largest, largest).to(features.dtype)
        features = features.index_copy(0, rows, maps_of(new, features))
    weights[rows] = torch.stack(weight_of).to(weights).repeat_interleave(images)
    return Transferred(features, weights)


def _able_rows(target: Tensor, head_classes: Tensor, statistics: ClassStatistics) -> Tensor:
    """Return the images that have a head class, where both classes have a covariance."""
    able = statistics.has_covariance
    able = (head_classes >= 0) & able[target] & able[head_classes.clamp_min(0)]
    return able.nonzero().flatten()


@torch.no_grad()
def _lent(
    pairs: Tensor, statistics: ClassStatistics, options: TransferOptions
) -> tuple[Tensor, Tensor, Tensor]:
    tail, head = statistics.moments(pairs[:, 0]), statistics.moments(pairs[:, 1])
    return tail.mean, *transfer_matrices(tail, head, options)


def _each_pair(
    pairs: Tensor, statistics: ClassStatistics, options: TransferOptions
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the tail's mean ``(C,)``, the matrix ``(C, C)`` and the weight ``()`` of each pair."""
    for block in torch.split(pairs, max(1, BLOCK_VALUES // statistics.channels**2)):
        yield from zip(*_lent(block, statistics, options), strict=True)


def _check_heads(head_classes: Tensor, images: int, classes: int) -> None:
    if head_classes.dtype is not torch.int64 or head_classes.shape != (images,):
        raise DataError(
            f"Head classes must be int64 of shape ({images},), one for each image, but got "
            f"{head_classes.dtype} of shape {tuple(head_classes.shape)}."
        )
    if bool(((head_classes < -1) | (head_classes >= classes)).any()):
        raise DataError(
            f"Head classes must lie in 0..{classes - 1}, or be -1 for none, but got "
            f"{int(head_classes.min())} to {int(head_classes.max())}."
        )


def _at_least_float32(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)
