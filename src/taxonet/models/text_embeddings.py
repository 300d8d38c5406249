"""Embeddings of many texts in bounded memory, kept on disk under what decides them."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.files import atomic_file, file_digest, write_text
from taxonet.models.clip import TextTower
from taxonet.models.heads import directions
from taxonet.progress import Progress

_AT_ONCE = 256


def embed_texts(
    tower: TextTower,
    texts: Sequence[tuple[str, ...]],
    *,
    cache: Path | None = None,
    at_once: int = _AT_ONCE,
    shown: bool = False,
) -> Tensor:
    """Return one unit vector for each group of texts: the mean direction of the group.

    No more than ``at_once`` texts are in the tower at a time. With a cache, what was embedded
    before, by the same weights from the same texts, is read and not computed; a file there that is
    damaged is made again.

    Args:
        tower: The text tower.
        texts: Groups of as many texts each, at least one, such as those of `prompts`.
        cache: Folder of embeddings.
        at_once: Texts in the tower at a time, at least 1.
        shown: Show progress.

    Returns:
        float32 ``(len(texts), d)`` on the CPU.
    """
    if cache is None:
        found = np.empty((len(texts), tower.embedding_size), dtype=np.float32)
        _fill(found, tower, texts, at_once=at_once, shown=shown)
        return torch.from_numpy(found)
    path = cache / f"{_digest(tower, texts)}.npy"
    if not _is_whole(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            mapped = np.lib.format.open_memmap(
                temporary, mode="w+", dtype=np.float32, shape=(len(texts), tower.embedding_size)
            )
            _fill(mapped, tower, texts, at_once=at_once, shown=shown)
            mapped.flush()
        write_text(_digest_file(path), file_digest(path))
    return torch.from_numpy(np.load(path))


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _is_whole(path: Path) -> bool:
    try:
        return _digest_file(path).read_text(encoding="ascii") == file_digest(path)
    except (OSError, UnicodeDecodeError):
        return False


@torch.inference_mode()
def _fill(
    found: NDArray[np.float32],
    tower: TextTower,
    texts: Sequence[tuple[str, ...]],
    *,
    at_once: int,
    shown: bool,
) -> None:
    was_training = tower.training
    tower.eval()
    device = next(tower.parameters()).device
    groups_at_once = max(1, at_once // len(texts[0])) if texts else 1
    try:
        with Progress("reading names", len(texts), shown=shown) as progress:
            for start in range(0, len(texts), groups_at_once):
                groups = texts[start : start + groups_at_once]
                tokens = tower.tokenize([text for group in groups for text in group])
                parts = [
                    directions(tower(part.to(device))) for part in torch.split(tokens, at_once)
                ]
                units = torch.cat(parts).view(len(groups), -1, tower.embedding_size)
                found[start : start + len(groups)] = directions(units.mean(dim=1)).cpu().numpy()
                progress.advance(len(groups))
    finally:
        tower.train(was_training)


def _digest(tower: TextTower, texts: Sequence[tuple[str, ...]]) -> str:
    digest = sha256(repr(tower.architecture.to_dict()).encode())
    for name, value in sorted(tower.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    for group in texts:
        digest.update(repr(group).encode())
    return digest.hexdigest()
