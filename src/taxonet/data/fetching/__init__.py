"""Downloads of the public benchmark sets: only when asked for, resumable, and verified."""

from taxonet.data.fetching.catalogue import CATALOGUE, Checksum, RemoteFile, RemoteSet, remote_set
from taxonet.data.fetching.download import download
from taxonet.data.fetching.fetch import describe, fetch, from_mirror, only
from taxonet.data.fetching.unpacking import unpack

__all__ = [
    "CATALOGUE",
    "Checksum",
    "RemoteFile",
    "RemoteSet",
    "describe",
    "download",
    "fetch",
    "from_mirror",
    "only",
    "remote_set",
    "unpack",
]
