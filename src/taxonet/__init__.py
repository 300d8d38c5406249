"""taxonet: species recognition from photos, right about rare species and honest about unknown ones.

The public names are imported when they are first used: ``import taxonet`` does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from taxonet.version import __version__

if TYPE_CHECKING:
    from taxonet.classifier import TaxonClassifier
    from taxonet.data import ImageTable
    from taxonet.errors import TaxonetError
    from taxonet.evaluation import evaluate
    from taxonet.taxonomy import Taxonomy
    from taxonet.training import EmbeddingClassifier, train

_HOME = {
    "EmbeddingClassifier": "taxonet.training",
    "ImageTable": "taxonet.data",
    "TaxonClassifier": "taxonet.classifier",
    "TaxonetError": "taxonet.errors",
    "Taxonomy": "taxonet.taxonomy",
    "evaluate": "taxonet.evaluation",
    "train": "taxonet.training",
}

__all__ = [
    "EmbeddingClassifier",
    "ImageTable",
    "TaxonClassifier",
    "TaxonetError",
    "Taxonomy",
    "__version__",
    "evaluate",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    try:
        # The rooms themselves: `taxonet.losses` works after `import taxonet`.
        return import_module(f"taxonet.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"taxonet.{name}":
            raise  # the room is there, and what it needs is not installed
        raise AttributeError(f"module 'taxonet' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted(__all__)
