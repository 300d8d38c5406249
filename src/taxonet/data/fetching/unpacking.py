"""Unpacking archives from the network: nothing outside the folder, no links, no bombs."""

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from taxonet.errors import DataError
from taxonet.files import write_text

# The archives hold photos, which hardly shrink, and JSON, which shrinks to about a tenth.
_MOST_EXPANSION = 40
_SMALLEST_LIMIT = 1 << 20
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a zip of an unknown compression
    RuntimeError,  # a zip under a password
)


def was_unpacked(archive: Path) -> bool:
    """Say whether an archive, which may be gone since, was unpacked to the end."""
    return _done(archive).is_file()


def unpack(archive: Path, folder: Path) -> list[str]:
    """Unpack a tar (also compressed) or zip archive, all of it or nothing.

    Files come out in a hidden folder beside their place and are moved when all are there. An
    archive that was unpacked before is known by the file ``<archive>.unpacked`` and left alone.

    Args:
        archive: The archive.
        folder: Where its files and folders go.

    Returns:
        The names that were put into ``folder``.

    Raises:
        DataError: The archive is damaged; holds a link, a device, or a path that leads outside;
            expands to more than 40 times its size; or something of its name is there already.
    """
    if was_unpacked(archive):
        return _done(archive).read_text(encoding="utf-8").splitlines()
    # One name, so that what an interrupted call left is removed by the next.
    temporary = folder / f".{archive.name}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _unpack_into(temporary, archive)
        names = _move(temporary, folder, archive)
    except _DAMAGED as error:
        raise DataError(f"{archive} is damaged or no archive: {error}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    write_text(_done(archive), "".join(f"{name}\n" for name in names))
    return names


def _done(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.unpacked")


def _move(temporary: Path, folder: Path, archive: Path) -> list[str]:
    names = sorted(entry.name for entry in temporary.iterdir())
    present = [name for name in names if (folder / name).exists()]
    if present:
        raise DataError(
            f"{archive} would overwrite {folder / present[0]}: remove that, or choose another "
            "folder."
        )
    for name in names:
        (temporary / name).rename(folder / name)
    return names


def _unpack_into(folder: Path, archive: Path) -> None:
    limit = max(_SMALLEST_LIMIT, _MOST_EXPANSION * archive.stat().st_size)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened_zip:
            _unzip(opened_zip, folder, archive, limit=limit)
    else:
        with tarfile.open(archive) as opened_tar:
            _untar(opened_tar, folder, archive, limit=limit)


def _untar(tar: tarfile.TarFile, folder: Path, archive: Path, *, limit: int) -> None:
    total = 0
    for member in tar:
        if not (member.isfile() or member.isdir()):
            raise _no_plain_file(member.name, archive)
        total += member.size
        _check(member.name, total, archive, limit=limit)
        _write_member(tar, member, folder / member.name)


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Write the content alone: no owner, time or mode of the archive is taken over."""
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None  # it is a plain file
    with content, path.open("xb") as stream:
        shutil.copyfileobj(content, stream)


def _unzip(opened: zipfile.ZipFile, folder: Path, archive: Path, *, limit: int) -> None:
    total = 0
    for member in opened.infolist():
        mode = member.external_attr >> 16
        if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
            raise _no_plain_file(member.filename, archive)
        total += member.file_size
        _check(member.filename, total, archive, limit=limit)
        opened.extract(member, folder)


def _check(name: str, total: int, archive: Path, *, limit: int) -> None:
    # A backslash and a drive are no parts of a path here, but are elsewhere.
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive:
        raise DataError(
            f"{archive} holds the path {name!r}, which leads out of the folder: it was not "
            "unpacked. Do not use this archive."
        )
    if total > limit:
        raise DataError(
            f"{archive} expands to more than {limit:,} bytes, {_MOST_EXPANSION} times its size: "
            "it was not unpacked. Do not use this archive."
        )


def _no_plain_file(name: str, archive: Path) -> DataError:
    return DataError(
        f"{archive} holds {name!r}, which is a link or a device: it was not unpacked, since no "
        "published set has these."
    )
