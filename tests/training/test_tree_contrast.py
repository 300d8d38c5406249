"""Contrast over the tree from class indices, and a training with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from taxonet.classifier.reading import FlatReading
from taxonet.errors import ConfigError
from taxonet.losses import SupConLoss, supcon_loss
from taxonet.losses.hierarchical import HierarchicalSupConLoss
from taxonet.recipes import PartChoice
from taxonet.taxonomy import Taxonomy
from taxonet.training import train
from taxonet.training.tree_contrast import TrainingContrast, TreeContrast, build_contrast
from tests.small_set import config

# Acer and Rosa below the root; Acer campestre has no photos, Rosa sp. is known to the genus only.
NAMES = ["Plantae", "Acer", "Rosa", "Acer campestre", "Acer rubrum", "Rosa canina"]
TREE = Taxonomy.from_parents(NAMES, [-1, 0, 0, 1, 1, 2])
CLASS_NODES = np.array([2, 4, 5])
STAR = Taxonomy.from_edges([("Plantae", name) for name in ("Acer", "Malus", "Rosa")])


def of(choice: PartChoice, tree: Taxonomy, class_nodes: np.ndarray) -> TrainingContrast:
    return build_contrast(choice, FlatReading(tree, class_nodes), np.array([3, 2, 1]))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    views = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0))
    return F.normalize(views, dim=2), torch.tensor([0, 1, 2, 0, 2, 1])


def test_class_indices_become_nodes_of_the_classes_tree() -> None:
    views, target = batch()
    loss = of(PartChoice(name="hierarchical_supcon", temperature=0.5), TREE, CLASS_NODES)
    assert isinstance(loss, TreeContrast)
    assert loss.loss.taxonomy.names == tuple(name for name in NAMES if name != "Acer campestre")
    direct = HierarchicalSupConLoss(TREE, temperature=0.5)(
        views, torch.from_numpy(CLASS_NODES)[target]
    )
    torch.testing.assert_close(loss(None, views, target), direct)


def test_where_the_classes_are_a_star_it_is_supcon() -> None:
    views, target = batch()
    loss = of(PartChoice(name="hierarchical_supcon"), STAR, np.array([1, 2, 3]))
    torch.testing.assert_close(
        loss(None, views, target), supcon_loss(views, target, temperature=0.1)
    )


def test_flat_losses_are_made_as_ever() -> None:
    loss = of(PartChoice(name="supcon", temperature=0.2), TREE, CLASS_NODES)
    assert isinstance(loss, SupConLoss)
    assert (loss.temperature, loss.classes) == (0.2, 3)


def test_it_holds_no_state_of_its_own() -> None:
    assert not of(PartChoice(name="hierarchical_supcon"), TREE, CLASS_NODES).state_dict()


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        ("hierarchical_supkon", "No contrastive loss is called .* Did you mean"),
        ("{name: hierarchical_supcon, levels: [1]}", "has no option 'levels'"),
        (
            "{name: hierarchical_supcon, level_weights: [1, 2]}",
            "one number for each of the 3 levels",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_training(
    photos: Path, tmp_path: Path, loss: str, says: str
) -> None:
    given = config(photos, tmp_path / "run", f"contrast={{loss: {loss}}}")
    with pytest.raises(ConfigError, match=says):
        train(given)


def test_two_epochs_lower_it(photos: Path, tmp_path: Path) -> None:
    contrast = "contrast={loss: hierarchical_supcon, weight: 1.0, classification_weight: 0.0}"
    run = train(config(photos, tmp_path / "run", contrast, "batch_size=10")).folder
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    first, second = (record["loss"] for record in records if record["kind"] == "epoch")
    assert second < first - 0.1
