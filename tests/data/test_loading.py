from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from taxonet.data import (
    Batch,
    BatchPlan,
    Broken,
    Draw,
    ImageDataset,
    ImageTable,
    TailExtension,
    in_order,
    stream_batches,
)
from taxonet.data.resizing import ResizeSpec
from taxonet.data.transforms import augmix, crop_flip, plain
from taxonet.errors import ConfigError

SIZE = 16
SPEC = ResizeSpec(size=(SIZE, SIZE))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Ten photos of their own colour; the fourth is text and the eighth is missing."""
    root = tmp_path_factory.mktemp("photos")
    names = [f"{i}.png" for i in range(10)]
    for i, name in enumerate(names):
        pixels = np.full((20, 20, 3), 20 * i, dtype=np.uint8)
        pixels[:, :10, 0] = 255
        Image.fromarray(pixels).save(root / name)
    (root / "3.png").write_text("no photo")
    (root / "7.png").unlink()
    return ImageTable(pd.DataFrame({"image": names, "taxon": "x"}), root=root)


@pytest.fixture(scope="module")
def dataset(table: ImageTable) -> ImageDataset:
    views = {"plain": plain(SPEC), "train": crop_flip(SPEC), "tail": augmix(SPEC)}
    return ImageDataset(table, views, seed=5)


def values(pixels: Tensor) -> set[int]:
    return set(pixels.flatten().tolist())


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert torch.equal(left.images, right.images)
        assert torch.equal(left.rows, right.rows)
        assert torch.equal(left.part, right.part)
        assert left.broken == right.broken


def test_good_images_are_stacked_and_broken_ones_listed(dataset: ImageDataset) -> None:
    first, second, third = dataset.batches(in_order(10, 4))
    assert first.rows.tolist() == [0, 1, 2]
    assert first.broken == [Broken(3, "not an image file of a known kind")]
    assert second.rows.tolist() == [4, 5, 6]
    assert second.broken == [Broken(7, "no such file")]
    assert (third.rows.tolist(), third.broken) == ([8, 9], [])
    assert first.images.shape == (3, 3, SIZE, SIZE)
    assert first.images.dtype == torch.uint8
    assert values(first.images[2, 1]) == {40}
    assert not first.part.any()


def test_a_batch_of_broken_images_is_empty(dataset: ImageDataset) -> None:
    (batch,) = dataset.batches([[Draw(3, 0, "plain"), Draw(7, 0, "plain")]])
    assert batch.images.shape == (0, 3, SIZE, SIZE)
    assert batch.images.dtype == torch.uint8
    assert batch.rows.dtype == torch.int64
    assert [broken.row for broken in batch.broken] == [3, 7]


def test_a_batch_of_broken_images_is_empty_for_a_rectangle_too(table: ImageTable) -> None:
    spec = ResizeSpec(size=(12, 20))
    dataset = ImageDataset(table, {"plain": plain(spec), "train": crop_flip(spec)})
    broken, good = dataset.batches([[Draw(3, 0, "plain")], [Draw(2, 0, "train")]])
    assert broken.images.shape == (0, 3, 12, 20)
    assert good.images.shape == (1, 3, 12, 20)
    ((_, batch),) = stream_batches([b""], plain(spec), batch_size=1)
    assert batch.images.shape == (0, 3, 12, 20)
    assert len(batch.broken) == 1


def test_views_of_different_sizes_cannot_be_stacked(table: ImageTable) -> None:
    views = {"plain": plain(SPEC), "train": crop_flip(ResizeSpec(size=(8, 16)))}
    with pytest.raises(ConfigError, match=r"must have one size.*\(8, 16\), \(16, 16\)"):
        ImageDataset(table, views)


def test_workers_make_no_difference(dataset: ImageDataset) -> None:
    tail = TailExtension(extra=2, probability=0.5, tail_shots=99)
    plan = BatchPlan([0] * 10, batch_size=3, seed=0, tail=tail)
    none, one, two = (
        list(dataset.batches(plan.batches(1), workers=workers)) for workers in (0, 1, 2)
    )
    assert any(batch.part.any() for batch in none)
    assert_equal(none, one)
    assert_equal(none, two)


def test_an_image_looks_the_same_in_any_batch(dataset: ImageDataset) -> None:
    draws = [Draw(row, 2, "train") for row in (0, 1, 2, 4)]
    (together,) = dataset.batches([draws])
    alone = list(dataset.batches([[draw] for draw in reversed(draws)]))
    assert torch.equal(together.images, torch.cat([batch.images for batch in reversed(alone)]))


def test_views_epochs_and_numbers_differ(dataset: ImageDataset) -> None:
    draws = [
        Draw(0, 0, "plain"),
        Draw(0, 0, "train"),
        Draw(0, 1, "train"),
        Draw(0, 0, "tail", part=1),
        Draw(0, 0, "tail", 1, part=1),
    ]
    (batch,) = dataset.batches([draws])
    assert batch.part.tolist() == [0, 0, 0, 1, 1]
    assert len({image.numpy().tobytes() for image in batch.images}) == 5


def test_the_global_random_state_is_left_alone(dataset: ImageDataset) -> None:
    before = torch.random.get_rng_state()
    list(dataset.batches([[Draw(0, 0, "train")]]))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_unknown_view_is_an_error(dataset: ImageDataset) -> None:
    with pytest.raises(ConfigError, match=r"no view 'tial'\. Did you mean 'tail'\?"):
        dataset[Draw(0, 0, "tial")]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_keeps_its_order_and_only_a_few_batches(table: ImageTable, workers: int) -> None:
    taken = 0

    def sources() -> Iterator[Path]:
        nonlocal taken
        for i in range(400):
            taken += 1
            yield (table.root or Path()) / f"{i % 10}.png"

    stream = stream_batches(sources(), plain(SPEC), batch_size=4, workers=workers)
    seen = 0
    for number, (paths, batch) in enumerate(stream):
        assert [path.name for path in paths] == [f"{(4 * number + i) % 10}.png" for i in range(4)]
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
            assert values(image[1]) == {20 * int(paths[row].stem)}
        assert {paths[broken.row].name for broken in batch.broken} <= {"3.png", "7.png"}
        seen += len(batch.rows) + len(batch.broken)
        # Two batches ahead for each worker, and the one in hand.
        assert taken - 4 * number <= 4 * (2 * workers + 2)
    assert seen == 400


def test_a_stream_of_images_in_memory() -> None:
    pixels = np.full((SIZE, SIZE, 3), 9, dtype=np.uint8)
    sources = [Image.fromarray(pixels), pixels, b"", "no/such.jpg"]
    ((given, batch),) = stream_batches(sources, plain(SPEC), batch_size=9)
    assert given == sources
    assert batch.rows.tolist() == [0, 1]
    assert values(batch.images) == {9}
    assert batch.broken == [Broken(2, "empty file"), Broken(3, "no such file")]


def test_an_empty_stream() -> None:
    assert list(stream_batches([], plain(SPEC), batch_size=2)) == []
