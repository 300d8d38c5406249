"""How a loss shows its options: as the call that would build it again."""

import inspect

from torch import nn


def options_repr(loss: nn.Module) -> str:
    """Return the options of a loss as they would be written in a call.

    The options are the parameters after the first, ``class_counts``; the loss keeps each as an
    attribute of the same name.

    Examples:
        >>> class Margin(nn.Module):
        ...     def __init__(self, class_counts: list[int], *, margin_cos: float = 0.5) -> None:
        ...         super().__init__()
        ...         self.margin_cos = margin_cos
        >>> options_repr(Margin([3, 1]))
        'margin_cos=0.5'
    """
    parameters = list(inspect.signature(type(loss)).parameters)[1:]
    return ", ".join(f"{option}={getattr(loss, option)!r}" for option in parameters)
