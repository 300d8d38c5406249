from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.models import TextTower, embed_texts, load_towers

TEXTS: list[tuple[str, ...]] = [
    ("", ""),
    *((f"a photo of a {name}", f"{name}, wild") for name in ("Rosa", "Acer", "Rubus")),
]


@pytest.fixture
def tower(tiny_clips: dict[str, Path]) -> TextTower:
    return tower_of(tiny_clips, seed=0)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each call of a tower had."""
    seen: list[int] = []
    forward = TextTower.forward

    def watched(self: TextTower, tokens: Tensor) -> Tensor:
        seen.append(len(tokens))
        return forward(self, tokens)

    monkeypatch.setattr(TextTower, "forward", watched)
    return seen


def tower_of(tiny_clips: dict[str, Path], *, seed: int) -> TextTower:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return load_towers(f"clip:{tiny_clips['vit']}", weights="none").text


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npy"))


def test_the_mean_direction_of_the_templates(tower: TextTower) -> None:
    """A longer vector of one template does not count for more."""
    found = embed_texts(tower, TEXTS)
    assert found.dtype is torch.float32
    with torch.no_grad():
        for vector, group in zip(found, TEXTS, strict=True):
            rows = [tower(tower.tokenize([text]))[0] for text in group]
            first, second = (row / row.norm() for row in rows)
            torch.testing.assert_close(vector, F.normalize(first + second, dim=0))


@pytest.mark.parametrize(("at_once", "largest"), [(1, 1), (3, 2), (4, 4), (5, 4), (100, 8)])
def test_chunks_are_all_at_once_in_bounded_memory(
    tower: TextTower, batches: list[int], at_once: int, largest: int
) -> None:
    expected = embed_texts(tower, TEXTS)
    batches.clear()
    found = embed_texts(tower, TEXTS, at_once=at_once)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert sum(batches) == 8
    assert max(batches) == largest <= at_once


def test_many_templates_are_no_larger_a_batch(tower: TextTower, batches: list[int]) -> None:
    texts = [tuple(f"{name} {number}" for number in range(7)) for name in ("Rosa", "Acer")]
    expected = embed_texts(tower, texts)
    batches.clear()
    torch.testing.assert_close(embed_texts(tower, texts, at_once=3), expected)
    assert batches == [3, 3, 1, 3, 3, 1]


def test_a_gradient_may_go_through_what_it_gave(tower: TextTower) -> None:
    weight = nn.Parameter(torch.ones(16))
    torch.autograd.backward((embed_texts(tower, TEXTS) * weight).sum())
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("training", [True, False])
def test_the_tower_is_left_as_it_was(tower: TextTower, training: bool) -> None:
    tower.train(training)
    expected = embed_texts(tower, TEXTS)
    assert tower.training is training
    assert torch.equal(embed_texts(tower.train(not training), TEXTS), expected)


def test_no_texts(tower: TextTower, tmp_path: Path) -> None:
    assert embed_texts(tower, []).shape == (0, 16)
    assert embed_texts(tower, [], cache=tmp_path).shape == (0, 16)


def test_what_was_read_once_is_not_read_again(
    tower: TextTower, batches: list[int], tmp_path: Path
) -> None:
    plain = embed_texts(tower, TEXTS)
    first = embed_texts(tower, TEXTS, cache=tmp_path / "texts")
    batches.clear()
    again = embed_texts(tower, TEXTS, cache=tmp_path / "texts", at_once=3)
    assert not batches
    assert torch.equal(first, plain)
    assert torch.equal(again, plain)
    again.zero_()  # the file is not what was handed out
    assert torch.equal(embed_texts(tower, TEXTS, cache=tmp_path / "texts"), plain)


def test_other_weights_and_other_texts_are_other_files(
    tower: TextTower, tiny_clips: dict[str, Path], batches: list[int], tmp_path: Path
) -> None:
    embed_texts(tower, TEXTS, cache=tmp_path)
    other = tower_of(tiny_clips, seed=1)
    cases: list[tuple[TextTower, list[tuple[str, ...]]]] = [
        (other, TEXTS),
        (tower, TEXTS[::-1]),
        (tower, [("", ""), ("Rosa", "Acer")]),
        (tower, [("", "", "Rosa", "Acer")]),  # the same texts in other groups
    ]
    for number, (one, texts) in enumerate(cases, 2):
        batches.clear()
        found = embed_texts(one, texts, cache=tmp_path)
        assert batches
        assert len(files_of(tmp_path)) == number
        assert torch.equal(found, embed_texts(one, texts))
    with torch.no_grad():
        next(iter(tower.parameters())).view(-1)[0] += 1
    embed_texts(tower, TEXTS, cache=tmp_path)
    assert len(files_of(tmp_path)) == len(cases) + 2


@pytest.mark.parametrize("damage", ["cut", "turned", "empty", "no digest", "odd digest"])
def test_a_damaged_file_is_made_again(
    tower: TextTower, batches: list[int], tmp_path: Path, damage: str
) -> None:
    expected = embed_texts(tower, TEXTS, cache=tmp_path)
    (path,) = files_of(tmp_path)
    content, digest = path.read_bytes(), path.with_suffix(".sha256")
    if damage == "cut":
        path.write_bytes(content[:-8])
    elif damage == "turned":  # one bit, which no reader of arrays would notice
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no digest":  # as where a run was killed between the two
        digest.unlink()
    else:
        digest.write_bytes(b"\xff\x00")
    batches.clear()
    assert torch.equal(embed_texts(tower, TEXTS, cache=tmp_path), expected)
    assert batches
    assert path.read_bytes() == content
    batches.clear()
    embed_texts(tower, TEXTS, cache=tmp_path)
    assert not batches


def test_what_failed_half_way_leaves_nothing(
    tower: TextTower, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = iter(range(10))

    def fail_at_the_second(self: TextTower, tokens: Tensor) -> Tensor:
        if next(calls):
            raise RuntimeError("out of memory")
        return torch.ones(len(tokens), 16)

    with monkeypatch.context() as patch:
        patch.setattr(TextTower, "forward", fail_at_the_second)
        with pytest.raises(RuntimeError, match="out of memory"):
            embed_texts(tower, TEXTS, cache=tmp_path, at_once=2)
    assert not files_of(tmp_path)
    assert tower.training
    assert torch.equal(embed_texts(tower, TEXTS, cache=tmp_path), embed_texts(tower, TEXTS))
