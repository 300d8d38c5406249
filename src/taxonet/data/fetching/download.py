"""One file from a web server: resumed where it broke off, verified, and whole or absent.

urllib is enough for this: the libraries that come with the dependencies leave the resuming, the
retries over it and the checks of what a server answers to their caller as well.
"""

import errno
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from taxonet.data.fetching.catalogue import RemoteFile
from taxonet.data.fetching.verification import digest_of
from taxonet.data.fetching.web import content_range, open_url, why_unreachable
from taxonet.errors import DataError
from taxonet.files import write_json
from taxonet.progress import Progress
from taxonet.version import __version__

_PIECE = 1 << 20
_ATTEMPTS = 5
_LONGEST_WAIT_SECONDS = 30.0
_MEGABYTE = 1_000_000
# Statuses that may pass: too early, too many requests, and the server's own troubles.
_PASSING = {425, 429, 500, 502, 503, 504}


class _BrokenOffError(Exception):
    """The transfer stopped for a reason that may pass; the message says which."""


@dataclass(frozen=True)
class _Version:
    """Which version of a file the server has, so that parts of two are never joined."""

    url: str
    etag: str | None
    total: int | None

    @property
    def strong_etag(self) -> str | None:
        """The ETag if it vouches for the same bytes; a weak one does not."""
        return None if self.etag is None or self.etag.startswith("W/") else self.etag


def download(
    file: RemoteFile,
    path: Path,
    *,
    timeout_seconds: float = 60.0,
    wait: Callable[[float], None] = time.sleep,
    show_progress: bool = False,
) -> None:
    """Fetch a file to a path that it only takes when it is whole and its checksum right.

    What has arrived is kept in ``<path>.part``; a later call, also after a crash, asks the server
    for the rest, if its ETag and size show that it still has the same file. Transfers that break
    off are taken up again, up to five times without a new megabyte.

    Args:
        file: What to fetch: its address, and its size and checksum where they are known.
        path: Where it goes.
        timeout_seconds: Longest silence of the server.
        wait: Waits between attempts; takes seconds.
        show_progress: Show how far it has come, in megabytes.

    Raises:
        DataError: The server cannot be reached, has no such file or sends another size; the disk
            is full; or the checksum is wrong, and then the file is kept as ``<path>.bad``.
    """
    if urlsplit(file.url).scheme not in ("http", "https"):
        raise DataError(f"Expected an address that starts with http:// or https://: {file.url}")
    path.parent.mkdir(parents=True, exist_ok=True)
    transfer = _Transfer(file, path, timeout_seconds, show_progress=show_progress)
    try:
        _until_whole(transfer, wait)
    except OSError as error:
        raise _of_the_disk(error, transfer) from None
    transfer.finish()


def _until_whole(transfer: "_Transfer", wait: Callable[[float], None]) -> None:
    failures = 0
    while True:
        before = transfer.arrived
        try:
            transfer.go_on()
            return
        except _BrokenOffError as error:
            failures = 1 if transfer.arrived - before >= _MEGABYTE else failures + 1
            if failures >= _ATTEMPTS:
                raise DataError(
                    f"{transfer.file.url}: {error}, {failures} times in a row. "
                    f"{transfer.arrived:,} bytes are kept in {transfer.part}: the same command "
                    "goes on there."
                ) from None
            wait(min(2.0 ** (failures - 1), _LONGEST_WAIT_SECONDS))


