"""A web server on this machine with the habits of real ones, good and bad."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Served:
    """What the server has, how it behaves, and what it was asked.

    Args:
        files: The bytes by path, ``/name``.
        etag: Sent with each file; None sends none.
        ranges: Whether it answers a Range.
        breaks: After how many bytes each successive transfer breaks off; None goes to the end.
        statuses: Statuses of the first answers, before any file is sent.
        redirects: Where a path is sent on to.
        counted: Whether it says how long a file is.
        pause_seconds: Rest after each piece of 64 KiB.
        asked: The Range of each request for a file, None where there was none.
    """

    files: dict[str, bytes]
    etag: str | None = '"1"'
    ranges: bool = True
    breaks: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    counted: bool = True
    pause_seconds: float = 0.0
    asked: list[str | None] = field(default_factory=list)


@contextmanager
def serving(served: Served) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 and give the address without a slash at its end."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, served)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(request: BaseHTTPRequestHandler, served: Served) -> None:
    if request.path in served.redirects:
        request.send_response(302)
        request.send_header("Location", served.redirects[request.path])
        request.end_headers()
        return
    served.asked.append(request.headers.get("Range"))
    if served.statuses:
        request.send_error(served.statuses.pop(0))
        return
    if request.path not in served.files:
        request.send_error(404)
        return
    data = served.files[request.path]
    start = _start(request, served)
    if start is not None and start >= len(data):
        request.send_response(416)
        request.send_header("Content-Range", f"bytes */{len(data)}")
        request.end_headers()
        return
    request.send_response(200 if start is None else 206)
    if served.etag is not None:
        request.send_header("ETag", served.etag)
    if start is not None:
        request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    body = data[start or 0 :]
    if served.counted:
        request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    _send(request, body[: served.breaks.pop(0) if served.breaks else None], served)


def _start(request: BaseHTTPRequestHandler, served: Served) -> int | None:
    span = request.headers.get("Range")
    condition = request.headers.get("If-Range")
    if span is None or not served.ranges or condition not in (None, served.etag):
        return None
    return int(span.removeprefix("bytes=").removesuffix("-"))


def _send(request: BaseHTTPRequestHandler, body: bytes, served: Served) -> None:
    try:
        for place in range(0, len(body), 1 << 16):
            request.wfile.write(body[place : place + (1 << 16)])
            request.wfile.flush()
            time.sleep(served.pause_seconds)
    except OSError:  # the client has gone
        pass
    request.close_connection = True
