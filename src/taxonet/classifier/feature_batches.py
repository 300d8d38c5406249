"""Features of a stream of photos, batch by batch: what a frozen backbone makes of them."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from taxonet.data.loading import stream_batches
from taxonet.data.transforms import Transform
from taxonet.models import Network

Item = TypeVar("Item")

_NOT_FINITE = "the backbone gives no finite numbers for it"


@torch.inference_mode()
def feature_batches(
    network: Network,
    sources: Iterable[Item],
    transform: Transform,
    *,
    device: torch.device,
    batch_size: int,
    workers: int = 0,
) -> Iterator[tuple[list[Item], Tensor, dict[int, str]]]:
    """Yield the features of photos in their order, holding only a few batches at a time.

    Args:
        network: Its backbone and normalisation are used; it is moved to the device and put into
            evaluation mode.
        sources: As `stream_batches` takes them.
        transform: From a photo to the network's input.
        device: Where to compute.
        batch_size: Photos in a batch, broken ones included.
        workers: Reading processes.

    Yields:
        The sources of the batch; the features ``(G, f)`` float32 of the usable photos, on the CPU;
        and the reason of each other photo, by its position in the batch.
    """
    with torch.inference_mode(mode=False):
        # What is moved in inference mode could never be trained again.
        network.to(device).eval()
    stream = stream_batches(
        sources,
        transform,
        batch_size=batch_size,
        workers=workers,
        pin_memory=device.type == "cuda",
    )
    for given, batch in stream:
        broken = dict(batch.broken)
        features = torch.zeros(0, network.head.embedding_size)
        if len(batch.images):  # windowed transformers cannot take an empty batch
            images = batch.images.to(device, non_blocking=device.type == "cuda")
            features = network.features(images).float().cpu()
        finite = features.isfinite().all(dim=1)
        reasons = dict.fromkeys(batch.rows[~finite].tolist(), _NOT_FINITE)
        yield given, features[finite], broken | reasons
