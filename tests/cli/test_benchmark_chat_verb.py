from pathlib import Path

import pandas as pd
import pytest

from tests.chat_server import ChatServer, fails, says, serving
from tests.cli.conftest import Command
from tests.helpers import save_photo

KEY = "sk-a-very-secret-key"


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Two photos of one species, and its taxonomy."""
    for place in range(2):
        save_photo(tmp_path / "images" / f"{place}.png", place)
    frame = pd.DataFrame({"image": ["images/0.png", "images/1.png"], "taxon": "Acer rubrum"})
    frame.to_csv(tmp_path / "photos.csv", index=False)
    (tmp_path / "taxonomy.csv").write_text("genus,species\nAcer,Acer rubrum\n", encoding="utf-8")
    return tmp_path


def words(folder: Path, address: str, *more: object) -> tuple[object, ...]:
    return (
        *("benchmark", "chat", folder / "photos.csv", "--taxonomy", folder / "taxonomy.csv"),
        *("--endpoint", address, "--model", "NAME", "--out", folder / "out", *more),
    )


def test_recall_is_shown_and_the_rows_are_named(
    taxonet: Command, collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXONET_API_KEY", KEY)
    server = ChatServer([says("Acer", None)], says("Acer", "Acer rubrum"))
    prices = ("--price-per-million-input", 5, "--price-per-million-output", 0)
    with serving(server) as address:
        ran = taxonet(*words(collection, address, *prices))
    assert ran.code == 0, ran.err
    assert str(collection / "out" / "answers.csv") in ran.out
    shown = " ".join(ran.out.replace("│", " ").split())
    assert "genus overall 1 100.0" in shown
    assert "species overall 1 50.0" in shown
    assert f"The photos go to {address}, without metadata." in ran.err
    assert "2 named." in ran.message
    assert "Tokens: 2,000 in, 20 out; cost 0.01." in ran.message
    assert server.asked[0][1]["authorization"] == f"Bearer {KEY}"
    assert KEY not in ran.out + ran.err


def test_a_photo_without_a_reply_is_told_by_the_exit_code(
    taxonet: Command, collection: Path
) -> None:
    server = ChatServer([fails(400)], says(None, None))
    with serving(server) as address:
        ran = taxonet(*words(collection, address))
    assert ran.code == 1
    assert "1 abstained, 1 no reply." in ran.message


def test_a_refused_key_is_an_error_of_the_call(
    taxonet: Command, collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXONET_API_KEY", KEY)
    with serving(ChatServer(otherwise=fails(401, f"no {KEY}"))) as address:
        ran = taxonet(*words(collection, address))
    assert ran.code == 2
    assert "Error: The endpoint answered 401 Unauthorized: no [key]." in ran.message
    assert KEY not in ran.out + ran.err


def test_what_is_missing_is_said_before_anything_is_sent(
    taxonet: Command, collection: Path
) -> None:
    ran = taxonet("benchmark", "chat", collection / "photos.csv")
    assert ran.code == 2
    assert "give --endpoint and --model" in ran.message
    ran = taxonet(*words(collection, "http://127.0.0.1:9", "--max-cost", 1))
    assert "max_cost needs prices" in ran.message


def test_a_password_in_the_address_is_not_shown(taxonet: Command, collection: Path) -> None:
    for address in (f"https://user:{KEY}@host/v1", f"https://host/v1?key={KEY}"):
        ran = taxonet(*words(collection, address))
        assert ran.code == 2
        assert "must hold no user" in ran.message
        assert KEY not in ran.out + ran.err


def test_there_is_no_option_for_the_key_itself(taxonet: Command) -> None:
    ran = taxonet("benchmark", "chat", "--help")
    assert ran.code == 0
    assert "--key-variable" in ran.out
    for option in ("--key ", "--api-key", "--token"):
        assert option not in ran.out
