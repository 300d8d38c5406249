"""What every adapter declares."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from taxonet.errors import ConfigError
from taxonet.models.clip import ImageTower


class Adapter(ABC):
    """A way to train a small part of a backbone, or a few new weights in it.

    Right after `fit_into` the backbone gives the embeddings that it gave before, bit for bit, so
    that training starts at the weights that it was loaded with.

    Attributes:
        adds_weights: Whether the backbone has other weights than before, so that its own reader
            does not know it any more.
    """

    adds_weights: ClassVar[bool]

    @abstractmethod
    def fit_into(self, backbone: nn.Module) -> list[nn.Parameter]:
        """Put new weights in where there are any, and return all that is to be trained.

        Random weights come from torch's random state on the CPU. Which of the backbone's other
        weights train is left to the caller.

        Raises:
            ConfigError: The backbone has not what the adapter works on.
        """


def kind_of(backbone: nn.Module) -> str:
    """Return the name of the class that a backbone really is, whatever it is wrapped in."""
    if isinstance(backbone, ImageTower):
        visual = backbone.visual
        backbone = getattr(visual, "trunk", visual)
    return type(backbone).__name__


def check_size(name: str, size: int) -> None:
    """Raise a ConfigError unless an adapter's size is at least 1."""
    if size < 1:
        raise ConfigError(f"{name} must be at least 1, but is {size}.")
