"""A store of embeddings: each photo passes a frozen backbone once and is read from disk after that.

A store is a folder of one embedding space (`Space`: weights and preprocessing)::

    store.json        the space
    000000.npy        up to 512 embeddings, float32 (n, d), read through a memory map
    000000.parquet    their keys: the SHA-256 of the photo's bytes, and the view
    writer.lock       held by the one process that writes

Since a photo is known by its bytes, it may be renamed, moved or be in several tables.
"""

from taxonet.data.features.batches import StoredBatches
from taxonet.data.features.digests import photo_digests
from taxonet.data.features.keys import PLAIN, view_key
from taxonet.data.features.space import Space
from taxonet.data.features.store import FeatureStore
from taxonet.data.features.writer import FeatureWriter

__all__ = [
    "PLAIN",
    "FeatureStore",
    "FeatureWriter",
    "Space",
    "StoredBatches",
    "photo_digests",
    "view_key",
]
