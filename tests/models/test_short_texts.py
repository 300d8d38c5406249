"""A text tower that stops at the end of the longest text says what the whole one says."""

from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from taxonet.models.short_texts import encode_texts
from tests.tiny_clip import TEXT, model_config

NAMES = ["a photo of a Quercus robur", "", "Acer"]
#: Tokens of the longest of them, with a start and an end.
LONGEST = max(len(open_clip.tokenizer.SimpleTokenizer().encode(name)) for name in NAMES) + 2
EOS = {"pool_type": "eos", "eos_id": 49407}


def model_of(*, custom: bool, **of_text: Any) -> Any:
    config = model_config(text_cfg=TEXT | of_text)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
        for weights in made.parameters():
            nn.init.normal_(weights, std=0.3)
    return made


def tokens_of(names: list[str]) -> Tensor:
    found: Tensor = open_clip.SimpleTokenizer(context_length=TEXT["context_length"])(names)
    return found


def places_seen(model: Any) -> list[int]:
    """Return a list that will hold the length of what the transformer reads."""
    seen: list[int] = []
    transformer = model.text.transformer if hasattr(model, "text") else model.transformer
    transformer.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    return seen


@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize("of_text", [{}, EOS])
def test_it_reads_to_the_end_of_the_longest_text(custom: bool, of_text: dict[str, Any]) -> None:
    model = model_of(custom=custom, **of_text)
    seen = places_seen(model)
    encode_texts(model, tokens_of(NAMES))
    encode_texts(model, tokens_of([""]))
    assert seen == [LONGEST, 2]
    assert TEXT["context_length"] > LONGEST


@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize("of_text", [{}, EOS])
def test_values_and_gradients_are_those_of_the_whole(custom: bool, of_text: dict[str, Any]) -> None:
    model, tokens = model_of(custom=custom, **of_text).double(), tokens_of(NAMES)
    weights = [one for name, one in model.named_parameters() if not name.startswith("visual")]
    short, whole = encode_texts(model, tokens), model.encode_text(tokens)
    torch.testing.assert_close(short, whole, rtol=1e-12, atol=1e-12)
    asked = [
        torch.autograd.grad(found.square().sum(), weights, allow_unused=True)
        for found in (short, whole)
    ]
    for of_short, of_whole in zip(*asked, strict=True):
        torch.testing.assert_close(of_short, of_whole, rtol=1e-9, atol=1e-12)


def test_a_text_that_fills_every_place() -> None:
    model, tokens = model_of(custom=False), tokens_of(["a " * 40])
    assert tokens[0, -1] == EOS["eos_id"]
    torch.testing.assert_close(encode_texts(model, tokens), model.encode_text(tokens))


@pytest.mark.parametrize(
    "of_text",
    [
        {"no_causal_mask": True},
        {"no_causal_mask": True, "pool_type": "last"},
        {"pool_type": "last"},
        {"pool_type": "first"},
        {"embed_cls": True},
    ],
)
def test_towers_whose_texts_look_behind_their_end_read_every_place(of_text: dict[str, Any]) -> None:
    model, tokens = model_of(custom=True, **of_text), tokens_of(NAMES)
    seen = places_seen(model)
    torch.testing.assert_close(encode_texts(model, tokens), model.encode_text(tokens))
    assert seen[0] == seen[1] >= TEXT["context_length"]


def test_the_model_is_left_as_it_was() -> None:
    model = model_of(custom=False)
    mask = model.attn_mask.clone()
    before = {name: value.data_ptr() for name, value in model.state_dict().items()}
    torch.autograd.grad(encode_texts(model, tokens_of(NAMES)).sum(), model.ln_final.weight)
    assert {name: value.data_ptr() for name, value in model.state_dict().items()} == before
    assert torch.equal(model.attn_mask, mask)
