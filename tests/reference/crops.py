"""Test-time crops as a loop over the pixels of one image."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def five_crops(image: Pixels, side: int) -> list[Pixels]:
    """Corners and middle of a square ``(3, L, L)``: where the window starts, and all its pixels."""
    last = image.shape[1] - side
    middle = round(last / 2)  # of an odd rest the even half, as the library does
    starts = [(0, 0), (0, last), (last, 0), (last, last), (middle, middle)]
    found = []
    for top, left in starts:
        crop = np.zeros((3, side, side), dtype=np.uint8)
        for row in range(side):
            for column in range(side):
                crop[:, row, column] = image[:, top + row, left + column]
        found.append(crop)
    return found
