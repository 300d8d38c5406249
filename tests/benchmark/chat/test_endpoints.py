import pytest
from pydantic import SecretStr

from taxonet.benchmark.chat.endpoints import Endpoint, key_from_environment
from taxonet.errors import ConfigError

KEY = SecretStr("sk-a-very-secret-key")


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("host/v1", "must start with http"),
        ("ftp://host/v1", "must start with http"),
        ("http://", "name a host"),
        ("https://host:port/v1", "not an address"),
        ("https://[host/v1", "not an address"),
        ("https://host..org/v1", "not an address"),
        ("https://" + 64 * "a" + ".org", "not an address"),
        ("https://xn--\xfc.org", "not an address"),
        ("https://host/v1\n", "not an address"),
        ("https://host/v1?", "must hold no user"),
        ("https://host/v1#", "must hold no user"),
        ("https://user:secret-word@host/v1", "must hold no user"),
        ("https://host/v1?key=secret-word", "must hold no user"),
        ("https://host/v1#secret-word", "must hold no user"),
    ],
)
def test_an_address_that_cannot_be_right_is_refused(url: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong) as refused:
        Endpoint(url, "openai")
    assert "secret-word" not in str(refused.value)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1.2.3:8000", "[::1]:8000", "localhost", "LOCALHOST:80"]
)
def test_a_key_goes_unencrypted_to_this_machine_only(host: str) -> None:
    assert Endpoint(f"http://{host}/v1", "openai", KEY).is_local
    for other in ("http://example.org", "http://localhost.example.org", "http://192.168.0.1"):
        with pytest.raises(ConfigError, match="unencrypted"):
            Endpoint(other, "openai", KEY)
        Endpoint(other, "openai")
    assert not Endpoint("https://example.org", "openai", KEY).is_local


def test_each_protocol_has_its_header() -> None:
    openai, gemini = (Endpoint("https://h", name, KEY) for name in ("openai", "gemini"))
    assert openai.headers() == {"Authorization": "Bearer sk-a-very-secret-key"}
    assert gemini.headers() == {"x-goog-api-key": "sk-a-very-secret-key"}
    assert Endpoint("https://h", "gemini").headers() == {}
    assert "secret" not in repr(gemini) + str(gemini) + gemini.address("NAME")


def test_a_word_that_is_no_secret_stays_in_texts() -> None:
    assert Endpoint("https://h", "openai", SecretStr("none")).without_key("none") == "none"
    assert Endpoint("https://h", "openai").without_key("text") == "text"


def test_the_key_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", " abc\n")
    found = key_from_environment("A_KEY")
    assert found is not None
    assert found.get_secret_value() == "abc"
    for empty in ("", "  "):
        monkeypatch.setenv("A_KEY", empty)
        assert key_from_environment("A_KEY") is None
    monkeypatch.delenv("A_KEY")
    assert key_from_environment("A_KEY") is None
    for wrong in ("secret word", "secret\nword", "secrét-word"):
        monkeypatch.setenv("A_KEY", wrong)
        with pytest.raises(ConfigError, match="A_KEY holds characters") as refused:
            key_from_environment("A_KEY")
        assert "secr" not in str(refused.value)
