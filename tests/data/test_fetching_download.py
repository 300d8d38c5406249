import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import md5, sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from taxonet.data.fetching import Checksum, RemoteFile, download
from taxonet.errors import DataError
from tests.file_server import Served, serving

CONTENT = bytes(range(256)) * 12_000  # 3,072,000 bytes: the client reads a mebibyte at a time
HALF = len(CONTENT) // 2
SHA256 = Checksum("sha256", sha256(CONTENT).hexdigest())


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def remote(url: str, **known: Any) -> RemoteFile:
    return RemoteFile("a.bin", url, "3 MB", "a test", **known)


class Fetched(NamedTuple):
    asked: list[str | None]
    waited: list[float]
    path: Path


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[..., Fetched]:
    """Download ``a.bin`` from a server of some habits; waiting is written down, not done."""

    def run(served: Served, **known: Any) -> Fetched:
        waited: list[float] = []
        path = tmp_path / "out" / "a.bin"
        with serving(served) as address:
            file = remote(f"{address}/a.bin", **known)
            download(file, path, timeout_seconds=5, wait=waited.append)
        return Fetched(served.asked, waited, path)

    return run


def test_a_file_comes_whole_and_leaves_nothing_beside_it(fetch: Callable[..., Fetched]) -> None:
    found = fetch(Served({"/a.bin": CONTENT}), checksum=SHA256, size_bytes=len(CONTENT))
    assert found.path.read_bytes() == CONTENT
    assert [entry.name for entry in found.path.parent.iterdir()] == ["a.bin"]
    assert (found.asked, found.waited) == ([None], [])


def test_md5_is_read_as_md5(fetch: Callable[..., Fetched]) -> None:
    found = fetch(Served({"/a.bin": CONTENT}), checksum=Checksum("md5", md5(CONTENT).hexdigest()))
    assert found.path.read_bytes() == CONTENT


def test_a_transfer_that_breaks_off_goes_on_where_it_was(fetch: Callable[..., Fetched]) -> None:
    found = fetch(Served({"/a.bin": CONTENT}, breaks=[HALF, 100]), checksum=SHA256)
    assert found.path.read_bytes() == CONTENT
    assert found.asked == [None, f"bytes={HALF}-", f"bytes={HALF + 100}-"]
    # A megabyte of progress forgets earlier failures; without it the wait doubles.
    assert found.waited == [1.0, 2.0]


def test_without_ranges_it_starts_again(fetch: Callable[..., Fetched]) -> None:
    found = fetch(Served({"/a.bin": CONTENT}, ranges=False, breaks=[HALF]), checksum=SHA256)
    assert found.path.read_bytes() == CONTENT
    assert found.asked == [None, f"bytes={HALF}-"]


def test_without_etag_the_size_decides(fetch: Callable[..., Fetched]) -> None:
    found = fetch(Served({"/a.bin": CONTENT}, etag=None, breaks=[HALF]), checksum=SHA256)
    assert found.path.read_bytes() == CONTENT
    assert found.asked == [None, f"bytes={HALF}-"]


def test_without_a_length_the_end_is_the_end(fetch: Callable[..., Fetched]) -> None:
    found = fetch(Served({"/a.bin": CONTENT}, counted=False), checksum=SHA256)
    assert found.path.read_bytes() == CONTENT


def test_passing_troubles_of_the_server_are_waited_out(fetch: Callable[..., Fetched]) -> None:
    found = fetch(Served({"/a.bin": CONTENT}, statuses=[503, 429]), checksum=SHA256)
    assert found.path.read_bytes() == CONTENT
    assert found.waited == [1.0, 2.0]


