"""Readers of the public benchmark sets, from files that a user has on disk.

Each reader is filed in `taxonet.registry.BENCHMARK_SETS` and returns a `BenchmarkSet`: photos
with splits, and the taxonomy where the set has one. Counts, files and duplicates are checked
before anything else starts.
"""

from taxonet.data.benchmarks.base import BenchmarkSet
from taxonet.data.benchmarks.checks import ExpectedCounts
from taxonet.data.benchmarks.cifar import cifar10_lt, cifar100_lt
from taxonet.data.benchmarks.inaturalist import (
    inaturalist_2018,
    inaturalist_2019,
    inaturalist_2021,
    inaturalist_2021_mini,
)
from taxonet.data.benchmarks.lists import imagenet_lt, places_lt

__all__ = [
    "BenchmarkSet",
    "ExpectedCounts",
    "cifar10_lt",
    "cifar100_lt",
    "imagenet_lt",
    "inaturalist_2018",
    "inaturalist_2019",
    "inaturalist_2021",
    "inaturalist_2021_mini",
    "places_lt",
]
