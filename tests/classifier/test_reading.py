"""How scores are read: flat heads, and heads for the leaves or nodes of the classes' tree."""

import numpy as np
import pytest
import torch

from taxonet.classifier.reading import FlatReading, Reading, TreeReading, reading_of
from taxonet.errors import ConfigError
from taxonet.inference.learned_diffusion import LearnedDiffusion
from taxonet.inference.rollup_choice import Rollup
from taxonet.recipes import PartChoice, Recipe
from taxonet.registry import HIERARCHICAL_LOSSES, ROLLUPS
from taxonet.seeds import generator
from taxonet.taxonomy.propagate import class_to_node_probs
from tests.helpers import CLASS_NODES, ragged_taxonomy

#: Betulaceae, Rubus, Acer, Rosa canina, Rosa gallica, Acer rubrum; Rubus idaeus is no class.
NODES = np.array(CLASS_NODES)
COUNTS = np.array([9, 4, 3, 7, 2, 5])
ACER, ACER_RUBRUM = 2, 5
MARGIN = {"name": "levelwise_margin", "loss": "dual_margin"}


def read(loss: str | dict[str, str]) -> Reading:
    recipe = Recipe(loss=PartChoice.model_validate(loss))
    return reading_of(recipe, ragged_taxonomy(), NODES, COUNTS)


def logits_for(reading: Reading, images: int = 5) -> torch.Tensor:
    drawn = generator("reading", reading.columns).normal(size=(images, reading.columns))
    return torch.from_numpy(drawn).float()


def every_reading() -> list[Reading]:
    names = [name for name in HIERARCHICAL_LOSSES.names() if name != "levelwise_margin"]
    return [*(read(name) for name in ("cross_entropy", *names)), read(MARGIN)]


def id_of(reading: Reading) -> str:
    return type(reading.loss).__name__ if isinstance(reading, TreeReading) else "flat"


readings = pytest.mark.parametrize("reading", every_reading(), ids=id_of)


def test_the_tree_is_that_of_the_classes() -> None:
    reading = read("conditional_softmax")
    assert isinstance(reading, TreeReading)
    names = [ragged_taxonomy().names[node] for node in reading.tree_nodes.tolist()]
    assert "Rubus idaeus" not in names
    assert list(reading.tree.names) == names
    assert reading.columns == len(ragged_taxonomy()) - 1
    assert read("flat_softmax").columns == 5  # Acer has a class below it
    assert isinstance(read("cross_entropy"), FlatReading)
    assert read("cross_entropy").columns == 6


@readings
def test_probabilities_are_probabilities(reading: Reading) -> None:
    logits = logits_for(reading)
    classes, nodes = reading.class_probs(logits), reading.node_probs(logits)
    torch.testing.assert_close(classes.sum(1), torch.ones(5))
    assert nodes.shape == (5, len(ragged_taxonomy()))
    assert bool((nodes[:, 0] == 1).all())
    assert bool(((nodes >= 0) & (nodes <= 1 + 1e-6)).all())
    assert bool((nodes[:, ragged_taxonomy().find("Rubus idaeus")[0]] == 0).all())


@readings
def test_a_restriction_leaves_the_allowed_classes_in_their_proportions(reading: Reading) -> None:
    logits = logits_for(reading)
    allowed = torch.tensor([True, False, True, True, False, True])
    free, found = reading.class_probs(logits), reading.class_probs(logits, allowed=allowed)
    assert bool((found[:, ~allowed] == 0).all())
    expected = free[:, allowed] / free[:, allowed].sum(1, keepdim=True)
    torch.testing.assert_close(found[:, allowed], expected)


def test_flat_probabilities_are_summed_up() -> None:
    reading = read("cross_entropy")
    logits = logits_for(reading)
    expected = class_to_node_probs(ragged_taxonomy(), NODES, logits.softmax(1))
    torch.testing.assert_close(reading.node_probs(logits), expected)


