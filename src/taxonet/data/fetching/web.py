"""What is asked of a web server, and what its answers mean."""

import urllib.request
from http.client import HTTPResponse


def open_url(request: urllib.request.Request, timeout_seconds: float) -> HTTPResponse:
    """Send a request over http or https, also where a redirection leads.

    Raises:
        urllib.error.HTTPError: The server answers with an error status.
        OSError: It cannot be reached, or falls silent.
    """
    opener = urllib.request.OpenerDirector()
    # Not the usual opener, which would follow a redirection to an FTP server.
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    response = opener.open(request, timeout=timeout_seconds)
    assert isinstance(response, HTTPResponse)
    return response


def content_range(header: str) -> tuple[int | None, int | None]:
    """Return the first byte and the size of the whole of a ``Content-Range``.

    Examples:
        >>> content_range("bytes 5-9/10"), content_range("bytes */10"), content_range("")
        ((5, 10), (None, 10), (None, None))
    """
    span, _, total = header.removeprefix("bytes").strip().partition("/")
    start = span.partition("-")[0]
    return (
        int(start) if start.isdecimal() else None,
        int(total) if total.isdecimal() else None,
    )


def why_unreachable(error: BaseException) -> str:
    """Say in a few words why a server was not heard."""
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError):
        return "the server fell silent"
    return f"the server cannot be reached ({reason})"
