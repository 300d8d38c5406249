"""An exponential moving average of the weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    r"""Weights that follow those of a module slowly.

    .. math:: \bar w_{t+1} = d_t \bar w_t + (1 - d_t) w_{t+1}, \qquad
        d_t = \min\left(d, \frac{1 + t}{10 + t}\right)

    t counts the updates before, and the average starts at the weights that the module has now. The
    floating-point buffers of its state, such as the statistics of batch norm, are averaged as the
    weights are (as in timm's ``ModelEmaV3``), so that they fit the averaged weights; counters are
    copied. Buffers that are no part of the state are left out: the attention mask of a text tower
    holds minus infinity, which no average survives. That is why torch's ``AveragedModel``, which
    takes all buffers, has no place here.

    Args:
        module: The module to follow, on the device where it trains. Its tensors may change in
            place only.
        decay: The decay d, above 0 and below 1.

    Reference:
        Tarvainen and Valpola 2017, Mean teachers are better role models, arXiv 1703.01780; the
        warm-up of the decay is that of TensorFlow's ``ExponentialMovingAverage``.

    Examples:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 1.0)
        >>> average = WeightAverage(layer, decay=0.9)
        >>> _ = nn.init.constant_(layer.weight, 2.0)
        >>> average.update()  # d = min(0.9, 1 / 10)
        >>> average.swap()
        >>> round(layer.weight.item(), 4)
        1.9
        >>> average.swap()
        >>> layer.weight.item()
        2.0
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self._module, self._decay, self._updates = module, decay, 0
        self._average = {name: tensor.clone() for name, tensor in _state_of(module).items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights that the module has now."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        self._updates += 1
        now = _state_of(self._module)
        floats = [name for name, tensor in now.items() if tensor.is_floating_point()]
        averages = [self._average[name] for name in floats]
        # One call for all tensors, as in torch's own optimisers: a ViT has hundreds.
        torch._foreach_lerp_(averages, [now[name] for name in floats], 1 - decay)
        for name in now.keys() - set(floats):
            self._average[name].copy_(now[name])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the state of the module and the average."""
        for name, tensor in _state_of(self._module).items():
            before = tensor.clone()
            tensor.copy_(self._average[name])
            self._average[name].copy_(before)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {"updates": self._updates, "average": self._average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned, from any device."""
        self._updates = int(state["updates"])
        for name, tensor in self._average.items():
            tensor.copy_(state["average"][name])


def _state_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a module's state, each once, as views that can be written to."""
    saved = module.state_dict().keys()
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tensor.detach() for name, tensor in named.items() if name in saved}
