"""Every method that comes as a recipe: it builds, learns, survives, and does not mind the order."""

import copy
import io
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from taxonet.classifier.reading import reading_of
from taxonet.data.classes import ClassIndex
from taxonet.data.sampling import BatchPlan
from taxonet.data.table import ImageTable
from taxonet.models import BACKBONES, CifarResNet
from taxonet.recipes import Recipe, load_recipe, preset_names
from taxonet.registry import SAMPLERS, SECOND_STAGES
from taxonet.seeds import generator, seed_of
from taxonet.taxonomy import Taxonomy
from taxonet.training.assembly import tail_extension, twin_sampler
from taxonet.training.building import build
from taxonet.training.data import TrainingData
from taxonet.training.objectives import Objective, build_objective
from taxonet.training.objectives.contrast import VIEWS
from taxonet.training.reweighting import Reweighting
from taxonet.training.second_stage import CachedEmbeddings

METHODS = [name for name in preset_names() if name.startswith("method/")]
COUNTS = (120, 60, 24, 12)
STEPS, BATCH, SIDE_PX = 200, 16, 16
SMALL = (
    "model.backbone=toy_resnet",
    "seed=3",
    "optimiser.learning_rate=0.02",
    f"batch_size={BATCH}",
    "epochs=16",
)
#: A CLIP model for these pictures; its weights are random, and so is what it thinks of names.
TOY_CLIP = Path(__file__).with_name("toy_clip.json")
#: What a method's options need on four classes of these sizes.
FOR_FOUR_CLASSES = {
    "selection": ("selection.tail_shots=30", "selection.probability=0.5"),
    "transfer": ("transfer.tail_shots=30",),
    "ncl": ("loss.hard_classes=2",),
    "ace": ("loss.most_images=[60, 24]",),
    "words": (f"model.backbone=clip:{TOY_CLIP}", "model.weights=none", "model.image_size=16"),
}


@BACKBONES.register("toy_resnet")
def toy_resnet() -> CifarResNet:
    """The smallest network of the kind that experts and feature layers know.

    At 16 pixels its maps stay above 1 x 1, where some libraries' strided convolutions err in half
    precision.
    """
    return CifarResNet(blocks=1, width=8)


def recipe_of(name: str, *changes: str) -> Recipe:
    plain = load_recipe(f"tiny,{name}")
    needs = [
        change
        for key, of_key in FOR_FOUR_CLASSES.items()
        if getattr(plain, key, None) is not None or name in (f"method/{key}", f"method/dbm-{key}")
        for change in of_key
    ]
    if plain.transfer is not None and plain.transfer.similar is not None:
        needs.append("transfer.similar=1")
    return load_recipe(f"tiny,{name}", [*SMALL, *needs, *changes])


def pictures(targets: np.ndarray, *key: int | str, order: tuple[int, ...] = (0, 1, 2, 3)) -> Tensor:
    """Noisy pictures, whose class shows in the place of a bright bar and in its colour."""
    rng = generator("toy pictures", *key)
    images = rng.integers(0, 150, (len(targets), 3, SIDE_PX, SIDE_PX))
    for image, target in zip(images, targets, strict=True):
        look = order[target]
        image[look % 3, 4 * look : 4 * look + 4] += 100
    return torch.from_numpy(images.astype(np.uint8))


@cache
def toy_data() -> TrainingData:
    genera = ["Rosa", "Rosa", "Acer", "Acer"]
    species = [f"{genus} {kind}" for genus, kind in zip(genera, "abcd", strict=True)]
    taxonomy = Taxonomy.from_table(pd.DataFrame({"genus": genera, "species": species}))
    nodes = np.sort(taxonomy.resolve(species))
    targets = np.repeat(np.arange(4), COUNTS)
    frame = pd.DataFrame(
        {
            "image": [f"{place}.png" for place in range(len(targets))],
            "taxon": [taxonomy.path_text(int(nodes[target])) for target in targets],
            "split": "train",
        }
    )
    of_images = nodes[targets]
    return TrainingData(ImageTable(frame), taxonomy, of_images, ClassIndex.from_nodes(of_images))


def make(recipe: Recipe) -> Objective:
    network, loss = build(recipe, toy_data())
    return build_objective(
        recipe, network, loss, data=toy_data(), accelerator=Accelerator(cpu=True)
    )


