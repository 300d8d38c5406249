"""Whether a file is the one that was published, or the one that was fetched first."""

import hashlib
from pathlib import Path

from taxonet.data.fetching.catalogue import Checksum
from taxonet.errors import DataError
from taxonet.files import write_text

_PIECE = 1 << 20


def digest_of(path: Path, kind: str) -> str:
    """Return the digest of a file as lower-case hexadecimal digits, reading it in pieces.

    Args:
        path: The file.
        kind: ``md5`` or ``sha256``.
    """
    # MD5 is no longer safe against a forger; it is what is published, and finds a bad transfer.
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def recorded(path: Path) -> Checksum | None:
    """Return the digest that was recorded beside a file when it was fetched, or None.

    Raises:
        DataError: The record holds no SHA-256.
    """
    record = record_of(path)
    if not record.is_file():
        return None
    digits = record.read_text(encoding="utf-8").split(" ", 1)[0].strip().lower()
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise DataError(f"{record} holds no SHA-256: remove it, and fetch the file again.")
    return Checksum("sha256", digits)


def record(path: Path) -> Checksum:
    """Write the SHA-256 of a file beside it, as ``sha256sum -c`` reads it."""
    found = Checksum("sha256", digest_of(path, "sha256"))
    write_text(record_of(path), f"{found.digits}  {path.name}\n")
    return found


def record_of(path: Path) -> Path:
    """Return where the digest of a file is recorded."""
    return path.with_name(f"{path.name}.sha256")
