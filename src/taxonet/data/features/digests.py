"""Digests of photos: what a store knows them by."""

import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import islice
from pathlib import Path

from taxonet.data.decoding import BrokenImage, ImageSource, StoredPhoto, load_image, read_file
from taxonet.progress import Progress

_AT_ONCE = 1024


def photo_digests(
    sources: Iterable[ImageSource], *, workers: int = 8, progress: Progress | None = None
) -> tuple[list[str], dict[int, str]]:
    """Return the SHA-256 of each photo's bytes, undecoded.

    Of an image in memory it is the digest of its pixels, which no file's equals.

    Args:
        sources: Paths, encoded bytes, PIL images or arrays, as `load_image` takes them.
        workers: Threads that read.
        progress: Advanced by one for each photo.

    Returns:
        64 hexadecimal digits for each photo, empty where it cannot be read; and the reasons of
        those, by position.

    Examples:
        >>> digests, broken = photo_digests([b"Quercus robur", "no/such.jpg"])
        >>> digests[0][:8], digests[1], broken
        ('409741c5', '', {1: 'no such file'})
    """
    digests: list[str] = []
    broken: dict[int, str] = {}
    stream = iter(sources)
    with ThreadPoolExecutor(workers) as pool:
        # A piece at a time: the pool takes in all that it is given, and bytes may be large.
        while piece := list(islice(stream, _AT_ONCE)):
            for digest, reason in pool.map(_digest, piece):
                if reason:
                    broken[len(digests)] = reason
                digests.append(digest)
                if progress is not None:
                    progress.advance()
    return digests, broken


def _digest(source: ImageSource) -> tuple[str, str]:
    """Return digest and reason, one of which is empty."""
    if isinstance(source, StoredPhoto):
        return source.sha256, ""
    try:
        if isinstance(source, bytes):
            return sha256(source).hexdigest(), ""
        if isinstance(source, str | Path):
            return sha256(_read_regular(Path(source))).hexdigest(), ""
        image = load_image(source)
    except BrokenImage as error:
        return "", error.reason
    header = f"RGB pixels {image.width} x {image.height}\n".encode()
    return sha256(header + image.tobytes()).hexdigest(), ""


def _read_regular(path: Path) -> bytes:
    """Return the bytes of a file; reading a pipe or a device might never end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return read_file(path)  # says why it cannot be read
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise BrokenImage("not a regular file")
    return read_file(path)
