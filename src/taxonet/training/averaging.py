"""An exponential moving average of the weights."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage(AveragedModel):
    r"""A copy of a module whose weights follow those of the module slowly.

    .. math:: \bar w_t = d_t \bar w_{t-1} + (1 - d_t) w_t, \qquad
        d_t = \min\left(d, \frac{1 + t}{10 + t}\right)

    t counts the updates before this one, and the first update copies the weights. Floating-point
    buffers, such as the statistics of batch norm, are averaged as weights are, as in timm's
    ``ModelEmaV3``, so that they fit the averaged weights; counters are copied.

    Args:
        module: The module to follow, on the device where it trains. Parameters may change in
            place only.
        decay: The decay d, above 0 and below 1.

    Reference:
        Tarvainen and Valpola 2017, Mean teachers are better role models, arXiv 1703.01780; the
        warm-up of the decay is that of TensorFlow's ``ExponentialMovingAverage``.

    Examples:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 1.0)
        >>> average = WeightAverage(layer, decay=0.9)
        >>> average.update()
        >>> _ = nn.init.constant_(layer.weight, 2.0)
        >>> average.update()  # d = min(0.9, 2 / 11)
        >>> round(average.module.weight.item(), 4)
        1.8182
        >>> average.swap()
        >>> round(layer.weight.item(), 4), average.module.weight.item()
        (1.8182, 2.0)
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        super().__init__(module, multi_avg_fn=self._blend, use_buffers=True)
        self._followed = [module]  # in a list, or its weights would be part of the state
        self._decay = decay

    def update(self) -> None:
        """Take in the weights that the module has now."""
        self.update_parameters(self._followed[0])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights and buffers of the module and those of the average."""
        both = zip(_tensors(self.module), _tensors(self._followed[0]), strict=True)
        for average, current in both:
            before = current.clone()
            current.copy_(average)
            average.copy_(before)

    @torch.no_grad()
    def _blend(
        self,
        averages: tuple[Tensor, ...] | list[Tensor],
        current: tuple[Tensor, ...] | list[Tensor],
        updates: Tensor | int,
    ) -> None:
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, current)
            return
        done = int(self.n_averaged)  # not `updates`, which is on the GPU
        decay = min(self._decay, (1 + done) / (10 + done))
        torch._foreach_lerp_(averages, current, 1 - decay)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
