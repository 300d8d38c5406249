"""What the loop does with a batch, an epoch, and with what goes wrong in them."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.losses import CrossEntropyLoss
from taxonet.recipes import load_recipe
from taxonet.training import TrainingStopped, train
from taxonet.training.objectives import ClassificationObjective, StepOutput
from tests.small_set import config, write_set


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def script_recalls(monkeypatch: pytest.MonkeyPatch, recalls: list[float | None]) -> None:
    """Let the validations give these recalls, one an epoch."""
    given = iter(recalls)
    monkeypatch.setattr(
        "taxonet.training.validation.Validation.macro_recall", lambda self, network: next(given)
    )


def watch_forward(monkeypatch: pytest.MonkeyPatch, seen: Callable[..., None]) -> None:
    """Call ``seen`` with the arguments of every forward pass and with what came out."""
    forward = ClassificationObjective.forward

    def watched(self: ClassificationObjective, *given: Any, **named: Any) -> StepOutput:
        output = forward(self, *given, **named)
        seen(*given, output=output, **named)
        return output

    monkeypatch.setattr(ClassificationObjective, "forward", watched)


def damaged(photos: Path, folder: Path, *names: str) -> Path:
    """Return a copy of the set in which these photos are no images."""
    shutil.copytree(photos, folder)
    for name in names:
        (folder / "images" / name).write_bytes(b"no image")
    return folder


def test_the_loss_is_the_mean_over_the_images_of_the_epoch(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[tuple[float, int]] = []
    watch_forward(
        monkeypatch,
        lambda *given, output, **named: losses.append((output.loss.item(), len(given[1]))),
    )
    train(config(photos, tmp_path / "run", "batch_size=12"))
    assert [images for _, images in losses] == [12, 12, 12, 4] * 2
    for epoch, record in enumerate(records(tmp_path / "run", "epoch")):
        own = losses[4 * epoch : 4 * epoch + 4]
        mean = sum(loss * images for loss, images in own) / 40
        assert record["loss"] == pytest.approx(mean, rel=1e-12)
        assert (record["epoch"], record["images"], record["batches"]) == (epoch, 40, 4 * epoch + 4)


@pytest.mark.parametrize("bad_batch", [1, 12])
def test_a_loss_that_is_no_number_stops_with_the_place_and_advice(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad_batch: int
) -> None:
    forward, count = CrossEntropyLoss.forward, iter(range(1, 100))

    def spoiled(self: CrossEntropyLoss, *given: Tensor, **options: Any) -> Tensor:
        factor = math.nan if next(count) == bad_batch else 1.0
        return factor * forward(self, *given, **options)

    monkeypatch.setattr(CrossEntropyLoss, "forward", spoiled)
    with pytest.raises(TrainingStopped) as stopped:
        train(config(photos, tmp_path / "run"))
    message = str(stopped.value)
    epoch, batch = divmod(bad_batch - 1, 10)
    assert f"at epoch {epoch + 1}, batch {batch + 1}." in message
    assert message.count("_train_") == 4  # the four images of the batch, by name
    assert "images/" in message
    advice = re.findall(r"--set (\S+=[\w.]+)", message)
    assert [change.split("=")[0] for change in advice] == [
        "optimiser.learning_rate",
        "optimiser.clip_norm",
        "schedule.warmup_epochs",
        "precision",
    ]
    load_recipe("tiny,cross_entropy", advice)
    assert not (tmp_path / "run" / "classifier").exists()


@pytest.mark.parametrize(
    ("keep", "recalls", "kept"),
    [
        ("best", [0.2, 0.6, 0.4], 2),
        ("best", [0.6, 0.6, 0.2], 1),
        ("best", [None, 0.1, None], 2),
        ("last", [0.2, 0.6, 0.4], 3),
    ],
)
def test_the_kept_epoch(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep: str,
    recalls: list[float | None],
    kept: int,
) -> None:
    script_recalls(monkeypatch, recalls)
    run = tmp_path / "run"
    result = train(config(photos, run, "epochs=3", f"keep_epoch={keep}"))
    assert (result.kept_epoch, result.val_macro_recall) == (kept, recalls[kept - 1])
    final = load_file(run / "classifier" / "model.safetensors")
    if keep == "best":
        best = load_file(run / f"epoch-{kept}.safetensors")
        assert all(torch.equal(final[name], tensor) for name, tensor in best.items())
        assert [path.name for path in run.glob("epoch-*")] == [f"epoch-{kept}.safetensors"]
    last = load_file(run / "checkpoints" / "step-0000000030" / "model.safetensors")
    same = all(torch.equal(last[f"network.{name}"], tensor) for name, tensor in final.items())
    assert same == (kept == 3)


def test_without_validation_photos_the_last_epoch_is_kept(tmp_path: Path) -> None:
    photos = write_set(tmp_path / "photos", splits=("train", "calibration"))
    table = (photos / "images.csv").read_text()
    # A validation split of a taxon that has no training photo cannot judge anything.
    (photos / "images.csv").write_text(table + "images/none.png,Salix alba,val\n")
    taxonomy = (photos / "taxonomy.csv").read_text()
    (photos / "taxonomy.csv").write_text(taxonomy + "Salicaceae,Salix,Salix alba\n")
    result = train(config(photos, tmp_path / "run"))
    assert (result.kept_epoch, result.val_macro_recall) == (2, None)
    assert any("1 photos of the split val were left out" in note for note in result.notes)


def test_broken_photos_are_skipped_and_listed(photos: Path, tmp_path: Path) -> None:
    names = ("Rosa_canina_train_1.png", "Acer_rubrum_train_0.png")
    copy = damaged(photos, tmp_path / "photos", *names)
    result = train(config(copy, tmp_path / "run", broken_share=0.05))
    listed = json.loads((tmp_path / "run" / "broken.json").read_text())
    assert listed == dict.fromkeys(
        (f"images/{name}" for name in names), "not an image file of a known kind"
    )
    assert result.broken == listed
    assert [record["images"] for record in records(tmp_path / "run", "epoch")] == [38, 38]


def test_too_many_broken_photos_stop_the_run(photos: Path, tmp_path: Path) -> None:
    names = [f"Rosa_canina_train_{number}.png" for number in range(3)]
    copy = damaged(photos, tmp_path / "photos", *names)
    with pytest.raises(TrainingStopped, match=r"3 of 40 training photos .* share of 5%"):
        train(config(copy, tmp_path / "run", broken_share=0.05))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_batch_without_a_readable_photo_is_passed_over(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    """It moves nothing, and the others move the weights as they would without it."""
    names = [path.name for path in (photos / "images").glob("*_train_*")][:38]
    copy = damaged(photos, tmp_path / "photos", *names)
    sizes: list[int] = []
    watch_forward(monkeypatch, lambda *given, **named: sizes.append(len(given[1])))
    result = train(config(copy, tmp_path / "run", f"accumulate={accumulate}", broken_share=1.0))
    assert len(result.broken) == 38
    assert all(size == 2 for size in sizes)
    assert len(sizes) < 3  # two readable photos seldom share a batch of four


def test_bf16_on_the_cpu(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes: set[torch.dtype] = set()

    def watched(self: nn.Linear, embedding: Tensor) -> Tensor:
        dtypes.add(embedding.dtype)
        return nn.functional.linear(embedding, self.weight, self.bias)

    monkeypatch.setattr("taxonet.models.heads.LinearHead.forward", watched)
    result = train(config(photos, tmp_path / "run", "precision=bf16"))
    # In bf16 under training; validation and calibration are in full precision.
    assert dtypes == {torch.bfloat16, torch.float32}
    assert all(record["loss"] < 3 for record in records(tmp_path / "run", "epoch"))
    weights = load_file(result.classifier / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32, torch.int64}
    # The next training of the same Python process may have another precision.
    train(config(photos, tmp_path / "next", "epochs=1"))


def test_frozen_batch_norm_has_the_statistics_that_it_started_with(
    photos: Path, tmp_path: Path
) -> None:
    result = train(config(photos, tmp_path / "run", "model.freeze_batch_norm=true", "epochs=1"))
    weights = load_file(result.classifier / "model.safetensors")
    means = [tensor for name, tensor in weights.items() if name.endswith("running_mean")]
    assert means
    assert not any(bool(tensor.any()) for tensor in means)


def test_fp16_on_the_cpu_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fp16 needs a GPU.*precision=bf16"):
        train(config(photos, tmp_path / "run", "precision=fp16"))


def test_tensorboard_files_appear_when_asked(photos: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # it has no types
        EventAccumulator,
    )

    train(config(photos, tmp_path / "run", tensorboard=True))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    logged = {event.step: event.value for event in events.Scalars("epoch/loss")}
    written = {record["batches"]: record["loss"] for record in records(tmp_path / "run", "epoch")}
    assert logged == pytest.approx(written)
    train(config(photos, tmp_path / "without"))
    assert not (tmp_path / "without" / "tensorboard").exists()


def test_the_callers_random_numbers_are_left_alone(photos: Path, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    train(config(photos, tmp_path / "run", "epochs=1"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dropout_is_keyed_by_seed_epoch_and_step(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    watch_forward(monkeypatch, lambda *given, **named: drawn.append(int(torch.randint(10**9, ()))))
    for run, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(config(photos, tmp_path / run, f"seed={seed}"))
    first, again, other = drawn[:20], drawn[20:40], drawn[40:]
    assert first == again
    assert len(set(first) | set(other)) == 40
