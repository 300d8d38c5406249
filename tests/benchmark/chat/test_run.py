"""Whole runs against a server that misbehaves: rows with reasons, and nothing asked twice."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from taxonet.benchmark.chat import OUTCOMES, benchmark_chat
from taxonet.benchmark.chat.photos import photo_to_send
from taxonet.classifier import TaxonClassifier
from taxonet.errors import ConfigError, DataError
from taxonet.recipes.verbs import ZeroShotConfig
from taxonet.taxonomy import Taxonomy
from taxonet.training import zero_shot
from tests.benchmark.chat.conftest import TAXA, Bench
from tests.chat_server import Act, ChatServer, completion, fails, says, serving
from tests.helpers import CLASS_NODES, ragged_taxonomy, save_photo, tiny_parts
from tests.tiny_clip import tiny_clip

KEY = "sk-a-very-secret-key"
MAPLE = says("Acer", "Acer rubrum")

FAULTS: dict[str, tuple[list[Act], str, str]] = {
    "never well": ([fails(500)] * 5, "no reply", "500 Internal Server Error: no, 5 times"),
    "always too many": ([fails(429)] * 5, "no reply", "429 Too Many Requests"),
    "always cut": ([Act(b"{", missing=9)] * 5, "no reply", "the connection failed"),
    "always empty": ([Act(b"")] * 5, "no reply", "an empty reply"),
    "never JSON": ([Act(b"<html>")] * 5, "no reply", "a reply that is no JSON"),
    "a bad request": ([fails(400, "bad image")], "no reply", "400 Bad Request: bad image"),
    "silence": ([Act(pause_seconds=0.4)] * 5, "no reply", "no whole reply within 0.2 seconds"),
    "an error within a 200": (
        [Act(b'{"error": {"code": 502, "message": "overloaded"}}')] * 5,
        "no reply",
        "an error instead of a reply: overloaded, 5 times in a row",
    ),
    "an error of the choice": (
        [completion("", finish="error", error={"code": 502, "message": "gone"})] * 5,
        "no reply",
        "an error instead of a reply: gone, 5 times in a row",
    ),
    "prose": ([completion("A maple.")], "unparsable", "no JSON object"),
    "a list": ([completion([{"type": "text", "text": "A maple."}])], "unparsable", "no JSON"),
    "a wrong name": ([says("Aser", "Aser rubrum")], "not in taxonomy", "near: 'Acer'"),
    "another genus": ([says("Rosa", "Acer rubrum")], "unparsable", "is of 'Acer'"),
    "a refusal": ([completion(None, refusal="I cannot.")], "refused", "I cannot."),
    "a filter": ([completion("", finish="content_filter")], "refused", "content filter"),
    "too long": ([completion("Step 1", finish="length")], "unparsable", "cut off"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_row_with_a_reason_and_is_not_met_twice(bench: Bench, fault: str) -> None:
    script, outcome, reason = FAULTS[fault]
    bench.photos("Acer rubrum", "Acer rubrum")
    server = ChatServer([*script], MAPLE)
    timeout = 0.2 if fault == "silence" else 5.0
    first = bench.run(server, timeout_seconds=timeout)
    rows = bench.rows()
    assert rows["outcome"].tolist() == [outcome, "named"]
    assert reason in rows["reason"][0]
    assert rows["genus_right"].tolist() == [False, True]
    assert rows["species_right"].tolist() == [False, True]
    assert first.metrics["chat"]["species"]["macro_recall"] == 0.5
    assert first.metrics["outcomes"][outcome] == 1
    assert server.requests == len(script) + 1
    again = bench.run(server, timeout_seconds=timeout)
    assert server.requests == len(script) + 1
    assert (again.metrics["chat"], bench.rows().to_dict()) == (
        first.metrics["chat"],
        rows.to_dict(),
    )


def test_what_passes_leaves_no_trace(bench: Bench) -> None:
    bench.photos("Acer rubrum", "Rosa canina")
    fenced = completion('```json\n{"genus": "Acer", "species": "Acer rubrum"}\n```')
    script = [fails(429, headers={"Retry-After": "1"}), fails(503), fenced, fails(500)]
    server = ChatServer(script, says("Rosa", "Rosa canina"))
    found = bench.run(server)
    assert bench.rows()["outcome"].tolist() == ["named", "named"]
    assert found.metrics["chat"]["species"]["macro_recall"] == 1.0
    assert server.requests == 5


def test_photos_without_a_reply_are_asked_again_when_that_is_wanted(bench: Bench) -> None:
    bench.photos("Acer rubrum", "Acer rubrum")
    server = ChatServer([fails(400)], MAPLE)
    bench.run(server)
    bench.run(server, retry_failed=True)
    assert server.requests == 3
    assert bench.rows()["outcome"].tolist() == ["named", "named"]
    bench.run(server, retry_failed=True)
    assert server.requests == 3


def test_a_refused_key_stops_the_run_and_keeps_what_was_done(bench: Bench) -> None:
    bench.photos(*["Acer rubrum"] * 4)
    server = ChatServer([MAPLE, fails(401, "expired")], MAPLE)
    with pytest.raises(ConfigError, match=r"401 Unauthorized: expired.*kept"):
        bench.run(server)
    assert server.requests == 2
    assert not (bench.folder / "out" / "answers.csv").exists()
    bench.run(server)
    assert server.requests == 5
    assert bench.rows()["outcome"].tolist() == ["named"] * 4


def test_a_photo_that_a_filter_refuses_is_a_row(bench: Bench) -> None:
    bench.photos(*["Acer rubrum"] * 3)
    server = ChatServer([MAPLE, fails(403, "flagged")], MAPLE)
    bench.run(server)
    rows = bench.rows()
    assert rows["outcome"].tolist() == ["named", "no reply", "named"]
    assert rows["reason"][1] == "the endpoint answered 403 Forbidden: flagged"
    bench.run(server)
    assert server.requests == 3


def test_an_answer_of_an_earlier_call_tells_a_filter_from_a_bad_key(bench: Bench) -> None:
    bench.photos(*["Acer rubrum"] * 3)
    with pytest.raises(ConfigError, match="401"):
        bench.run(ChatServer([MAPLE, fails(401)]))
    bench.run(ChatServer([fails(403)], MAPLE))
    assert bench.rows()["outcome"].tolist() == ["named", "no reply", "named"]


def test_before_any_answer_a_403_ends_the_run_and_names_the_photo(bench: Bench) -> None:
    bench.photos(*["Acer rubrum"] * 2)
    server = ChatServer([fails(403, "no entry")], MAPLE)
    wanted = r"403 Forbidden: no entry\. Check the key's.*filter.*refused this one photo, .*00\.png"
    with pytest.raises(ConfigError, match=wanted):
        bench.run(server)
    assert server.requests == 1
    bench.run(server)  # nothing was kept of it
    assert bench.rows()["outcome"].tolist() == ["named", "named"]


def test_rows_say_what_is_true_and_what_was_named(bench: Bench) -> None:
    bench.photos("Acer rubrum", "Acer rubrum", "Acer", "Rosa canina", "Rosa canina")
    script = [MAPLE, says("Acer", "Acer saccharum"), MAPLE, says("Acer", None), says(None, None)]
    found = bench.run(ChatServer(script))
    rows = bench.rows()
    assert rows.columns.tolist()[:7] == [
        *("image", "genus", "species", "named_genus", "named_species"),
        *("genus_right", "species_right"),
    ]
    assert rows["species"].tolist() == ["Acer rubrum"] * 2 + [""] + ["Rosa canina"] * 2
    assert rows["named_genus"].tolist() == ["Acer"] * 4 + [""]
    assert rows["named_species"].tolist() == [
        "Acer rubrum",
        "Acer saccharum",
        "Acer rubrum",
        "",
        "",
    ]
    assert rows["genus_right"].tolist() == [True, True, True, False, False]
    # A photo that is known to the genus only is judged at the genus only.
    assert rows["species_right"].astype(str).tolist() == ["True", "False", "", "False", "False"]
    assert rows["input_tokens"].tolist() == [1000] * 5
    figures = found.metrics["chat"]
    assert figures["genus"]["macro_recall"] == pytest.approx((1 + 0) / 2)
    assert figures["species"]["macro_recall"] == pytest.approx((1 / 2 + 0) / 2)
    assert figures["species"]["images"] == 4
    assert found.metrics["tokens"] == {"input": 5000, "output": 50, "answers_without_count": 0}
    assert found.metrics["cost"] is None
    assert list(found.metrics["outcomes"]) == list(OUTCOMES)
    assert json.loads((bench.folder / "out" / "metrics.json").read_text("utf-8")) == found.metrics


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_words_that_no_file_takes_are_written_as_escapes(bench: Bench, form: str) -> None:
    bench.photos("Acer rubrum")
    found = bench.run(ChatServer(otherwise=completion(None, refusal="no \ud800")), rows=form)
    assert rb"no \ud800" in found.rows.read_bytes().replace(rb"\\", b"\\")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_rows_come_in_other_forms(bench: Bench, form: str) -> None:
    bench.photos("Acer rubrum", "Acer")
    found = bench.run(ChatServer([MAPLE, says(None, None)]), rows=form)
    assert found.rows.name == f"answers.{form}"
    if form == "jsonl":
        rows = [json.loads(line) for line in found.rows.read_text("utf-8").splitlines()]
    else:
        rows = pq.read_table(found.rows).to_pylist()
    assert [row["species_right"] for row in rows] == [True, None]
    assert [row["genus_right"] for row in rows] == [True, False]
    assert [row["output_tokens"] for row in rows] == [10, 10]


def test_a_broken_photo_is_a_row_and_nothing_is_sent(bench: Bench) -> None:
    bench.photos("Acer rubrum", "Acer rubrum", "Acer rubrum")
    (bench.folder / "images" / "00.png").write_text("no photo", encoding="utf-8")
    (bench.folder / "images" / "02.png").unlink()
    server = ChatServer(otherwise=MAPLE)
    found = bench.run(server)
    rows = bench.rows()
    assert rows["outcome"].tolist() == ["unreadable", "named", "unreadable"]
    assert "not an image file" in rows["reason"][0]
    assert rows["reason"][2] == "no such file"
    assert server.requests == 1
    assert found.metrics["chat"]["genus"]["macro_recall"] == pytest.approx(1 / 3)


def test_equal_photos_are_asked_about_once_also_at_the_same_time(bench: Bench) -> None:
    path = bench.photos(*["Acer rubrum"] * 8)
    for place in range(8):
        save_photo(bench.folder / "images" / f"{place:02}.png", place % 2)
    server = ChatServer(otherwise=Act(MAPLE.body, pause_seconds=0.05))
    found = bench.run(server, workers=8)
    assert server.requests == 2
    assert found.metrics["tokens"]["input"] == 2000
    assert pd.read_csv(path)["image"].tolist() == bench.rows()["image"].tolist()


def test_workers_change_how_long_it_takes_and_nothing_else(bench: Bench) -> None:
    bench.photos(*["Acer rubrum", "Rosa canina"] * 5)
    one = bench.run(ChatServer(otherwise=MAPLE))
    rows = bench.rows()
    many = bench.run(ChatServer(otherwise=MAPLE), workers=5, out=bench.folder / "other")
    assert many.metrics == {**one.metrics, "endpoint": many.metrics["endpoint"]}
    assert pd.read_csv(many.rows, keep_default_na=False).to_dict() == rows.to_dict()


def test_photos_are_made_ready_one_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.photos(*["Acer rubrum"] * 8)
    busy = threading.Lock()

    def alone(source: Path | bytes, *, max_side: int) -> bytes:
        assert busy.acquire(blocking=False)
        time.sleep(0.01)
        busy.release()
        return photo_to_send(source, max_side=max_side)

    monkeypatch.setattr("taxonet.benchmark.chat.answering.photo_to_send", alone)
    found = bench.run(ChatServer(otherwise=MAPLE), workers=8)
    assert found.metrics["outcomes"]["named"] == 8


def test_another_question_is_another_answer(bench: Bench) -> None:
    bench.photos("Acer rubrum")
    server = ChatServer(otherwise=MAPLE)
    changes: tuple[dict[str, object], ...] = (
        {},
        {"prompt": "chain-of-thought"},
        {"candidates": True},
        {"temperature": 0.0},
        {"max_side": 16},
        {"set": ("max_tokens=9",)},
        {"model": "OTHER"},
    )
    for number, options in enumerate(changes, start=1):
        bench.run(server, **options)
        assert server.requests == number, options
    texts = [body["messages"][1]["content"][0]["text"] for _, _, body in server.asked]
    assert "Rosa canina" in texts[2]
    assert server.asked[5][2]["max_tokens"] == 9
    # What does not decide the answer is no part of the question.
    bench.run(server, workers=3, rows="jsonl", seed=7, timeout_seconds=9.0)
    assert server.requests == 7


def test_a_cache_may_serve_several_runs(bench: Bench) -> None:
    bench.photos("Acer rubrum")
    server = ChatServer(otherwise=MAPLE)
    shared = bench.folder / "shared"
    for out in ("a", "b"):
        bench.run(server, cache=shared, out=bench.folder / out)
    assert server.requests == 1
    assert sorted(path.name for path in (bench.folder / "b").iterdir()) == [
        "answers.csv",
        "metrics.json",
    ]


def test_a_spent_limit_stops_in_order_and_a_higher_one_goes_on(bench: Bench) -> None:
    bench.photos(*["Acer rubrum"] * 5)
    server = ChatServer(otherwise=MAPLE)
    prices = {"price_per_million_input": 100.0, "price_per_million_output": 0.0}  # 0.1 a question
    with pytest.raises(DataError, match=r"--max-cost 0.25 is spent.*cost 0.3.*higher --max-cost"):
        bench.run(server, max_cost=0.25, **prices)
    assert server.requests == 3
    with pytest.raises(DataError, match="is spent"):  # what was spent before counts
        bench.run(server, max_cost=0.25, **prices)
    assert server.requests == 3
    found = bench.run(server, max_cost=1.0, **prices)
    assert server.requests == 5
    assert found.metrics["cost"] == pytest.approx(0.5)
    assert bench.run(server, max_cost=0.25, **prices).metrics["cost"] == pytest.approx(0.5)


def test_answers_about_later_photos_are_counted_before_anything_is_asked(bench: Bench) -> None:
    bench.photos(*["Acer rubrum"] * 4)
    server = ChatServer([fails(400)], MAPLE)
    prices = {"price_per_million_input": 100.0, "price_per_million_output": 0.0}  # 0.1 a question
    bench.run(server, **prices)
    assert server.requests == 4
    with pytest.raises(DataError, match=r"--max-cost 0\.3 is spent"):
        bench.run(server, retry_failed=True, max_cost=0.3, **prices)
    assert server.requests == 4
    found = bench.run(server, retry_failed=True, max_cost=0.31, **prices)
    assert server.requests == 5
    assert found.metrics["cost"] == pytest.approx(0.4)


def test_a_spent_limit_is_passed_by_the_workers_at_most(bench: Bench) -> None:
    bench.photos(*["Acer rubrum"] * 12)
    server = ChatServer(otherwise=Act(MAPLE.body, pause_seconds=0.05))
    prices = {"price_per_million_input": 100.0, "price_per_million_output": 0.0}
    with pytest.raises(DataError, match="is spent"):
        bench.run(server, max_cost=0.15, workers=3, **prices)
    assert server.requests <= 2 + 2
    bench.run(server, workers=3, **prices)
    assert server.requests == 12  # what was under way was kept


def test_a_limit_without_counted_tokens_is_no_limit(bench: Bench) -> None:
    bench.photos("Acer rubrum", "Acer rubrum")
    server = ChatServer(otherwise=completion("{}", usage=None))
    prices = {"price_per_million_input": 1.0, "price_per_million_output": 1.0}
    with pytest.raises(ConfigError, match="does not say how many tokens"):
        bench.run(server, max_cost=1.0, **prices)
    assert server.requests == 1
    found = bench.run(server, **prices)
    assert found.metrics["tokens"]["answers_without_count"] == 2


@pytest.mark.parametrize("odd", [12.5, "12", [], -1, 10**20, True])
def test_an_odd_count_keeps_the_answer_and_no_limit(bench: Bench, odd: object) -> None:
    bench.photos("Acer rubrum", "Acer rubrum")
    usage = {"prompt_tokens": odd, "completion_tokens": 10}
    server = ChatServer(otherwise=says("Acer", "Acer rubrum", usage=usage))
    prices = {"price_per_million_input": 1.0, "price_per_million_output": 1.0}
    with pytest.raises(ConfigError, match="does not say how many tokens"):
        bench.run(server, max_cost=1.0, **prices)
    found = bench.run(server, rows="parquet", **prices)
    assert server.requests == 2
    assert found.metrics["outcomes"]["named"] == 2
    assert found.metrics["tokens"] == {"input": 0, "output": 20, "answers_without_count": 2}
    assert [row["input_tokens"] for row in pq.read_table(found.rows).to_pylist()] == [None] * 2


def test_the_key_is_in_no_file_log_or_message(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("ANOTHER_KEY", KEY)
    bench.photos(*["Acer rubrum"] * 4)
    script = [
        completion(f"the key is {KEY}"),
        fails(400, f"with {KEY}"),
        completion(None, refusal=KEY),
        fails(401, f"{KEY} may not"),
    ]
    messages = []
    for protocol in ("openai", "gemini"):
        server = ChatServer([*script], says(None, None))
        for _ in range(2):
            try:
                bench.run(server, key_variable="ANOTHER_KEY", protocol=protocol)
            except (ConfigError, DataError) as error:
                messages.append(str(error))
        header = {"openai": "authorization", "gemini": "x-goog-api-key"}[protocol]
        for path, headers, body in server.asked:
            assert KEY in headers.pop(header)
            assert KEY not in path + json.dumps([headers, body])
    assert any("401 Unauthorized: [key] may not" in message for message in messages)
    shown = capfd.readouterr()
    for text in (*messages, caplog.text, shown.out, shown.err):
        assert KEY not in text
    files = [path for path in bench.folder.rglob("*") if path.is_file()]
    assert sum(path.suffix == ".json" for path in files) > 4
    for file in files:
        assert KEY.encode() not in file.read_bytes(), file


def test_without_a_key_no_header_is_sent(bench: Bench) -> None:
    bench.photos("Acer rubrum")
    server = ChatServer(otherwise=MAPLE)
    bench.run(server)
    assert "authorization" not in server.asked[0][1]


def test_gemini_is_asked_and_read(bench: Bench) -> None:
    bench.photos("Acer rubrum", "Acer rubrum")
    text = '{"genus": "Acer", "species": "Acer rubrum"}'
    good = {
        "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2},
    }
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    server = ChatServer([Act(json.dumps(blocked).encode()), Act(json.dumps(good).encode())])
    found = bench.run(server, protocol="gemini")
    assert server.asked[0][0] == "/v1/models/NAME:generateContent"
    assert bench.rows()["outcome"].tolist() == ["refused", "named"]
    assert found.metrics["tokens"]["input"] == 5


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"set": ("messages=x",)}, "--set cannot change messages"),
        ({"set": ("contents=x",), "protocol": "gemini"}, "--set cannot change contents"),
        ({"set": ("top_p=.nan",)}, "--set must hold what JSON can hold"),
        ({"set": ("until=2026-01-01",)}, "--set must hold what JSON can hold.*date"),
        ({"set": ("bias={1: 2, a: 3}",)}, "--set must hold what JSON can hold"),
        (
            {"set": ("generationConfig=5",), "protocol": "gemini", "temperature": 0.0},
            "generationConfig must be a mapping, but is 5",
        ),
        ({"endpoint": "https://u:p@host"}, "must hold no user"),
        ({"ranks": ("genus",)}, "has no rank species"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(
    bench: Bench, options: dict[str, object], wrong: str
) -> None:
    bench.photos("Acer rubrum")
    server = ChatServer(otherwise=MAPLE)
    with pytest.raises(ConfigError, match=wrong):
        bench.run(server, **options)
    assert server.requests == 0


def test_groups_follow_from_training_photos(bench: Bench) -> None:
    bench.photos("Acer rubrum", "Rosa canina", "Quercus alba", "strange")
    training = pd.DataFrame({"image": [f"{n}.jpg" for n in range(10)]})
    training["taxon"] = ["Acer rubrum"] * 6 + ["Acer saccharum"] * 3 + ["Rosa canina"]
    path = bench.folder / "training.csv"
    training.to_csv(path, index=False)
    server = ChatServer(otherwise=MAPLE)
    found = bench.run(server, train_images=path, few_below=2, many_above=7)
    # Quercus has no training photo, as it would have no place in a classifier.
    assert server.requests == 2
    assert found.metrics["photos"]["dropped_images"] == 2
    genus, species = (
        {
            name: one["macro_recall"]
            for name, one in found.metrics["chat"][rank]["shot_groups"].items()
        }
        for rank in ("genus", "species")
    )
    assert genus == {"many": 1.0, "medium": None, "few": 0.0}
    assert species == {"many": None, "medium": 1.0, "few": 0.0}


def test_a_classifier_names_the_same_photos_beside(bench: Bench) -> None:
    tree = ragged_taxonomy()
    TaxonClassifier(tiny_parts(), device="cpu").save(bench.folder / "classifier")
    # The photo of seed k looks like class k; class 1 is a genus, class 0 a family.
    labels = [tree.path_text(node) for node in CLASS_NODES]
    bench.photos(*labels, "Rosaceae/Rubus/Rubus idaeus")
    server = ChatServer(otherwise=MAPLE)
    given = {"taxonomy": None, "classifier": bench.folder / "classifier", "device": "cpu"}
    found = bench.run(server, few_below=5, many_above=5, **given)
    assert found.metrics["photos"]["dropped_images"] == 1  # Rubus idaeus is no class
    assert found.metrics["photos"]["above_genus"] == 1
    assert server.requests == 5
    chat, classifier = found.metrics["chat"], found.metrics["classifier"]
    assert classifier["species"]["macro_recall"] == 1.0
    assert classifier["genus"]["macro_recall"] == 1.0
    assert chat["species"]["macro_recall"] == pytest.approx(1 / 3)
    # Photos of Acer, of Acer rubrum (both Acer), of Rubus, and two of Rosa.
    assert chat["genus"]["macro_recall"] == pytest.approx(1 / 3)
    counts = {rank: chat[rank]["shot_groups"]["many"]["classes"] for rank in chat}
    assert counts == {"genus": 2, "species": 1}  # 9 of Acer and of Rosa; 6 of Acer rubrum
    table = bench.folder / "full.csv"
    tree.write_table(table)
    again = bench.run(server, few_below=5, many_above=5, **given | {"taxonomy": table})
    assert again.metrics["classifier"] == classifier
    with pytest.raises(DataError, match=r"6 of 6 taxa of the classifier are not in the taxonomy"):
        bench.run(server, **given | {"taxonomy": bench.taxonomy})


def test_a_classifier_made_of_names_stands_beside_without_groups(bench: Bench) -> None:
    made = ZeroShotConfig(
        model=tiny_clip(bench.folder / "clip"),
        weights="none",
        taxonomy=bench.taxonomy,
        out=bench.folder / "classifier",
    )
    classifier = TaxonClassifier.load(zero_shot(made).classifier, device="cpu")
    species = [name for _, name in TAXA]
    bench.photos(*species, "Acer")
    given = {"taxonomy": None, "classifier": made.out, "device": "cpu"}
    found = bench.run(ChatServer(otherwise=MAPLE), **given).metrics
    # A genus is no class of its own.
    assert (found["photos"]["matched_images"], found["photos"]["dropped_images"]) == (4, 1)
    named = classifier.predict([bench.folder / f"images/{n:02}.png" for n in range(4)])["species"]
    right = [one == other for one, other in zip(named, species, strict=True)]
    assert found["classifier"]["species"]["macro_recall"] == pytest.approx(sum(right) / 4)
    assert found["chat"]["species"]["macro_recall"] == pytest.approx(1 / 4)
    for side in ("chat", "classifier"):
        assert "shot_groups" not in found[side]["genus"] | found[side]["species"]


def test_a_classifier_may_know_two_genera_of_one_name(bench: Bench) -> None:
    rows = [
        ("Animalia", "Oenanthe", "Oenanthe oenanthe"),
        ("Plantae", "Oenanthe", "Oenanthe crocata"),
        ("Plantae", "Rosa", "Rosa canina"),
    ]
    tree = Taxonomy.from_table(pd.DataFrame(rows, columns=["kingdom", "genus", "species"]))
    leaves = tuple(tree.leaves.tolist())
    parts = tiny_parts(taxonomy=tree, class_nodes=leaves)
    TaxonClassifier(parts, device="cpu").save(bench.folder / "classifier")
    species = [tree.names[leaf] for leaf in leaves]
    bench.photos(*species, *species)
    # One broken photo of each: whatever taxon one was taken for, it would be right once.
    for seed in range(len(leaves)):
        (bench.folder / f"images/{seed:02}.png").write_bytes(b"broken")
        save_photo(bench.folder / f"images/{len(leaves) + seed:02}.png", seed)
    given = {"taxonomy": None, "classifier": bench.folder / "classifier", "device": "cpu"}
    found = bench.run(ChatServer(), batch_size=2, **given).metrics["classifier"]
    assert found["species"]["macro_recall"] == pytest.approx(1 / 2)
    assert found["genus"]["macro_recall"] == pytest.approx(1 / 2)


def test_photos_of_other_taxa_alone_are_refused(bench: Bench) -> None:
    bench.photos("strange")
    with pytest.raises(DataError, match="of 1 photos none has a genus of the taxonomy"):
        bench.run(ChatServer())


_SCRIPT = """
import signal
import sys
# As a terminal has it: what runs in the background of a shell is born deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
from taxonet.benchmark.chat import benchmark_chat
from taxonet.recipes.verbs import ChatConfig
benchmark_chat(ChatConfig.model_validate_json(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_ended_goes_on_and_asks_nothing_twice(
    bench: Bench, how: signal.Signals
) -> None:
    # More than a busy machine gets through before the signal is there.
    photos = 20
    bench.photos(*["Acer rubrum"] * photos)
    server = ChatServer(otherwise=Act(MAPLE.body, pause_seconds=0.1))
    cache = bench.folder / "out" / "cache"
    with serving(server) as address:
        config = bench.config(address)
        words = [sys.executable, "-c", _SCRIPT, config.model_dump_json()]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as process:
            until = time.monotonic() + 60
            while len(answers(cache)) < 3 and time.monotonic() < until:
                time.sleep(0.01)
            process.send_signal(how)
            process.wait(60)
        kept, asked = len(answers(cache)), server.requests
        assert 3 <= kept < photos
        # A kill loses the question under way; Ctrl-C waits for its answer.
        assert asked <= kept + (how is signal.SIGKILL)
        benchmark_chat(config)
    assert server.requests == asked + photos - kept
    assert bench.rows()["outcome"].tolist() == ["named"] * photos


def answers(cache: Path) -> list[Path]:
    """Return the answers on the disk, without what is only being written."""
    return [path for path in cache.glob("??/*.json") if not path.name.startswith(".")]