def learn(recipe: Recipe, objective: Objective, *, steps: int) -> list[float]:
    """Train on the toy set, by the recipe's sampler, and return the losses."""
    targets = np.repeat(np.arange(4), COUNTS)
    images = pictures(targets, "train")
    plan = BatchPlan(
        targets,
        batch_size=BATCH,
        seed=recipe.seed,
        epochs=recipe.epochs,
        sampler=SAMPLERS.build(recipe.sampler.name, recipe.sampler.options),
        tail=tail_extension(recipe),
        twin=twin_sampler(recipe),
        further_views=VIEWS if recipe.contrast is not None else (),
    )
    optimiser = torch.optim.SGD(objective.parameters(), lr=0.02, momentum=0.9)
    late = None
    if recipe.reweighting is not None:
        late = Reweighting(objective.loss, COUNTS, choice=recipe.reweighting, epochs=recipe.epochs)
    losses: list[float] = []
    objective.train()
    for epoch in range(recipe.epochs):
        objective.start_epoch(epoch)
        if late is not None:
            late.start_epoch(epoch, torch.device("cpu"))
        for step, draws in enumerate(plan.batches(epoch)):
            if len(losses) == steps:
                return losses
            rows = [draw.row for draw in draws]
            key = ("toy", epoch, step)
            rng = torch.Generator().manual_seed(seed_of(*key))
            noise = torch.randint(-15, 16, (len(rows), 3, SIDE_PX, SIDE_PX), generator=rng)
            output = objective(
                (images[rows].int() + noise).clamp(0, 255).to(torch.uint8),
                torch.from_numpy(targets[rows]),
                torch.tensor([draw.part for draw in draws]),
                keep=BATCH,
                key=key,
            )
            optimiser.zero_grad()
            output.loss.backward()
            optimiser.step()
            losses.append(output.loss.item())
    return losses


def finish(recipe: Recipe, objective: Objective) -> None:
    """Do the second stage, where there is one."""
    if recipe.second_stage is None:
        return
    choice, targets = recipe.second_stage.stage, np.repeat(np.arange(4), COUNTS)
    network = objective.network.eval()
    with torch.no_grad():
        embeddings = objective.network(pictures(targets, "train")).embedding
    network.head = SECOND_STAGES.build(choice.name, choice.options).fit(
        CachedEmbeddings(embeddings, torch.from_numpy(targets)),
        head=network.head,
        class_counts=COUNTS,
        seed=recipe.seed,
    )


def macro_recall(recipe: Recipe, objective: Objective) -> float:
    targets, data = np.repeat(np.arange(4), 25), toy_data()
    classes = data.classes
    reading = reading_of(recipe, data.taxonomy, classes.class_nodes, classes.class_counts)
    objective.eval()
    with torch.no_grad():
        scores = objective.network(pictures(targets, "test")).scores
        named = reading.class_probs(scores).argmax(dim=1).numpy()
    return float(np.mean([(named[targets == one] == one).mean() for one in range(4)]))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_it_learns(name: str) -> None:
    recipe = recipe_of(name)
    objective = make(recipe)
    losses = learn(recipe, objective, steps=STEPS)
    assert len(losses) == STEPS
    assert np.isfinite(losses).all()
    finish(recipe, objective)
    assert macro_recall(recipe, objective) >= 0.25 + 0.30


@pytest.mark.parametrize("name", METHODS)
def test_its_state_goes_to_a_file_and_back(name: str) -> None:
    recipe = recipe_of(name)
    objective = make(recipe)
    learn(recipe, objective, steps=3)
    file = io.BytesIO()
    torch.save(objective.state_dict(), file)
    file.seek(0)
    again = make(recipe)
    again.load_state_dict(torch.load(file, weights_only=True))
    for one, other in ((objective, again), (objective, copy.deepcopy(objective))):
        assert learn(recipe, copy.deepcopy(one), steps=2) == learn(recipe, other, steps=2)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_is_finite_under_mixed_precision(name: str, dtype: torch.dtype) -> None:
    recipe = recipe_of(name)
    objective = make(recipe)
    with torch.autocast("cpu", dtype=dtype):
        losses = learn(recipe, objective, steps=2)
    assert np.isfinite(losses).all()
    for parameter in objective.parameters():
        assert parameter.isfinite().all()
