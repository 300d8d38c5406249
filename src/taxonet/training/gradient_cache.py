"""Large batches in the memory of small ones: encoded chunk by chunk, compared as a whole."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from taxonet.errors import ConfigError


def encode_in_chunks(encoder: nn.Module, inputs: Tensor, *, chunk: int) -> Tensor:
    """Return what the encoder makes of the inputs, keeping its activations for one chunk at most.

    A contrastive loss gains from large batches, since it compares all pairs of one, and the memory
    goes into the activations of the encoders. Here each chunk is encoded without keeping them.
    When the gradient of its features comes back, which the loss of the whole batch gave, the chunk
    is encoded again and the gradient goes on into the encoder, before the next chunk's turn. Value
    and gradients are those of the whole batch; the price is one more forward pass of the encoder.
    It serves any number of encoders, each called in this way, and any loss of their features.

    Dropout is the same both times. Under data-parallel training, wrap the module that calls this,
    not the encoder: its gradients then meet once a batch and not once a chunk.

    Differs from the paper: autograd keeps the gradients of the features and goes through the
    chunks, so that ``loss.backward()``, loss scaling and accumulation are as they always are.

    Args:
        encoder: Maps ``(b, ...)`` to features ``(b, ...)``, each row by itself.
        inputs: The whole batch ``(B, ...)``: images, or the tokens of texts.
        chunk: How many rows are encoded at once, at least 1; the last chunk may be shorter.

    Returns:
        The features ``(B, ...)`` of the whole batch.

    Raises:
        ConfigError: ``chunk`` is below 1, or the encoder normalises by the statistics of a batch,
            so that a chunk would not be encoded as the whole is.

    Reference:
        Gao et al. 2021, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup
        (arXiv 2101.06983), section 3.

    Examples:
        >>> encoder = nn.Linear(3, 2)
        >>> features = encode_in_chunks(encoder, torch.ones(5, 3), chunk=2)
        >>> features.shape
        torch.Size([5, 2])
        >>> features.sum().backward()
        >>> encoder.weight.grad
        tensor([[5., 5., 5.],
                [5., 5., 5.]])
    """
    if chunk < 1:
        raise ConfigError(f"chunk must be a number of rows of at least 1, but is {chunk}.")
    check_rows_are_apart(encoder)
    parts = torch.split(inputs, chunk)
    return torch.cat([checkpoint(encoder, part, use_reentrant=False) for part in parts])


def check_rows_are_apart(encoder: nn.Module) -> None:
    """Raise a ConfigError where an encoder normalises by the statistics of a batch."""
    for name, layer in encoder.named_modules():
        # Without running statistics, a layer takes those of the batch in evaluation mode too.
        if isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None):
            where = f"The layer {name!r} of the encoder" if name else "The encoder"
            raise ConfigError(
                f"{where} ({type(layer).__name__}) normalises by the statistics of a batch, and "
                "would see those of a chunk. Put it in evaluation mode (`layer.eval()`; it needs "
                "running statistics), take an encoder with layer or group normalisation, or encode "
                "the whole batch at once."
            )
