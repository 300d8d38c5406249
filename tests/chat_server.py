"""A chat model on this machine that answers by a script, well or badly, and keeps what it heard."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

TOKENS = {"prompt_tokens": 1000, "completion_tokens": 10}


@dataclass(frozen=True)
class Act:
    """One answer of the server.

    Args:
        body: What is sent.
        status: The status before it.
        headers: More headers.
        missing: Bytes that Content-Length promises and that never come.
        pause_seconds: Silence before the answer.
        pause_within_seconds: Silence between the headers and the body.
        drip_seconds: Silence after each byte.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    missing: int = 0
    pause_seconds: float = 0.0
    pause_within_seconds: float = 0.0
    drip_seconds: float = 0.0


@dataclass
class ChatServer:
    """What the server does and what it was asked.

    Args:
        script: The first answers, in order.
        otherwise: Every answer after them.
        asked: Path, headers (names in lower case) and JSON of each request.
    """

    script: list[Act] = field(default_factory=list)
    otherwise: Act = field(default_factory=lambda: says(None, None))
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    @property
    def requests(self) -> int:
        """How often it was asked."""
        return len(self.asked)


def says(genus: str | None, species: str | None, **more: Any) -> Act:
    """Return a good answer; ``more`` is for `completion`."""
    return completion(json.dumps({"genus": genus, "species": species}), **more)


def completion(
    content: Any,
    *,
    finish: Any = "stop",
    refusal: str | None = None,
    error: Any = None,
    usage: Any = TOKENS,
) -> Act:
    """Return a chat completion with any content, and with what gateways make of one.

    Args:
        content: What the model says.
        finish: Why it stopped.
        refusal: Its own refusal.
        error: What went wrong after the status had been sent.
        usage: The count of tokens.
    """
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"message": message, "finish_reason": finish}
    if error is not None:
        choice["error"] = error
    return Act(json.dumps({"choices": [choice], "usage": usage}).encode())


def fails(status: int, message: str = "no", **more: Any) -> Act:
    """Return an error of the form that both protocols have."""
    return Act(json.dumps({"error": {"message": message}}).encode(), status, **more)


@contextmanager
def serving(server: ChatServer) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 and give the endpoint's address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            _answer(self, server)

        def log_message(self, *args: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    thread = Thread(target=web.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{web.server_address[1]}/v1"
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


def _answer(request: BaseHTTPRequestHandler, server: ChatServer) -> None:
    body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
    headers = {name.lower(): value for name, value in request.headers.items()}
    with server.lock:
        server.asked.append((request.path, headers, body))
        act = server.script.pop(0) if server.script else server.otherwise
    time.sleep(act.pause_seconds)
    try:
        request.send_response(act.status)
        for name, value in act.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(act.body) + act.missing))
        request.end_headers()
        time.sleep(act.pause_within_seconds)
        if act.drip_seconds == 0:
            request.wfile.write(act.body)
            return
        for byte in act.body:
            request.wfile.write(bytes([byte]))
            time.sleep(act.drip_seconds)
    except OSError:  # the client has gone
        pass
    finally:
        request.close_connection = True
