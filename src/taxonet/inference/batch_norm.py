"""Batch norm with the statistics of other images than those of training."""

from collections.abc import Iterable
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from taxonet.errors import ConfigError, DataError

Net = TypeVar("Net", bound=nn.Module)


def batch_norm_layers(network: nn.Module) -> list[_BatchNorm]:
    """Return the layers of a network that normalise by statistics gathered in training."""
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    return [layer for layer in layers if layer.running_mean is not None]


def adapt_batch_norm(network: Net, images: Iterable[Tensor]) -> Net:
    """Return a copy of a network whose batch norm layers have the statistics of some images.

    Mean and variance of each layer become ``sum_b n_b m_b / sum_b n_b`` over the batches b of n_b
    images, where m_b is what the layer sees of a batch while all layers normalise by that batch.
    Then they stand still: what the copy says of an image depends on the images given here, and
    not on its batch. Batches should be drawn at random; those of one class hide how far classes
    lie apart. Weights stay as they are, and labels are not needed.

    Args:
        network: Any network with batch norm layers; it is not changed.
        images: Batches ``(n_b, ...)`` as the network takes them, each passed through once. One of
            a single image has no spread, and is left out.

    Returns:
        The copy, in evaluation mode.

    Raises:
        ConfigError: The network has no batch norm layer that keeps statistics.
        DataError: There is no batch of at least two images.

    Reference:
        Li et al. 2018, Adaptive Batch Normalization for Practical Domain Adaptation; Schneider et
        al. 2020, Improving Robustness Against Common Corruptions by Covariate Shift Adaptation.

    Examples:
        >>> adapted = adapt_batch_norm(nn.BatchNorm1d(1), [torch.tensor([[1.0], [3.0]])])
        >>> adapted.running_mean, adapted.running_var
        (tensor([2.]), tensor([2.]))
    """
    if not batch_norm_layers(network):
        raise ConfigError(
            "The network has no batch norm layer, whose statistics could be those of other images "
            "(transformers normalise each image by itself): leave the option out."
        )
    adapted = deepcopy(network).eval()
    layers = batch_norm_layers(adapted)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.train()
    seen = 0
    with torch.no_grad():
        for batch in images:
            if len(batch) < 2:
                continue
            seen += len(batch)
            for layer in layers:
                # The share of this batch in all so far: the first replaces what training left.
                layer.momentum = len(batch) / seen
            adapted(batch)
    if seen == 0:
        raise DataError("Statistics need a batch of at least two images, and there is none.")
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    return adapted.eval()