class _Transfer:
    """A file on its way: what has arrived, and of which version it is a part."""

    def __init__(
        self, file: RemoteFile, path: Path, timeout_seconds: float, *, show_progress: bool
    ) -> None:
        self.file = file
        self.path = path
        self.part = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        self._timeout_seconds = timeout_seconds
        self._show_progress = show_progress
        # None: what is on disk, if anything, is of no known version. It is written over once the
        # server sends the file, and not before.
        self._version = self._version_of_part()

    @property
    def arrived(self) -> int:
        """Bytes that are on disk."""
        return self.part.stat().st_size if self.part.exists() else 0

    def go_on(self) -> None:
        """Ask for what is missing and write it.

        Raises:
            _BrokenOffError: It stopped before the end, for a reason that may pass.
        """
        if self._version is not None and self.arrived == self._version.total:
            return
        try:
            response = open_url(self._request(), self._timeout_seconds)
        except urllib.error.HTTPError as error:
            self._settle(error)
            return
        except (urllib.error.URLError, HTTPException, OSError) as error:
            raise _BrokenOffError(why_unreachable(error)) from None
        with response:
            mode = self._prepare(response)
            total = None if self._version is None else self._version.total
            self._write(response, mode, total)
        if total is not None and self.arrived != total:
            raise _BrokenOffError(f"the transfer broke off at {self.arrived:,} of {total:,} bytes")

    def finish(self) -> None:
        """Verify what arrived and give it its name."""
        size, checksum = self.arrived, self.file.checksum
        if self.file.size_bytes is not None and size != self.file.size_bytes:
            raise self._set_aside(f"{self.file.size_bytes:,} bytes", f"{size:,}")
        if checksum is not None:
            digits = digest_of(self.part, checksum.kind)
            if digits != checksum.digits:
                raise self._set_aside(f"the {checksum.kind} {checksum.digits}", digits)
        self.part.replace(self.path)
        self._note.unlink(missing_ok=True)

    def _request(self) -> urllib.request.Request:
        request = urllib.request.Request(
            self.file.url, headers={"User-Agent": f"taxonet/{__version__}"}
        )
        if self.arrived and self._version is not None:
            request.add_header("Range", f"bytes={self.arrived}-")
            if self._version.strong_etag is not None:
                request.add_header("If-Range", self._version.strong_etag)
        return request

    def _prepare(self, response: HTTPResponse) -> str:
        """Decide by the server's answer whether the rest is added or all is written anew."""
        etag = response.headers.get("ETag")
        if response.status == 206:
            start, total = content_range(response.headers.get("Content-Range", ""))
            known = self._version
            if known is not None and start == self.arrived and total == known.total:
                return "ab"
            # Another file, or another place in it: what is there belongs to something else.
            self._start_again()
            raise _BrokenOffError("the server has another version of the file than before")
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        self._require_promise(total)
        self._version = _Version(self.file.url, etag, total)
        write_json(self._note, vars(self._version))
        return "wb"

    def _require_promise(self, total: int | None) -> None:
        """Refuse what is of the wrong size or finds no room, before it is sent."""
        if total is None:
            return
        if self.file.size_bytes not in (None, total):
            raise DataError(
                f"{self.file.url} has {total:,} bytes, but the published file has "
                f"{self.file.size_bytes:,}: it was not fetched. Name another address (--url)."
            )
        free = shutil.disk_usage(self.part.parent).free
        if total > free:
            raise DataError(
                f"{self.file.name} has {total:,} bytes, and {self.part.parent} has {free:,} left: "
                "make room or choose another folder."
            )

    def _write(self, response: HTTPResponse, mode: str, total: int | None) -> None:
        done = _megabytes(self.arrived) if mode == "ab" else 0
        goal = None if total is None else _megabytes(total)
        with (
            self.part.open(mode) as stream,
            Progress(
                f"{self.file.name} (MB)", goal, shown=self._show_progress, done=done
            ) as progress,
        ):
            while True:
                try:
                    piece = response.read(_PIECE)
                except (HTTPException, OSError) as error:
                    raise _BrokenOffError(why_unreachable(error)) from None
                if not piece:
                    return
                stream.write(piece)
                progress.advance(_megabytes(stream.tell()) - progress.done)

    def _settle(self, error: urllib.error.HTTPError) -> None:
        """Make sense of an error status; returning means that nothing is missing."""
        with error:
            status, reason = error.code, error.reason
            if status == 416:
                _, total = content_range(error.headers.get("Content-Range", ""))
                if total is not None and total == self.arrived:
                    return
                self._start_again()
                raise _BrokenOffError("the server has another version of the file than before")
        if status in _PASSING:
            raise _BrokenOffError(f"the server answered {status} {reason}")
        raise DataError(
            f"{self.file.url}: the server answered {status} {reason}. The file may have moved: "
            "look at its project's page, or name a mirror (--url)."
        )

    def _version_of_part(self) -> _Version | None:
        """Return what the part is a part of, None where there is none of this address."""
        try:
            version = _Version(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        whole = version.total is not None and self.arrived <= version.total
        return version if version.url == self.file.url and whole else None

    def _start_again(self) -> None:
        self._version = None
        self._note.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)

    def _set_aside(self, expected: str, found: str) -> DataError:
        bad = self.path.with_name(f"{self.path.name}.bad")
        self.part.replace(bad)
        self._note.unlink(missing_ok=True)
        return DataError(
            f"{self.file.name} is not the file that was published: expected {expected}, got "
            f"{found}. It is kept as {bad}; fetch again, or from another address (--url)."
        )


def _of_the_disk(error: OSError, transfer: _Transfer) -> DataError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(
            f"The disk is full: {transfer.arrived:,} bytes of {transfer.file.name} are kept in "
            f"{transfer.part}. Make room, and the same command goes on there."
        )
    return DataError(f"{transfer.part} cannot be written: {error.strerror or error}.")


def _megabytes(count: int) -> int:
    return count // _MEGABYTE
