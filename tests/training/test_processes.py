"""Two processes that train one network, as under torchrun."""

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from torch import nn

from taxonet.classifier import TaxonClassifier
from taxonet.data.sources import open_images
from taxonet.errors import CheckpointError
from taxonet.training import train
from taxonet.training.processes import any_of, merged, share_buffers, sum_of
from tests.small_set import config, write_set
from tests.torchrun import torchrun

# What each process says of itself when its training has ended.
WITNESS = """
import json, sys, torch
from pathlib import Path
from taxonet.recipes.verbs import TrainConfig
from taxonet.training import loop, train

fit = loop.Trainer.fit

def fit_and_tell(self):
    position = fit(self)
    vector = torch.cat([weights.flatten() for weights in self.network.parameters()])
    buffers = [buffer.double().sum().item() for buffer in self.network.buffers()]
    Path(sys.argv[1] + f".{self.plan.rank}").write_text(json.dumps({
        "weights": vector.double().sum().item(), "length": vector.norm().item(),
        "buffers": buffers, "kept": [position.kept_epoch, position.kept_recall],
        "broken": position.broken,
    }))
    return position

loop.Trainer.fit = fit_and_tell
result = train(TrainConfig.model_validate_json(Path(sys.argv[2]).read_text()))
print("is_main", result.is_main, flush=True)
"""


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_one_process_alone_sends_nothing() -> None:
    accelerator = Accelerator(cpu=True)
    assert any_of(accelerator, False, True) == (False, True)
    assert sum_of(accelerator, 1, 0.1 + 0.2) == (1, 0.1 + 0.2)
    record = {"a.jpg": "torn"}
    again = merged(accelerator, record)
    assert again == record
    assert again is not record
    share_buffers(accelerator, nn.BatchNorm1d(1))


@pytest.mark.slow
def test_two_processes_end_with_one_classifier(photos: Path, tmp_path: Path) -> None:
    """By the command line; one process alone may not take the run up."""
    given = config(photos, tmp_path / "run", recipe="taxonet")
    words = ["-m", "taxonet", "train", str(given.images), "--taxonomy", str(given.taxonomy)]
    words += ["--recipe", str(given.recipe), "--out", str(given.out), "--device", "cpu"]
    words += [word for change in given.set for word in ("--set", change)]
    done = torchrun(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(given.out / "classifier")]
    assert done.stderr.count("Kept epoch") == 1
    # Each process has 20 of the 40 photos: 5 batches of 4 an epoch.
    assert [record["batches"] for record in records(given.out)] == [5, 10]
    assert [record["images"] for record in records(given.out)] == [40, 40]
    classifier = TaxonClassifier.load(given.out / "classifier", device="cpu")
    assert classifier.calibration.images == 20
    assert (given.out / "classifier" / "index" / "training.parquet").is_file()
    assert open_images(given.out / "split.csv").split_counts()["train"] == 40
    with pytest.raises(CheckpointError, match="another number of processes than"):
        train(given.model_copy(update={"resume": True}))


@pytest.mark.slow
def test_two_processes_agree_and_unequal_broken_photos_do_not_hang(tmp_path: Path) -> None:
    photos = write_set(tmp_path / "photos")
    for number in range(13):
        (photos / "images" / f"Rosa_canina_train_{number}.png").write_bytes(b"")
    # Batches of two and three broken ones in ten: often one process has a batch and one has none.
    given = config(
        photos,
        tmp_path / "run",
        "batch_size=2",
        "accumulate=3",
        "ema=0.9",
        "keep_epoch=last",  # the best one is read from a file, and so the same for all
        broken_share=0.5,
        checkpoint_minutes=1e-9,
    )
    (tmp_path / "config.json").write_text(given.model_dump_json())
    (tmp_path / "witness.py").write_text(WITNESS)
    words = [str(tmp_path / name) for name in ("witness.py", "told", "config.json")]
    done = torchrun(*words)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["False", "True", "is_main", "is_main"]
    one, two = (json.loads((tmp_path / f"told.{rank}").read_text()) for rank in (0, 1))
    assert one == two
    assert len(one["broken"]) == 13
    assert json.loads((given.out / "broken.json").read_text()) == one["broken"]
    images = [record["images"] for record in records(given.out) if record["kind"] == "epoch"]
    assert all(record < 27 for record in images), "no batch was passed over"
