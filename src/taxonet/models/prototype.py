"""The prototype head: a class scores by how near its prototype is to the embedding."""

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError, DataError
from taxonet.models.heads import Head, directions
from taxonet.registry import HEADS

Distance = Literal["euclidean", "squared_euclidean", "cosine"]

#: A distance below this share of the lengths of both vectors counts as 0: writing the vectors down
#: in float32 moves them as far.
NEAREST = 1e-7


@HEADS.register("prototype")
class PrototypeHead(Head):
    r"""Half the distance to the prototype of each class, negated: ``logits = -d(g, c_k) / 2``.

    ``d(g, c) = sqrt(sum_i (g - c)_i^2 / T_i)`` for ``euclidean``, its square for
    ``squared_euclidean``, and ``1 - cos(g, c)`` for ``cosine``. The channel temperatures ``T_i``
    start at 1 and stay positive, because their logarithms are what is learned. The class of the
    largest logit is the one of the nearest prototype.

    Euclidean distances are computed in float64: they are right to 1e-5 of themselves where they are
    more than 1e-4 of the lengths of the two vectors, and to 1e-3 from 1e-5 of the lengths on. An
    embedding on its prototype has the distance 0 and no gradient there, in place of the infinite
    slope of the square root.

    Prototypes start in random directions with norms near 1, which is of use only where the head is
    trained with its backbone; `set_prototypes` puts class means in their place.

    Shape:
        Embeddings ``(B, d)``; logits ``(B, c)`` come back, at most 0 (in [-1, 0] for ``cosine``),
        in float32 at least.

    Args:
        dim: The number d of features of an embedding.
        classes: The number c of classes.
        distance: What distance means.
        channel_temperature: Whether each channel has a temperature to learn. ``cosine`` has none,
            whatever is said here.

    Raises:
        ConfigError: A size below 1, an unknown distance.

    Reference:
        Learning Prototype Classifiers for Long-Tailed Recognition, eq. 2 and 4.

    Examples:
        >>> head = PrototypeHead(2, 2)
        >>> head.set_prototypes(torch.tensor([[0.0, 0.0], [3.0, 0.0]]))
        >>> head(torch.tensor([[3.0, 4.0]]))
        tensor([[-2.5000, -2.0000]], grad_fn=<DivBackward0>)
    """

    kind: ClassVar[Literal["logits", "cosines"]] = "logits"
    log_temperature: nn.Parameter | None

    def __init__(
        self,
        dim: int,
        classes: int,
        distance: Distance = "euclidean",
        channel_temperature: bool = True,
    ) -> None:
        super().__init__(dim, classes)
        self.distance = check_distance(distance)
        self.channel_temperature = channel_temperature and distance != "cosine"
        nn.init.normal_(self.weight, std=dim**-0.5)
        log_temperature = nn.Parameter(torch.zeros(dim))
        self.register_parameter(
            "log_temperature", log_temperature if self.channel_temperature else None
        )

    @property
    def temperature(self) -> Tensor:
        """The temperature of each channel ``(d,)``, above 0; 1 where none is learned."""
        if self.log_temperature is None:
            return torch.ones_like(self.weight[0])
        return self.log_temperature.exp()

    @torch.no_grad()
    def set_prototypes(self, means: Tensor) -> None:
        """Put prototypes ``(c, d)`` in the place of those there are.

        Raises:
            DataError: They are not one finite vector of d numbers for each class.
        """
        if means.shape != self.weight.shape or not bool(means.isfinite().all()):
            raise DataError(
                f"Prototypes must be finite numbers of shape {tuple(self.weight.shape)}, one row "
                f"a class, but got {means.dtype} of shape {tuple(means.shape)}."
            )
        self.weight.copy_(means)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the logits ``(B, c)``."""
        with torch.autocast(embedding.device.type, enabled=False):
            return self._distances(embedding) / -2

    def _distances(self, embedding: Tensor) -> Tensor:
        if self.distance == "cosine":
            return 1 - directions(embedding) @ directions(self.weight).T
        points, prototypes = _float64(embedding), _float64(self.weight)
        if self.log_temperature is not None:
            # sqrt(T) under each coordinate makes the distance a plain one.
            shrink = torch.exp(_float64(self.log_temperature) / -2)
            points, prototypes = points * shrink, prototypes * shrink
        distances = squared_distances(points, prototypes)
        if self.distance == "euclidean":
            distances = root(distances)
        return distances.to(embedding.device, torch.promote_types(embedding.dtype, torch.float32))

    def extra_repr(self) -> str:
        """Return the sizes and the options."""
        return (
            f"embedding_size={self.embedding_size}, classes={self.classes}, "
            f"distance={self.distance!r}, channel_temperature={self.channel_temperature}"
        )


def check_distance(distance: Distance) -> Distance:
    """Return the distance, or raise a ConfigError where it is unknown."""
    if distance not in get_args(Distance):
        raise ConfigError(
            f"distance must be 'euclidean', 'squared_euclidean' or 'cosine', but is {distance!r}."
        )
    return distance


def squared_distances(points: Tensor, prototypes: Tensor) -> Tensor:
    """Return ``|g - c|^2`` of all pairs ``(B, c)``, points ``(B, d)`` and prototypes ``(c, d)``.

    One matrix product, so about nine times as fast as sums of squared differences. What it loses to
    cancellation is harmless in float64 and ruinous in float32. Distances below `NEAREST` are 0,
    with no gradient.

    Examples:
        >>> points = torch.tensor([[3.0, 4.0], [1.0, 1.0]], dtype=torch.float64)
        >>> squared_distances(points, torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64))
        tensor([[25., 13.],
                [ 2.,  0.]], dtype=torch.float64)
    """
    lengths = points.square().sum(dim=1, keepdim=True) + prototypes.square().sum(dim=1)  # (B, c)
    squares = torch.addmm(lengths, points, prototypes.T, alpha=-2)
    return squares.masked_fill(squares <= NEAREST**2 * lengths, 0.0)


def root(squares: Tensor) -> Tensor:
    """Return the square root of numbers of at least 0, with a gradient of 0 at 0.

    Examples:
        >>> at = torch.tensor([0.0, 4.0], requires_grad=True)
        >>> root(at).sum().backward()
        >>> at.grad
        tensor([0.0000, 0.2500])
    """
    at_zero = squares == 0
    # Masked before the root as well: 0 times an infinite slope is not a number.
    return squares.masked_fill(at_zero, 1.0).sqrt().masked_fill(at_zero, 0.0)


def _float64(values: Tensor) -> Tensor:
    """Return the values in float64, on the CPU where the device does not know float64."""
    return (values.cpu() if values.device.type == "mps" else values).double()
