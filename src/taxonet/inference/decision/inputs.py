"""What every policy asks of its input, and says where it does not get it."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike

from taxonet.errors import ConfigError, DataError
from taxonet.inference.decision.likely import (
    PROB_DECIMALS,
    FloatArray,
    IntArray,
    LikelyNodes,
    likely_nodes,
)
from taxonet.taxonomy import Taxonomy

_TOLERANCE = 1e-3  # sums of probabilities in half precision pass 1 by so much
_AT_ONCE = 1024  # images whose probabilities are held in double precision


def check_share(name: str, value: float) -> float:
    """Return a number inside (0, 1), or raise a ConfigError that names it.

    Examples:
        >>> check_share("alpha", 0.05)
        0.05
    """
    if not 0 < value < 1:
        raise ConfigError(f"Expected {name} in (0, 1), got {value}.")
    return float(value)


def check_images(images: int) -> int:
    """Return the number of calibration images, or raise a DataError where there are none."""
    if images == 0:
        raise DataError("There are no calibration images: a policy is fitted on at least one.")
    return images


def likely_of(node_probs: torch.Tensor | LikelyNodes, taxonomy: Taxonomy) -> LikelyNodes:
    """Return the likely nodes of node probabilities ``(B, n)``.

    Raises:
        DataError: These are no node probabilities of this taxonomy.
    """
    if isinstance(node_probs, LikelyNodes):
        if node_probs.node.size and node_probs.node.max() >= len(taxonomy):
            raise DataError(
                f"Expected likely nodes in 0..{len(taxonomy) - 1}, got {node_probs.node.max()}: "
                "they are of another taxonomy."
            )
        return node_probs
    return likely_nodes(_checked_probs(node_probs, taxonomy))


def prob_blocks(node_probs: torch.Tensor, taxonomy: Taxonomy) -> Iterator[FloatArray]:
    """Yield node probabilities ``(B, n)`` a few rows at a time, rounded to 6 decimals.

    Raises:
        DataError: These are no node probabilities of this taxonomy.
    """
    likely_nodes(_checked_probs(node_probs, taxonomy))  # P(root) is 1
    for block in torch.split(node_probs.detach(), _AT_ONCE):
        yield np.round(block.double().cpu().numpy(), PROB_DECIMALS)


def checked_groups(groups: ArrayLike, images: int) -> IntArray:
    """Return the group of each image, int64 ``(images,)``.

    Raises:
        DataError: Not exactly one integer per image.
    """
    found = np.asarray(groups)
    if found.shape != (images,) or found.dtype.kind not in "iu":
        raise DataError(
            f"Expected one group for each of {images} images as integers, got {found.dtype} of "
            f"shape {found.shape}."
        )
    return found.astype(np.int64)


def _checked_probs(probs: torch.Tensor, taxonomy: Taxonomy) -> torch.Tensor:
    if probs.ndim != 2 or probs.shape[1] != len(taxonomy) or not probs.is_floating_point():
        raise DataError(
            f"Expected node probabilities as floats (B, {len(taxonomy)}), one column a node, got "
            f"{probs.dtype} of shape {tuple(probs.shape)}."
        )
    if probs.numel():
        lowest, highest = (float(value) for value in probs.aminmax())  # NaN where any is
        if not (lowest >= -_TOLERANCE and highest <= 1 + _TOLERANCE):
            raise DataError(
                f"Expected node probabilities in [0, 1], got values from {lowest:.6g} to "
                f"{highest:.6g}: turn scores into probabilities and sum them up the tree first."
            )
    return probs
