"""Adapters as slow loops over tokens, features and ranks, written from the papers."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def adaptformer(
    token: Floats,
    mlp: Callable[[Floats], Floats],
    *,
    down: Floats,
    down_bias: Floats,
    up: Floats,
    up_bias: Floats,
    scale: float,
) -> Floats:
    """AdaptFormer, eq. 2 and 3: what a block adds to one token, from its normalised form."""
    hidden = [
        max(0.0, down_bias[unit] + sum(row[j] * token[j] for j in range(len(token))))
        for unit, row in enumerate(down)
    ]
    added = mlp(token).copy()
    for feature in range(len(token)):
        said = up_bias[feature] + sum(up[feature, k] * hidden[k] for k in range(len(hidden)))
        added[feature] += scale * said
    return added


def lora(weight: Floats, *, down: Floats, up: Floats, alpha: float) -> Floats:
    """LoRA, eq. 3: W + (alpha / r) B A, for the rows of queries and those of values."""
    changed, width, rank = weight.copy(), len(weight) // 3, down.shape[1]
    for pair, first in ((0, 0), (1, 2 * width)):
        for row in range(width):
            for column in range(weight.shape[1]):
                product = sum(up[pair, row, k] * down[pair, k, column] for k in range(rank))
                changed[first + row, column] += alpha / rank * product
    return changed
