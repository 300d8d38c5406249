"""The nodes that could be named: the few that have at least one half of an image's probability."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from taxonet.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LOWEST_THRESHOLD_PROB = 0.5
PROB_DECIMALS = 6  # sums of float32 probabilities are no more exact than this
ROOT = 0
_ROOT_TOLERANCE = 1e-3  # beyond rounding in any precision: other scores than node probabilities


@dataclass(frozen=True, eq=False)
class LikelyNodes:
    """The nodes below the root with a probability of at least 0.5: a few for each image.

    This is all that naming a node needs, for any threshold, at a cost that does not grow with
    the size of the tree.

    Attributes:
        n_images: Number of images, including those without an entry.
        image: int64 ``(m,)``, row of the image, ascending.
        node: int64 ``(m,)``, node of the entry, ascending within an image.
        prob: float64 ``(m,)``, its probability, rounded to 6 decimals so that equal
            probabilities that were summed in another order stay equal.
    """

    n_images: int
    image: IntArray
    node: IntArray
    prob: FloatArray

    def rows(self, chosen: NDArray[np.bool_]) -> Self:
        """Return the likely nodes of the chosen images ``(n_images,)``, numbered anew."""
        kept = chosen[self.image]
        place = np.cumsum(chosen) - 1
        return type(self)(
            n_images=int(chosen.sum()),
            image=place[self.image[kept]],
            node=self.node[kept],
            prob=self.prob[kept],
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the likely nodes of all images of the parts, in order."""
        sizes = [part.n_images for part in parts]
        starts = np.cumsum([0, *sizes])
        return cls(
            n_images=sum(sizes),
            image=np.concatenate(
                [part.image + start for part, start in zip(parts, starts, strict=False)]
            ),
            node=np.concatenate([part.node for part in parts]),
            prob=np.concatenate([part.prob for part in parts]),
        )


def likely_nodes(node_probs: torch.Tensor) -> LikelyNodes:
    """Keep the entries of at least 0.5 of node probabilities.

    Args:
        node_probs: Floats ``(B, n)`` in node order on any device; column 0 is the root's 1.

    Raises:
        DataError: The root's probability is not 1 (within 0.001): these are other scores.

    Examples:
        >>> nodes = likely_nodes(torch.tensor([[1.0, 0.75, 0.25], [1.0, 0.5, 0.5]]))
        >>> nodes.image.tolist(), nodes.node.tolist(), nodes.prob.tolist()
        ([0, 1, 1], [1, 1, 2], [0.75, 0.5, 0.5])
    """
    far = ~((node_probs[:, ROOT].double() - 1).abs() <= _ROOT_TOLERANCE)  # NaN is far too
    if bool(far.any()):
        row = int(far.nonzero()[0])
        raise DataError(
            f"Expected node probabilities with P(root) = 1 in column 0, got "
            f"{float(node_probs[row, ROOT]):.6g} in row {row}: sum class probabilities up the "
            "tree first."
        )
    entries = (node_probs[:, 1:] >= LOWEST_THRESHOLD_PROB - 10.0**-PROB_DECIMALS).nonzero()
    image, node = entries[:, 0], entries[:, 1] + 1
    prob = np.round(node_probs[image, node].double().cpu().numpy(), PROB_DECIMALS)
    kept = prob >= LOWEST_THRESHOLD_PROB
    return LikelyNodes(
        n_images=len(node_probs),
        image=image.cpu().numpy()[kept],
        node=node.cpu().numpy()[kept],
        prob=prob[kept],
    )
