"""Texts through a CLIP model's text tower, without the empty places behind their ends."""

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


class _TextEncoder(nn.Module):
    """An open_clip model as a module that is called with tokens alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.model.encode_text(tokens)  # type: ignore[operator] # of open_clip
        return found


def encode_texts(model: Any, tokens: Tensor) -> Tensor:
    """Return the embeddings of texts, reading no further than the longest of them ends.

    In CLIP's text towers a place sees those before it alone, and a text is the vector of its end:
    what stands behind decides nothing, and costs most of the time, since names are short. Towers
    of other kinds read every place.

    Args:
        model: open_clip's model.
        tokens: int64 ``(B, T)``, B at least 1.

    Returns:
        Embeddings ``(B, d)``, those of ``model.encode_text`` up to rounding.
    """
    encoder = _TextEncoder(model)
    name, tower = ("model.text", model.text) if hasattr(model, "text") else ("model", model)
    ends = _ends(tower, tokens)
    if ends is None:
        return encoder.forward(tokens)
    places = int(ends.max()) + 1
    shorter = {
        f"{name}.positional_embedding": tower.positional_embedding[:places],
        f"{name}.attn_mask": tower.attn_mask[:places, :places],
    }
    found: Tensor = functional_call(encoder, shorter, (tokens[:, :places],))
    return found


def _ends(tower: Any, tokens: Tensor) -> Tensor | None:
    """Return the place that stands for each text ``(B,)``; None if it sees what is behind it."""
    if getattr(tower, "attn_mask", None) is None or getattr(tower, "cls_emb", None) is not None:
        return None
    # What `TextTransformer` has, `CLIP` copies under longer names.
    pooling = getattr(tower, "pool_type", None) or getattr(tower, "text_pool_type", None)
    if pooling == "argmax":
        return tokens.argmax(dim=1)
    if pooling == "eos":
        mark: int = getattr(tower, "eos_id", None) or tower.text_eos_id
        return tokens.eq(mark).int().argmax(dim=1)
    return None
