"""Fetching a benchmark set: what will be done, in words, and then doing it."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from taxonet.data.fetching.catalogue import RemoteFile, RemoteSet
from taxonet.data.fetching.download import download
from taxonet.data.fetching.unpacking import unpack, was_unpacked
from taxonet.data.fetching.verification import digest_of, record, record_of, recorded
from taxonet.errors import ConfigError, DataError, did_you_mean


def from_mirror(found: RemoteSet, url: str) -> RemoteSet:
    """Return a set whose files come from another place under the same names.

    Args:
        found: The set.
        url: Address of the folder that holds the files. Published checksums stay in force.

    Examples:
        >>> from taxonet.data.fetching import remote_set
        >>> from_mirror(remote_set("cifar10-lt"), "http://mirror.example/cifar/").files[0].url
        'http://mirror.example/cifar/cifar-10-binary.tar.gz'
    """
    base = url.rstrip("/")
    files = [
        replace(
            file, url=f"{base}/{file.name}", read_in=f"the address was given; rest: {file.read_in}"
        )
        for file in found.files
    ]
    return replace(found, files=tuple(files))


def only(found: RemoteSet, names: Iterable[str]) -> RemoteSet:
    """Return a set with some of its files; all of them where no name is given.

    Raises:
        ConfigError: The set has no file of that name.
    """
    wanted = list(names)
    known = [file.name for file in found.files]
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"{found.name} has no file {name!r}.{did_you_mean(name, known)} "
                f"Files: {', '.join(known)}."
            )
    files = tuple(file for file in found.files if not wanted or file.name in wanted)
    return replace(found, files=files)


def describe(found: RemoteSet, folder: Path) -> list[str]:
    """Say what a fetch would do: files, sizes, addresses, checksums, terms and work by hand."""
    lines = [f"{found.name} to {folder}:"]
    for file in found.files:
        checksum = (
            f"{file.checksum.kind} {file.checksum.digits}"
            if file.checksum is not None
            else "none is published; the SHA-256 of the first copy is recorded beside it"
        )
        lines += [
            f"  {file.name}, {file.size}" + (", to be unpacked" if file.unpacked else ""),
            f"    from      {file.url}",
            f"    checksum  {checksum}",
            f"    read in   {file.read_in}",
        ]
    lines.append(f"Terms: {found.terms}")
    if found.by_hand:
        lines.append(f"By hand: {found.by_hand}")
    return lines


def fetch(found: RemoteSet, folder: Path, *, show_progress: bool = False) -> list[Path]:
    """Fetch, verify and unpack the files of a set; what is there and right is left alone.

    Args:
        found: The set.
        folder: Where the files go.
        show_progress: Show how far each file has come.

    Returns:
        Where the files are.

    Raises:
        DataError: A file cannot be fetched, is not what was published, or cannot be unpacked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for file in found.files:
        path = folder / file.name
        paths.append(path)
        # Who has unpacked an archive may remove it: it would only take room.
        if file.unpacked and not path.exists() and was_unpacked(path):
            continue
        _fetch_one(file, path, show_progress=show_progress)
        if file.unpacked:
            unpack(path, folder)
    return paths


def _fetch_one(file: RemoteFile, path: Path, *, show_progress: bool) -> None:
    known = file.checksum or recorded(path)
    if path.exists():
        _require_same(file, path)
        return
    # A file that was fetched before and removed since has to be the same again.
    download(replace(file, checksum=known), path, show_progress=show_progress)
    if known is None:
        record(path)


def _require_same(file: RemoteFile, path: Path) -> None:
    known = file.checksum or recorded(path)
    if known is None:
        record(path)
        return
    digits = digest_of(path, known.kind)
    if digits != known.digits:
        published = "was published" if file.checksum else f"is recorded in {record_of(path)}"
        raise DataError(
            f"{path} is there already, but its {known.kind} is {digits} and {known.digits} "
            f"{published}. Move it away and fetch again."
        )
