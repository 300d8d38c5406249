"""Statistics of batch norm, batch by batch and number by number."""

from collections.abc import Sequence


def slow_statistics(batches: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Mean and variance of one channel: means of the batches' own, weighed by their images."""
    images = sum(len(batch) for batch in batches)
    mean = variance = 0.0
    for batch in batches:
        own = sum(batch) / len(batch)
        spread = sum((value - own) ** 2 for value in batch) / (len(batch) - 1)
        mean += own * len(batch) / images
        variance += spread * len(batch) / images
    return mean, variance
