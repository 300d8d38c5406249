"""Heads: from an embedding to one score a class, and the scale that turns scores to probabilities.

A head holds all that prediction needs; a loss holds none of it.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.errors import ConfigError
from taxonet.registry import HEADS

#: Shorter vectors count as zero: they have no direction.
SHORTEST_NORM = 1e-12


class Head(nn.Module, ABC):
    """The base of all heads: embeddings ``(B, d)`` to scores ``(B, c)``.

    Probabilities are ``softmax(scale * scores / temperature)``. Training sets the scale once, from
    the loss it trains with: ``head.scale = loss.scale``. It is part of the state of the head, so
    that a saved network predicts with the scale it was trained with.

    Args:
        embedding_size: The number d of features of an embedding.
        classes: The number c of classes.

    Raises:
        ConfigError: A size below 1.
    """

    weight: nn.Parameter

    def __init__(self, embedding_size: int, classes: int) -> None:
        super().__init__()
        if embedding_size < 1 or classes < 1:
            raise ConfigError(
                "A head needs an embedding_size and classes of at least 1, "
                f"but got {embedding_size} and {classes}."
            )
        self.embedding_size = embedding_size
        self.classes = classes
        self.weight = nn.Parameter(torch.empty(classes, embedding_size))

    @property
    @abstractmethod
    def kind(self) -> Literal["logits", "cosines"]:
        """What the scores are; most heads say it as a constant of their class."""

    @property
    def scale(self) -> float:
        """The factor on the scores inside the softmax: 1 unless the head says otherwise."""
        return 1.0

    @scale.setter
    def scale(self, scale: float) -> None:
        if scale != 1:
            raise ConfigError(
                f"The scores of a {type(self).__name__} are {self.kind}, whose scale is 1, not "
                f"{scale}. A loss with a scale takes cosines: use the head 'cosine'."
            )

    def extra_repr(self) -> str:
        """Return the sizes and the scale."""
        return f"embedding_size={self.embedding_size}, classes={self.classes}, scale={self.scale:g}"


@HEADS.register("linear")
class LinearHead(Head):
    """An affine map: ``logits = x W^T + b``.

    Weights start small (standard deviation 0.01) and biases at 0, so that training starts near
    equal probabilities.

    Shape:
        Embeddings ``(B, d)``; logits ``(B, c)`` come back, any real numbers.

    Examples:
        >>> head = LinearHead(64, 10)
        >>> head(torch.zeros(1, 64)).tolist() == [[0.0] * 10]
        True
    """

    kind: ClassVar[Literal["logits", "cosines"]] = "logits"

    def __init__(self, embedding_size: int, classes: int) -> None:
        super().__init__(embedding_size, classes)
        self.bias = nn.Parameter(torch.zeros(classes))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the logits ``(B, c)``."""
        return F.linear(embedding, self.weight, self.bias)


@HEADS.register("cosine")
class CosineHead(Head):
    """The cosine between the embedding and a prototype of each class.

    ``z_k = <w_k, x> / (|w_k| |x|)``; a vector of norm 0 has the cosine 0 with everything, and no
    gradient. Prototypes start in uniformly random directions, with norms near 1. The cosines are
    computed in float32 under mixed precision too: multiplied by a scale of 32, the rounding of a
    half-precision cosine would be larger than many margins.

    Shape:
        Embeddings ``(B, d)``; cosines ``(B, c)`` come back, in [-1, 1] up to rounding, in float32
        at least.

    Args:
        embedding_size: The number d of features of an embedding.
        classes: The number c of classes.
        scale: The scale s > 0 of the cosines inside the softmax.

    Raises:
        ConfigError: A size below 1, a scale that is not finite and positive.

    Examples:
        >>> head = CosineHead(2, 2)
        >>> _ = head.load_state_dict({**head.state_dict(), "weight": torch.eye(2)})
        >>> head(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]], grad_fn=<MmBackward0>)
        >>> head.scale
        32.0
    """

    kind: ClassVar[Literal["logits", "cosines"]] = "cosines"
    scale_of_cosines: Tensor

    def __init__(self, embedding_size: int, classes: int, *, scale: float = 32.0) -> None:
        super().__init__(embedding_size, classes)
        self.register_buffer("scale_of_cosines", torch.ones(()))
        self.scale = scale
        nn.init.normal_(self.weight, std=1 / math.sqrt(embedding_size))

    @property
    def scale(self) -> float:
        """The factor on the cosines inside the softmax, kept in the state as float32."""
        return self.scale_of_cosines.item()

    @scale.setter
    def scale(self, scale: float) -> None:
        if not (math.isfinite(scale) and scale > 0):
            raise ConfigError(f"scale must be a finite number above 0, but is {scale}.")
        self.scale_of_cosines.fill_(scale)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the cosines ``(B, c)``."""
        with torch.autocast(embedding.device.type, enabled=False):
            return directions(embedding) @ directions(self.weight).T


def directions(vectors: Tensor) -> Tensor:
    """Return the vectors at norm 1, in float32 at least; those without a direction become 0."""
    vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    units = vectors / norms.clamp_min(SHORTEST_NORM)
    # The division alone would give a zero vector a gradient of 1e12.
    return units.masked_fill(norms <= SHORTEST_NORM, 0.0)
