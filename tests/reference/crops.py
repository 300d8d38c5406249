"""Test-time crops as a loop over the pixels of one image."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def five_crops(image: Pixels, size: tuple[int, int]) -> list[Pixels]:
    """Corners and middle of an image ``(3, K, L)``: where the window starts, and all its pixels."""
    height, width = size
    last_top, last_left = image.shape[1] - height, image.shape[2] - width
    # Of an odd rest the even half, as the library does.
    middle = (round(last_top / 2), round(last_left / 2))
    starts = [(0, 0), (0, last_left), (last_top, 0), (last_top, last_left), middle]
    found = []
    for top, left in starts:
        crop = np.zeros((3, height, width), dtype=np.uint8)
        for row in range(height):
            for column in range(width):
                crop[:, row, column] = image[:, top + row, left + column]
        found.append(crop)
    return found
