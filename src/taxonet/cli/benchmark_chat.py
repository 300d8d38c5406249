"""`taxonet benchmark chat`."""

import sys

from taxonet.cli.screen import say, show
from taxonet.recipes.verbs import ChatConfig

_WITHOUT_REPLY = ("unreadable", "no reply")


def run(config: ChatConfig) -> None:
    """Ask about the photos, print recall; exit code 1 where photos got no reply or are broken."""
    from taxonet.benchmark.chat import Endpoint, benchmark_chat
    from taxonet.report import chat_table, terminal_table

    # Checked before it is shown: somebody may have put a password into the address.
    say(f"The photos go to {Endpoint(config.endpoint, config.protocol).url}, without metadata.")
    try:
        found = benchmark_chat(config, show_progress=True)
    except KeyboardInterrupt:
        say("Stopped. All answers so far are kept: the same command goes on after them.")
        raise
    metrics = found.metrics
    show(terminal_table(chat_table(metrics)))
    outcomes = metrics["outcomes"]
    say(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count) + ".")
    if dropped := metrics["photos"]["dropped_images"]:
        say(f"{dropped} photos were left out: their taxa are not judged here.")
    tokens = metrics["tokens"]
    cost = "" if metrics["cost"] is None else f"; cost {metrics['cost']:.4g}"
    say(f"Tokens: {tokens['input']:,} in, {tokens['output']:,} out{cost}.")
    say(f"Figures: {config.out / 'metrics.json'}")
    print(found.rows)  # noqa: T201 - the result, for a pipe
    if any(outcomes[outcome] for outcome in _WITHOUT_REPLY):
        sys.exit(1)
