"""Node probabilities and node indices as NumPy arrays, from NumPy or from torch."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError
from taxonet.metrics.counts import class_indices

IntArray = NDArray[np.int64]
Probabilities = NDArray[np.floating]

_TOLERANCE = 1e-3  # sums of probabilities in half precision pass 1 by so much
_SINGLE_BYTES = 4


@runtime_checkable
class Detachable(Protocol):
    """What of a torch tensor tells it from an array, so that torch need not be imported."""

    def detach(self) -> Any:
        """Return the tensor without its gradient."""


Values = ArrayLike | Detachable


def as_array(values: Values) -> NDArray[Any]:
    """Return an array as it is, and a torch tensor of any device as an array.

    Half-precision tensors become float32, since NumPy has no bfloat16.

    Examples:
        >>> import torch
        >>> as_array(torch.tensor([0.5, 0.25], dtype=torch.bfloat16, requires_grad=True))
        array([0.5 , 0.25], dtype=float32)
    """
    if not isinstance(values, Detachable):
        return np.asarray(values)
    tensor = values.detach().cpu()
    if tensor.is_floating_point() and tensor.element_size() < _SINGLE_BYTES:
        tensor = tensor.float()
    return np.asarray(tensor.numpy())


def node_probabilities(values: Values, n_nodes: int) -> Probabilities:
    """Return probabilities of nodes as floats ``(B, n_nodes)``, or say what is wrong with them.

    Raises:
        DataError: Another shape, no numbers, NaN, or values outside [0, 1] by over 0.001.
    """
    probs = as_array(values)
    if probs.ndim != 2 or probs.shape[1] != n_nodes or probs.dtype.kind not in "fiu":
        raise DataError(
            f"Expected node probabilities as numbers (B, {n_nodes}), one column a node, got "
            f"{probs.dtype} of shape {probs.shape}."
        )
    if probs.dtype.kind != "f":
        probs = probs.astype(np.float64)
    if probs.dtype.itemsize < _SINGLE_BYTES:
        probs = probs.astype(np.float32)
    # The extremes are NaN where any value is, and cost no array of booleans.
    lowest, highest = probs.min(initial=0.0), probs.max(initial=1.0)
    if not (lowest >= -_TOLERANCE and highest <= 1 + _TOLERANCE):
        raise DataError(_what_is_outside(probs))
    return probs


def target_indices(values: Values, n_nodes: int, *, images: int) -> IntArray:
    """Return the true node of each image, int64 ``(B,)``, or say what is wrong with them.

    Raises:
        DataError: Another length, no integers, or a node outside ``0 .. n_nodes - 1``.
    """
    truth = class_indices(as_array(values), n_nodes, lowest=0, what="target nodes")
    if len(truth) != images:
        raise DataError(f"Expected target nodes for {images} images, got {len(truth)}.")
    return truth


def named_and_true(named: Values, truth: Values, n_nodes: int) -> tuple[IntArray, IntArray]:
    """Return the named and the true node of each image, int64 ``(B,)`` both.

    Raises:
        DataError: Lengths that differ, no integers, or a node outside ``0 .. n_nodes - 1``.
    """
    nodes = class_indices(as_array(named), n_nodes, lowest=0, what="predicted nodes")
    return nodes, target_indices(truth, n_nodes, images=len(nodes))


def _what_is_outside(probs: Probabilities) -> str:
    inside = (probs >= -_TOLERANCE) & (probs <= 1 + _TOLERANCE)  # NaN is not inside
    row, node = np.argwhere(~inside)[0]
    return (
        f"Expected node probabilities in [0, 1], got {probs[row, node]} in row {row} for node "
        f"{node} ({np.count_nonzero(~inside.all(axis=1))} rows hold NaN or values outside)."
    )
