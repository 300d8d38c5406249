"""Files of a hub, which a server on this machine stands in for."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub
import pytest

from taxonet.errors import CheckpointError
from taxonet.models.hub import WEIGHT_FILES, cached_file, fetch_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub be at this address."""
    constants = huggingface_hub.constants
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)


@contextmanager
def hub(
    files: dict[str, bytes], asked: list[str], monkeypatch: pytest.MonkeyPatch, *, status: int = 200
) -> Iterator[None]:
    """Serve files as ``/OWNER/NAME/resolve/REVISION/FILE``; another status for all of them."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, *, body: bool) -> None:
            if "/resolve/" in self.path:  # the library asks for more than files
                asked.append(f"{self.command} {self.path}")
            content = files.get(self.path)
            self.send_response(status if status != 200 else 200 if content is not None else 404)
            self.send_header("X-Repo-Commit", COMMIT)
            if content is None and status == 200:
                self.send_header("X-Error-Code", "EntryNotFound")
            content = content or b""
            self.send_header("ETag", '"abc"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *given: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    at(address, monkeypatch)
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def fetch(names: tuple[str, ...] = WEIGHT_FILES, repository: str = "a/b") -> Path:
    return fetch_file(repository, names, wanted="The weights of 'b'", instead="Do it otherwise.")


def test_a_file_is_fetched_once_and_then_read_without_the_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    with hub({"/a/b/resolve/main/pytorch_model.bin": b"weights"}, asked, monkeypatch):
        assert cached_file("a/b", WEIGHT_FILES) is None
        found = fetch()
    assert found.name == "pytorch_model.bin"
    assert found.read_bytes() == b"weights"
    assert asked[0] == "HEAD /a/b/resolve/main/model.safetensors"
    assert fetch() == found == cached_file("a/b", WEIGHT_FILES)  # the server is gone


def test_a_revision_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with hub({"/a/b/resolve/v2/model.safetensors": b"new"}, asked, monkeypatch):
        assert fetch(repository="a/b@v2").read_bytes() == b"new"
    assert cached_file("a/b", WEIGHT_FILES) is None
    assert cached_file("a/b@v2", WEIGHT_FILES) is not None


def test_a_repository_without_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with (
        hub({}, asked, monkeypatch),
        pytest.raises(CheckpointError, match=r"no model.safetensors and no pytorch_model.bin. Do"),
    ):
        fetch()
    assert len(asked) == 2


def test_a_hub_out_of_order_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with (
        hub({}, asked, monkeypatch, status=503),
        pytest.raises(CheckpointError) as raised,
    ):
        fetch()
    assert len(asked) == 1
    message = str(raised.value)
    assert message.startswith(
        "The weights of 'b' could not be fetched: model.safetensors of a/b on the hub ("
    )
    assert message.endswith(" Do it otherwise.")
    assert "\n" not in message


def test_a_hub_that_is_not_there_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying again takes seconds each time, which this would notice."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    at("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(CheckpointError, match=r"on the hub \(.*refused.*\)"):
        fetch()
    assert waits == []
