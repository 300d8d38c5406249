"""What the figures about vectors share: checked matrices, directions, blocks of rows."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError

FloatArray = NDArray[np.float64]
FloatMatrix = NDArray[np.floating]

_ROWS = 1024


def finite_matrix(values: ArrayLike, what: str) -> FloatMatrix:
    """Return finite floats of two dimensions in the precision they have, or say what is wrong.

    Raises:
        DataError: Not two dimensions, no numbers, or values that are not finite.
    """
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise DataError(
            f"Expected {what} as numbers of two dimensions, got {array.dtype} of shape "
            f"{array.shape}."
        )
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if broken.size:
        raise DataError(
            f"Expected finite {what}, but {broken.size} rows hold NaN or infinity, the first is "
            f"row {broken[0]}."
        )
    return array


def directions(vectors: FloatMatrix) -> FloatArray:
    """Return the vectors at norm 1, in float64; those of norm 0 have no direction and stay 0."""
    wide = vectors.astype(np.float64)
    # Dividing by the largest part first keeps the squares of tiny and huge vectors in range.
    largest = np.abs(wide).max(axis=1, keepdims=True, initial=0.0)
    wide /= np.where(largest > 0, largest, 1.0)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(norms > 0, norms, 1.0)


def row_blocks(n_rows: int) -> Iterator[slice]:
    """Cut the rows into blocks, so that what is computed of each stays small."""
    return (slice(start, start + _ROWS) for start in range(0, n_rows, _ROWS))