def test_a_class_above_another_has_what_that_leaves() -> None:
    """Of a conditional softmax an only child has all that its parent has; of sigmoids not."""
    reading = read("conditional_softmax")
    assert bool((reading.class_probs(logits_for(reading))[:, ACER] == 0).all())
    reading = read("conditional_sigmoid")
    logits = logits_for(reading)
    nodes, classes = reading.node_probs(logits), reading.class_probs(logits)
    left = nodes[:, NODES[ACER]] - nodes[:, NODES[ACER_RUBRUM]]
    torch.testing.assert_close(
        classes[:, ACER] / classes[:, ACER_RUBRUM], left / nodes[:, NODES[ACER_RUBRUM]]
    )


def test_where_nothing_allowed_is_left_all_allowed_are_alike() -> None:
    reading = read("conditional_softmax")
    only_acer = torch.arange(6) == ACER
    found = reading.class_probs(logits_for(reading), allowed=only_acer | (torch.arange(6) == 0))
    assert bool(found.isfinite().all())
    alone = reading.class_probs(logits_for(reading), allowed=only_acer)
    assert bool((alone[:, ACER] == 1).all())


@readings
@pytest.mark.parametrize("name", ROLLUPS.names())
def test_every_rollup_gives_probabilities_or_says_why_not(reading: Reading, name: str) -> None:
    rollup: Rollup = ROLLUPS.build(name, {})
    logits = logits_for(reading)
    if rollup.why_not(reading.tree_scores(logits)):
        with pytest.raises(
            ConfigError, match=r"does not go with this head: (it has no scores|no map was)"
        ):
            reading.node_probs(logits, rollup=rollup)
        return
    found = reading.node_probs(logits, rollup=rollup)
    assert bool(found.isfinite().all())
    assert bool(((found >= -1e-6) & (found <= 1 + 1e-5)).all())
    assert bool((found[:, 0] - 1).abs().max() < 1e-5)


@pytest.mark.parametrize("name", ["level_top_down", "learned_diffusion"])
def test_rollups_over_leaves_leave_inner_classes_their_share(name: str) -> None:
    """A photo of a genus must not become one of the only species in it that is a class."""
    reading = read("cross_entropy")
    reading.learned = LearnedDiffusion(reading.tree).requires_grad_(False)
    probs = torch.tensor([[0.01, 0.01, 0.9, 0.02, 0.02, 0.04]])  # Acer, and Acer rubrum last
    scores = reading.tree_scores(probs.log())
    found = ROLLUPS.build(name, {})(scores)
    acer, rubrum = (int(reading.class_places[k]) for k in (ACER, ACER_RUBRUM))
    assert float(found[0, acer]) > 0.9
    assert float(found[0, rubrum]) < 0.1
    assert float(found[0, 0]) == pytest.approx(1)


def test_novelty_is_of_what_compares() -> None:
    """The root's score, which nothing trains, says nothing of a photo."""
    reading = read("conditional_sigmoid")
    logits = logits_for(reading, 2)
    other = logits.clone()
    other[:, 0] = 99
    torch.testing.assert_close(reading.novelty_logits(logits), reading.novelty_logits(other))
    low, high = torch.full_like(logits, -8.0), torch.full_like(logits, 8.0)
    nothing, all_fits = (reading.novelty_logits(one).amax(1) for one in (low, high))
    assert bool((nothing < -7).all())
    assert bool((all_fits > -0.1).all())
    for loss in ("flat_softmax", "cross_entropy"):
        leaves = read(loss)
        scores = logits_for(leaves)
        assert leaves.novelty_logits(scores) is scores


def test_the_rollups_of_a_flat_head_that_are_the_same() -> None:
    reading = read("cross_entropy")
    logits = logits_for(reading)
    own, sums = (
        reading.node_probs(logits, rollup=ROLLUPS.build(name, {})) for name in ("own", "bottom_up")
    )
    torch.testing.assert_close(own, sums)
    still = reading.node_probs(logits, rollup=ROLLUPS.build("diffusion", {"alpha": 0.0}))
    assert bool((still.argmax(1) == 0).all())


def test_raw_diffusion_needs_scores_of_nodes() -> None:
    raw = ROLLUPS.build("diffusion", {"form": "raw"})
    reading = read("levelwise_cross_entropy")
    assert bool(reading.node_probs(logits_for(reading), rollup=raw).isfinite().all())
    flat = read("cross_entropy")
    with pytest.raises(ConfigError, match="choose form=softmax"):
        flat.node_probs(logits_for(flat), rollup=raw)
