"""Fine-tune all layers on the grocery photos at 160 pixels, beside a plain loop; resumable.

    python -m benchmarks.finetuning --data DATA            # run what is missing
    python -m benchmarks.finetuning --render               # print the table as Markdown

Rows of taxonet are the recipe ``finetune`` (a head on stored features first, then all layers) with
another loss or selection; the plain loop is timm's network, a new linear head and cross entropy,
with as many passes over the photos, by AdamW with the same weight decay and one rate for all.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.datasets import PreparedData, grocery
from benchmarks.head_sets import embedder_for
from benchmarks.records import append_record, command_of, read_records
from benchmarks.run_table import RESULTS, cell, commit_of_the_code, write_into
from taxonet.data import open_images
from taxonet.data.loading import stream_batches
from taxonet.data.resizing import ResizeSpec
from taxonet.data.table import ImageTable
from taxonet.data.transforms import Transform, crop_flip, plain

_FILE = RESULTS / "finetuning-grocery.jsonl"
_SIDE, _EPOCHS, _BATCH, _RATE, _DECAY = 160, 4, 32, 3e-4, 0.05
_COMMON = (f"model.image_size={_SIDE}", f"epochs={_EPOCHS}", f"batch_size={_BATCH}")
_SPEC = ResizeSpec(size=(_SIDE, _SIDE), interpolation="bicubic", crop_share=0.875)
Record = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One way to train; without a recipe it is the plain loop."""

    name: str
    recipe: str = ""
    changes: tuple[str, ...] = ()


ROWS = (
    Row("head alone (quick)", "quick"),
    Row("plain loop, CE"),
    Row("finetune, CE", "finetune,method/ce"),
    Row("finetune, DBM-BS", "finetune"),
    Row("finetune, TaxoNet", "finetune,taxonet", ("selection.tail_shots=20",)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the real data")
    parser.add_argument("--work", type=Path, default=Path("runs/finetuning"), help="scratch folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--render", action="store_true", help="print the table as Markdown")
    parser.add_argument("--render-all", type=Path, metavar="PAGE", help="write it into a page")
    options = parser.parse_args()
    if options.render:
        print(render())
    elif options.render_all:
        write_into(options.render_all, {"finetuning-grocery": render()})
    else:
        run(options)


def run(options: argparse.Namespace) -> None:
    work = options.work / f"seed{options.seed}"
    work.mkdir(parents=True, exist_ok=True)
    data = grocery(options.data, work, options.seed)
    done = {(one["row"], one["seed"]) for one in read_records(_FILE)}
    for row in ROWS:
        if (row.name, options.seed) in done:
            continue
        print(row.name, file=sys.stderr, flush=True)
        start = time.monotonic()
        figures = (
            _trained(row, data, work, options.seed)
            if row.recipe
            else _plain(data, work, options.seed)
        )
        append_record(
            _FILE,
            {
                "row": row.name,
                "seed": options.seed,
                **figures,
                "seconds": round(time.monotonic() - start),
                "commit": commit_of_the_code(),
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "command": command_of("finetuning"),
            },
        )


def _trained(row: Row, data: PreparedData, work: Path, seed: int) -> Record:
    from taxonet.evaluation import evaluate
    from taxonet.recipes.verbs import EvaluateConfig, TrainConfig
    from taxonet.training import train
    from taxonet.training.checkpoints import list_checkpoints

    out = work / "".join(sign if sign.isalnum() else "-" for sign in row.name)
    common = _COMMON if "finetune" in row.recipe else _COMMON[:1]
    result = train(
        TrainConfig(
            images=data.images,
            taxonomy=data.taxonomy,
            recipe=row.recipe,
            set=(*common, *row.changes, f"seed={seed}"),
            features=work / "features",
            out=out,
            resume=bool(list_checkpoints(out / "checkpoints")),
        ),
        show_progress=True,
    )
    metrics = evaluate(EvaluateConfig(classifier=result.classifier, images=data.images)).metrics
    found = metrics["test"]["levels"]["class"]
    return {
        "recipe": row.recipe,
        "changes": [*common, *row.changes],
        "kept_epoch": result.kept_epoch,
        "val_macro_recall": result.val_macro_recall,
        "rank1": found["rank1"],
        "macro_recall": found["macro_recall"],
        "few": found["shot_groups"]["few"]["macro_recall"],
    }


def _plain(data: PreparedData, work: Path, seed: int) -> Record:
    """Fine-tune as a short script does, and keep the epoch that validates best."""
    table = open_images(data.images)
    names = sorted(set(table.split("train").frame["taxon"]))
    embedder = embedder_for((), work / "features-plain")
    torch.manual_seed(seed)
    network = nn.Sequential(
        embedder.network.normalise, embedder.network.backbone, nn.Linear(1280, len(names))
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    train = table.split("train")
    steps = _EPOCHS * -(-len(train) // _BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps, pct_start=0.1)
    best: tuple[float, int, dict[str, Tensor]] = (-1.0, 0, {})
    for epoch in range(_EPOCHS):
        network.train()
        order = np.random.default_rng((seed, epoch)).permutation(len(train))
        for images, target in _batches(train.rows(order), names, crop_flip(_SPEC)):
            loss = nn.functional.cross_entropy(network(images), target)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
        recall = _recall(network, table.split("val"), names)["macro_recall"]
        if recall > best[0]:
            state = {key: value.clone() for key, value in network.state_dict().items()}
            best = (recall, epoch + 1, state)
        print(f"epoch {epoch + 1}: validation macro recall {recall:.1%}", file=sys.stderr)
    network.load_state_dict(best[2])
    test = _recall(network, table.split("test"), names)
    return {"kept_epoch": best[1], "val_macro_recall": best[0], **test}


def _batches(
    table: ImageTable, names: list[str], transform: Transform
) -> Iterator[tuple[Tensor, Tensor]]:
    targets = torch.tensor([names.index(taxon) for taxon in table.frame["taxon"]])
    start = 0
    sources = (table.source(row) for row in range(len(table)))
    for given, batch in stream_batches(sources, transform, batch_size=_BATCH):
        yield batch.images, targets[start + batch.rows]
        start += len(given)


@torch.inference_mode()
def _recall(network: nn.Module, table: ImageTable, names: list[str]) -> dict[str, float]:
    from taxonet.metrics import HitCounts, accuracy, macro_recall

    network.eval()
    tally = HitCounts(len(names))
    for images, target in _batches(table, names, plain(_SPEC)):
        tally.update(target.numpy(), (network(images).argmax(1) == target).numpy())
    return {"rank1": accuracy(tally) or 0.0, "macro_recall": macro_recall(tally) or 0.0}


def render() -> str:
    """Return the table, one seed a row as it was run."""
    lines = [
        "| row | seeds | kept epoch | R@1 | macro recall | few | minutes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    found = read_records(_FILE)
    for row in ROWS:
        runs = [one for one in found if one["row"] == row.name]
        if runs:
            figures = [
                cell([one.get(key) for one in runs]) for key in ("rank1", "macro_recall", "few")
            ]
            kept = ", ".join(str(one["kept_epoch"]) for one in runs)
            minutes = f"{np.median([one['seconds'] for one in runs]) / 60:.0f}"
            lines.append(f"| {' | '.join([row.name, str(len(runs)), kept, *figures, minutes])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