def test_a_redirection_is_followed(tmp_path: Path) -> None:
    served = Served({"/there.bin": CONTENT}, redirects={"/a.bin": "/there.bin"})
    with serving(served) as address:
        download(remote(f"{address}/a.bin", checksum=SHA256), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_redirection_to_a_file_of_this_machine_is_not(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s", encoding="utf-8")
    served = Served({}, redirects={"/a.bin": f"file://{secret}"})
    with serving(served) as address, pytest.raises(DataError):
        download(remote(f"{address}/a.bin"), tmp_path / "a.bin", wait=lambda _: None)
    assert not (tmp_path / "a.bin").exists()


def test_a_redirection_leads_to_the_web_only(tmp_path: Path) -> None:
    served = Served({}, redirects={"/a.bin": "ftp://127.0.0.1:9/a.bin"})
    with serving(served) as address, pytest.raises(DataError, match="unknown url type: ftp"):
        download(remote(f"{address}/a.bin"), tmp_path / "a.bin", wait=lambda _: None)


def test_retries_are_bounded_and_the_part_is_kept(tmp_path: Path) -> None:
    served = Served({"/a.bin": CONTENT}, breaks=[10] * 20)
    waited: list[float] = []
    with serving(served) as address:
        with pytest.raises(DataError, match=r"broke off at 50 of 3,072,000 bytes, 5 times") as told:
            download(remote(f"{address}/a.bin"), tmp_path / "a.bin", wait=waited.append)
        assert "50 bytes are kept" in str(told.value)
        served.breaks.clear()
        download(remote(f"{address}/a.bin", checksum=SHA256), tmp_path / "a.bin")
    assert waited == [1.0, 2.0, 4.0, 8.0]
    assert served.asked[-1] == "bytes=50-"


@pytest.mark.parametrize("status", [404, 403, 401])
def test_a_refusal_is_told_at_once(tmp_path: Path, status: int) -> None:
    served = Served({}, statuses=[status])
    with (
        serving(served) as address,
        pytest.raises(DataError, match=rf"answered {status} .*mirror \(--url\)"),
    ):
        download(remote(f"{address}/a.bin"), tmp_path / "a.bin", wait=lambda _: None)
    assert served.asked == [None]


def test_no_server_is_told(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match=r"cannot be reached .*5 times in a row"):
        download(remote(f"http://127.0.0.1:{port}/a.bin"), tmp_path / "a.bin", wait=lambda _: None)


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    served = Served({"/a.bin": CONTENT}, pause_seconds=0.6)
    with serving(served) as address, pytest.raises(DataError, match="fell silent"):
        download(
            remote(f"{address}/a.bin"),
            tmp_path / "a.bin",
            timeout_seconds=0.1,
            wait=lambda _: None,
        )


def test_only_web_addresses_are_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="http:// or https://: file:///etc/hostname"):
        download(remote("file:///etc/hostname"), tmp_path / "a.bin")


def test_a_wrong_checksum_keeps_the_file_aside(tmp_path: Path) -> None:
    wrong = Checksum("sha256", "0" * 64)
    with (
        serving(Served({"/a.bin": CONTENT})) as address,
        pytest.raises(DataError, match=f"expected the sha256 {'0' * 64}, got {SHA256.digits}"),
    ):
        download(remote(f"{address}/a.bin", checksum=wrong), tmp_path / "a.bin")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin.bad"]


def test_a_wrong_size_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    served = Served({"/a.bin": CONTENT})
    with (
        serving(served) as address,
        pytest.raises(DataError, match="has 3,072,000 bytes, but the published file has 7"),
    ):
        download(remote(f"{address}/a.bin", size_bytes=7), tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_size_without_a_length_is_found_at_the_end(tmp_path: Path) -> None:
    with (
        serving(Served({"/a.bin": CONTENT}, counted=False)) as address,
        pytest.raises(DataError, match="expected 7 bytes, got 3,072,000"),
    ):
        download(remote(f"{address}/a.bin", size_bytes=7), tmp_path / "a.bin")


def _begin(tmp_path: Path, address: str, served: Served) -> Path:
    """Leave the half of the file as a part, as a call that was given up does."""
    served.breaks[:] = [HALF, 0, 0, 0, 0]
    with pytest.raises(DataError):
        download(remote(f"{address}/a.bin"), tmp_path / "a.bin", wait=lambda _: None)
    served.breaks.clear()
    served.asked.clear()
    return tmp_path / "a.bin.part"


def test_parts_of_two_versions_are_never_joined(tmp_path: Path) -> None:
    served = Served({"/a.bin": CONTENT})
    other = CONTENT[::-1]
    with serving(served) as address:
        _begin(tmp_path, address, served)
        served.files["/a.bin"], served.etag = other, '"2"'
        download(remote(f"{address}/a.bin"), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == other


def test_without_etag_another_size_starts_again(tmp_path: Path) -> None:
    served = Served({"/a.bin": CONTENT}, etag=None)
    other = CONTENT + b"more"
    with serving(served) as address:
        _begin(tmp_path, address, served)
        served.files["/a.bin"] = other
        download(remote(f"{address}/a.bin"), tmp_path / "a.bin", wait=lambda _: None)
    assert (tmp_path / "a.bin").read_bytes() == other
    assert served.asked == [f"bytes={HALF}-", None]


def test_a_file_that_shrank_starts_again(tmp_path: Path) -> None:
    served = Served({"/a.bin": CONTENT}, etag=None)
    with serving(served) as address:
        _begin(tmp_path, address, served)
        served.files["/a.bin"] = b"short"  # the server answers 416 to a start beyond its end
        download(remote(f"{address}/a.bin"), tmp_path / "a.bin", wait=lambda _: None)
    assert (tmp_path / "a.bin").read_bytes() == b"short"
    assert served.asked == [f"bytes={HALF}-", None]


def test_a_part_of_another_address_is_no_part_of_this(tmp_path: Path) -> None:
    served = Served({"/a.bin": CONTENT, "/b.bin": CONTENT[::-1]})
    with serving(served) as address:
        part = _begin(tmp_path, address, served)
        with pytest.raises(DataError, match="404"):
            download(remote(f"{address}/none.bin"), tmp_path / "a.bin")
        assert part.stat().st_size == HALF  # not thrown away for a server that has nothing
        download(remote(f"{address}/b.bin"), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


def test_a_part_that_is_whole_needs_no_server(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/a.bin"
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    note = {"url": url, "etag": None, "total": len(CONTENT)}
    (tmp_path / "a.bin.part.json").write_text(json.dumps(note), encoding="utf-8")
    download(remote(url, checksum=SHA256), tmp_path / "a.bin")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_what_is_killed_while_it_verifies_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://127.0.0.1:9/a.bin"
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    note = {"url": url, "etag": None, "total": len(CONTENT)}
    (tmp_path / "a.bin.part.json").write_text(json.dumps(note), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[download.__module__], "digest_of", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            download(remote(url, checksum=SHA256), tmp_path / "a.bin")
    download(remote(url, checksum=SHA256), tmp_path / "a.bin")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def _interrupted(*_: object) -> str:
    raise KeyboardInterrupt


@pytest.mark.parametrize("note", ["", "[]", '{"url": 1}', "no JSON"])
def test_a_part_with_a_damaged_note_starts_again(tmp_path: Path, note: str) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"whatever this was")
    (tmp_path / "a.bin.part.json").write_text(note, encoding="utf-8")
    served = Served({"/a.bin": CONTENT})
    with serving(served) as address:
        download(remote(f"{address}/a.bin", checksum=SHA256), tmp_path / "a.bin")
    assert served.asked == [None]


def test_a_full_disk_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000))
    with (
        serving(Served({"/a.bin": CONTENT})) as address,
        pytest.raises(DataError, match=r"has 3,072,000 bytes, and .* has 1,000 left: make room"),
    ):
        download(remote(f"{address}/a.bin"), tmp_path / "a.bin")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").symlink_to("/dev/full")
    with (
        serving(Served({"/a.bin": CONTENT})) as address,
        pytest.raises(DataError, match=r"The disk is full: .*Make room, and the same command"),
    ):
        download(remote(f"{address}/a.bin"), tmp_path / "a.bin")


def test_a_killed_download_goes_on_where_it_was(tmp_path: Path) -> None:
    served = Served({"/a.bin": CONTENT * 3}, pause_seconds=0.02)
    code = (
        "import sys; from pathlib import Path; from taxonet.data.fetching import *\n"
        "file = RemoteFile('a.bin', sys.argv[1], '', '')\n"
        "download(file, Path(sys.argv[2]))"
    )
    path = tmp_path / "a.bin"
    part = tmp_path / "a.bin.part"
    with serving(served) as address:
        words = [sys.executable, "-c", code, f"{address}/a.bin", str(path)]
        child = subprocess.Popen(words)
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size >= 1 << 20):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        arrived = part.stat().st_size
        assert not path.exists()
        served.asked.clear()
        served.pause_seconds = 0
        checksum = Checksum("sha256", sha256(CONTENT * 3).hexdigest())
        download(remote(f"{address}/a.bin", checksum=checksum), path)
    assert served.asked == [f"bytes={arrived}-"]
    assert path.read_bytes() == CONTENT * 3
