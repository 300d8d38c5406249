"""What a chat model is asked: a persona, and two ways to ask, in words of our own."""

from collections.abc import Sequence

from taxonet.errors import ConfigError

MOST_CANDIDATES = 5_000

PERSONA = (
    "You are a field botanist with decades of work in herbaria and outdoors. You name plants from "
    "photos by what can be seen in them, you know how close relatives are told apart, and you say "
    "so when a photo does not show enough."
)

_ANSWER = (
    'Answer with one JSON object of exactly two keys: {"genus": ..., "species": ...}. "genus" is '
    'the scientific name of the genus, "species" the full scientific name of the species, genus '
    "and epithet, without author. Write null for what the photo does not show well enough to say."
)

_ASKED = {
    "zero-shot": "Which plant is in this photo? " + _ANSWER + " Write nothing besides the object.",
    "chain-of-thought": (
        "Which plant is in this photo? Go step by step, in a few sentences for each step.\n"
        "1. Describe what can be seen: habit, bark, leaves and how they stand, flowers, fruits, "
        "and where it grows.\n"
        "2. Say which genera this fits, what speaks for and against each, and settle on a genus.\n"
        "3. Say which species of that genus are possible, by which characters they differ, and "
        "settle on one if these characters can be seen.\n"
        "Only then answer. " + _ANSWER + " Write the object once, at the end, on a line of its own."
    ),
}

PROMPTS = tuple(_ASKED)
"""The ways to ask, by name."""


def question_text(prompt: str, candidates: Sequence[str] | None = None) -> str:
    """Return what a model is asked to do.

    Args:
        prompt: One of `PROMPTS`. ``chain-of-thought`` goes from what is seen to the genus, then
            to the species.
        candidates: Species to choose from; None leaves the model to what it knows.

    Raises:
        ConfigError: More candidates than a question should hold.

    Reference:
        TaxoNet, section 5.4 and Table 5: zero-shot prompts with a persona, and a chain of thought
        from the genus to the species. The words of the paper are not used here.

    Examples:
        >>> question_text("zero-shot", ["Acer rubrum", "Rosa canina"]).splitlines()[-2:]
        ['Acer rubrum', 'Rosa canina']
    """
    if candidates is None:
        return _ASKED[prompt]
    if len(candidates) > MOST_CANDIDATES:
        raise ConfigError(
            f"--candidates would put {len(candidates):,} species into every question, and at most "
            f"{MOST_CANDIDATES:,} go in: give a smaller --taxonomy, or leave --candidates out."
        )
    listed = "\n".join(candidates)
    return f"{_ASKED[prompt]}\n\nThe species is one of these:\n{listed}"
