"""Steps that a GPU repeats without the host: CUDA graphs, and streams that run side by side.

What the documentation of torch 2.11 asks of a captured step, and where it is seen to:

- no value is read from the device and nothing is copied from the host inside: steps take batch,
  learning rate and colours from tensors that lie there, and count for themselves;
- warm-up and capture run on one side stream, so that autograd's nodes know no other;
- random numbers are drawn outside, so that no generator has to be registered;
- autocast keeps no cache of cast weights, which would outlive the capture;
- what the warm-up changed is put back, in place: the graph knows addresses, not names.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

Step = Callable[[], None]

_WARM_UP_STEPS = 3  # so that libraries have chosen their kernels and allocated their workspaces


def new_stream(device: torch.device) -> torch.cuda.Stream | None:
    """Return a stream of its own for a row, which sees all that was done before; None on a CPU."""
    if device.type != "cuda":
        return None
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    return stream


def on_stream(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    """Run what is inside on the stream, where there is one."""
    return nullcontext() if stream is None else torch.cuda.stream(stream)


def synchronise(device: torch.device) -> None:
    """Wait until all streams of the device are done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def captured(
    step: Step, *, changes: Sequence[Tensor], stream: torch.cuda.Stream, what: str
) -> Step | None:
    """Return the step as a graph to replay, or None where it cannot be captured, and say so.

    Args:
        step: What to repeat; its inputs and outputs are tensors that stay where they are.
        changes: All tensors that the step changes; they are afterwards as they were.
        stream: Where to warm up and capture. After a failure it must not be used again.
        what: Name of the step in the message.
    """
    before = [tensor.detach().clone() for tensor in changes]
    outside = torch.cuda.current_stream(stream.device)
    stream.wait_stream(outside)
    try:
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_STEPS):
                step()
        torch.cuda.synchronize(stream.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            step()
    except RuntimeError as error:
        # A capture that fails at its end leaves its stream the current one.
        torch.cuda.set_stream(outside)
        reason = str(error).strip().partition("\n")[0]
        print(f"{what}: no CUDA graph ({reason}); every step is launched.", file=sys.stderr)
        replay = None
    else:
        replay = graph.replay
    put_back(changes, before)
    torch.cuda.synchronize(stream.device)
    return replay


@torch.no_grad()
def put_back(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Give tensors their old values, in place."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
