"""Where questions go, by which protocol, and with which key."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import httpx2
from pydantic import SecretStr

from taxonet.benchmark.chat.gemini import GeminiProtocol
from taxonet.benchmark.chat.openai import OpenAIProtocol
from taxonet.benchmark.chat.questions import Question, Reply
from taxonet.errors import ConfigError

# Below this length a "key" is a word that a local server wants to see, such as `none`; taken out
# of texts, it would take words of the answer with it.
_SHORTEST_SECRET = 6


class WireFormat(Protocol):
    """How questions and replies look on the way."""

    name: ClassVar[str]
    reserved: ClassVar[frozenset[str]]

    def address(self, endpoint: str, model: str) -> str:
        """Return where a question to a model goes."""

    def key_header(self, key: str) -> dict[str, str]:
        """Return the header that carries the key."""

    def request(self, question: Question) -> dict[str, Any]:
        """Return the request as JSON holds it."""

    def reply(self, content: Mapping[str, Any]) -> Reply:
        """Read a reply, or raise an UnusableReplyError."""


PROTOCOLS: Mapping[str, WireFormat] = {
    OpenAIProtocol.name: OpenAIProtocol(),
    GeminiProtocol.name: GeminiProtocol(),
}


@dataclass(frozen=True)
class Endpoint:
    """An address that answers questions, checked before anything is sent.

    Args:
        url: The address below which the protocol's own path lies.
        protocol: A name in `PROTOCOLS`.
        key: The key, from `key_from_environment`; None sends none.

    Raises:
        ConfigError: An address that is not http or https, that holds a user, a query or a
            fragment, or that would send a key unencrypted to another machine.

    Examples:
        >>> Endpoint("http://127.0.0.1:8000/v1/", "openai").address("NAME")
        'http://127.0.0.1:8000/v1/chat/completions'
    """

    url: str
    protocol: str
    key: SecretStr | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.rstrip("/"))
        # The address itself is in no message: whoever puts a key into it would find it in a log.
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
            httpx2.URL(self.url)
            (host or "").encode("idna")  # as whatever looks the host up does
        except (ValueError, httpx2.InvalidURL):
            raise ConfigError(
                "--endpoint is not an address: check its host, port and brackets."
            ) from None
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError("--endpoint must start with http:// or https:// and name a host.")
        if parts.username is not None or "?" in self.url or "#" in self.url:
            raise ConfigError(
                "--endpoint must hold no user, query (?) or fragment (#): a key goes into an "
                "environment variable (see --key-variable)."
            )
        if self.key is not None and parts.scheme == "http" and not self.is_local:
            raise ConfigError(
                f"The key would go unencrypted to {host}: use https://, or unset the key's "
                "environment variable if the server needs none."
            )

    @property
    def wire(self) -> WireFormat:
        """The protocol."""
        return PROTOCOLS[self.protocol]

    @property
    def is_local(self) -> bool:
        """Whether the address is on this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def address(self, model: str) -> str:
        """Return where a question to a model goes."""
        return self.wire.address(self.url, model)

    def headers(self) -> dict[str, str]:
        """Return the headers that carry the key; none without one."""
        return {} if self.key is None else self.wire.key_header(self.key.get_secret_value())

    def without_key(self, text: str) -> str:
        """Return a text of the server without the key, which some repeat in their errors."""
        key = "" if self.key is None else self.key.get_secret_value()
        return text.replace(key, "[key]") if len(key) >= _SHORTEST_SECRET else text


def key_from_environment(variable: str) -> SecretStr | None:
    """Return the key that an environment variable holds; None where it is unset or empty.

    Raises:
        ConfigError: What it holds cannot be a key; the message does not repeat it.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        return None
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            f"The environment variable {variable} holds characters that no key has, such as a "
            "space or a line break: set it anew."
        )
    return SecretStr(key)
