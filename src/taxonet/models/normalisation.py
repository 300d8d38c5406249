"""Pixels to the floats that a backbone was made for."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalisation(nn.Module):
    r"""Pixel values of 0 to 255 to floats: $(x / 255 - mean) / std$ in each of R, G, B.

    Both figures belong to a network and not to its weights: they are no part of its state.

    Shape:
        Images ``(B, 3, H, W)``, uint8 or floats of 0 to 255; float32 of that shape comes back.

    Args:
        mean: Mean of each colour, 0 to 1.
        std: Standard deviation of each colour, in the same unit.

    Examples:
        >>> white = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
        >>> Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))(white).flatten().tolist()
        [2.0, 2.0, 2.0]
    """

    shift: Tensor
    spread: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean, self.std = tuple(mean), tuple(std)
        self.register_buffer("shift", torch.tensor(self.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(self.std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised images."""
        scaled = images.float() / 255
        return scaled.sub_(self.shift).div_(self.spread)  # a batch is large: no copies of it

    def extra_repr(self) -> str:
        """Return both figures."""
        return f"mean={self.mean}, std={self.std}"
