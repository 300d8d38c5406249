"""Reading the pickles of CIFAR's Python version without running what a pickle may ask for.

A pickle is a program that may call any function. CIFAR's files need three names, all of which
make an array of bytes; everything else is refused.
"""

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from taxonet.errors import DataError


def unpickle_plain(data: bytes, *, source: str) -> dict[str, Any]:
    """Return the dictionary in a pickle that holds only text, numbers, lists and uint8 arrays.

    Args:
        data: The pickle, as Python 2 or 3 wrote it.
        source: The file, for messages.

    Raises:
        DataError: The pickle asks for any other name, is damaged, or holds no dictionary.

    Examples:
        >>> import pickle
        >>> unpickle_plain(pickle.dumps({"labels": [3, 1]}, protocol=2), source="batch")
        {'labels': [3, 1]}
    """
    try:
        content = _PlainUnpickler(data, source).load()
    except DataError:
        raise
    # A damaged pickle makes the unpickler raise almost anything.
    except Exception as error:
        raise DataError(
            f"{source} is damaged or no pickle of CIFAR's Python version "
            f"({type(error).__name__}): fetch it again."
        ) from None
    if not isinstance(content, dict):
        raise DataError(f"{source} must hold a dictionary, but holds a {type(content).__name__}.")
    return content


def _bytes_dtype(code: str, align: bool = False, copy: bool = True) -> np.dtype[np.uint8]:
    # A copy, because what is unpickled next is set on it.
    if code != "u1":
        raise DataError(f"an array of the type {code!r} is in the pickle, but CIFAR's are uint8")
    return np.dtype(np.uint8, align=bool(align), copy=bool(copy))


_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0, np.uint8).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _bytes_dtype,
}


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows three names, and text of Python 2."""

    def __init__(self, data: bytes, source: str) -> None:
        # latin1 keeps the bytes of an array that Python 2 stored as text.
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._source = source

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise DataError(
                f"{self._source} asks for {module}.{name}, which no file of CIFAR needs: it was "
                "not made by CIFAR's authors and may be meant to do harm. It was not run."
            )
        return _ALLOWED[module, name]
