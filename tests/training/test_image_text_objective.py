"""What a step of HMCF learns from: the head's scores of the batch's taxa, by their names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from taxonet.classifier.reading import TreeReading
from taxonet.errors import ConfigError
from taxonet.losses.hierarchical import NameContrastLoss
from taxonet.losses.image_text import Duplicates
from taxonet.models import LevelCosineHead, TextTower, build_network, load_towers
from taxonet.recipes import PartChoice, WordsRecipe
from taxonet.seeds import generator
from taxonet.training.objectives.image_text import ImageTextObjective
from taxonet.training.taxon_names import TaxonNames, start_head_at
from taxonet.training.tree_loss import TreeLoss
from tests.helpers import CLASS_NODES, ragged_taxonomy
from tests.tiny_clip import SIDE_PX

every_treatment = pytest.mark.parametrize("duplicates", get_args(Duplicates))
KEY = ("step", 0, 3, 7, 0)
#: Of leaves at three depths and of classes at inner nodes; some come twice.
TARGET = torch.tensor([0, 3, 3, 2, 5, 1, 4])
IMAGES = torch.randint(
    0,
    256,
    (len(TARGET), 3, SIDE_PX, SIDE_PX),
    dtype=torch.uint8,
    generator=torch.Generator().manual_seed(2),
)
Make = Callable[..., ImageTextObjective]


@pytest.fixture
def make(tiny_clips: dict[str, Path]) -> Make:
    """Objectives of the same weights, whose head starts at the names."""

    def objective(
        *,
        vision: str = "vit",
        templates: tuple[str, ...] = ("a {name}",),
        frozen: bool = False,
        chunk: int | None = None,
        **options: Any,
    ) -> ImageTextObjective:
        tree = ragged_taxonomy()
        counts = np.ones(len(CLASS_NODES), dtype=np.int64)
        choice = PartChoice(name="image_text", **options)
        reading = TreeReading(tree, np.array(CLASS_NODES), counts, choice)
        name = f"clip:{tiny_clips[vision]}"
        network = build_network(
            backbone=name,
            head="level_cosine",
            classes=reading.columns,
            seed=0,
            head_options=reading.head_options("level_cosine"),
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            tower = load_towers(name, weights="none").text.requires_grad_(not frozen)
            for projection in head_of(network).projections:
                if isinstance(projection, nn.Linear):
                    nn.init.normal_(projection.weight)
        names = TaxonNames.of(tower, reading.tree, WordsRecipe(templates=templates))
        start_head_at(names, network, reading.class_places)
        with torch.no_grad():
            head_of(network).log_scales.copy_(
                torch.tensor([1.0, 2.0, 3.0])[: len(names_of(network))]
            )
        return ImageTextObjective(
            network,
            TreeLoss(reading),
            names=names,
            chunk=chunk,
            accelerator=Accelerator(cpu=True),
        )

    return objective


def head_of(network: nn.Module) -> LevelCosineHead:
    head = network.head
    assert isinstance(head, LevelCosineHead)
    return head


def names_of(network: nn.Module) -> tuple[int, ...]:
    return head_of(network).levels


def run(one: ImageTextObjective, key: tuple[Any, ...] = KEY) -> Tensor:
    output = one(IMAGES, TARGET, torch.zeros_like(TARGET), keep=len(TARGET), key=key)
    assert (output.images, output.tail_kept) == (len(TARGET), 0)
    loss: Tensor = output.loss
    return loss


def gradients(one: ImageTextObjective) -> dict[str, Tensor]:
    return {
        name: weights.grad for name, weights in one.named_parameters() if weights.grad is not None
    }


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5, msg=name)


@every_treatment
@pytest.mark.parametrize("levels", [None, (3,), (2, 3), (1, 2)], ids=str)
def test_it_is_the_loss_of_the_heads_scores(
    make: Make, duplicates: Duplicates, levels: tuple[int, ...] | None
) -> None:
    """Of all nodes, as prediction sees them, and so are the gradients but that of the names."""
    one = make(duplicates=duplicates, levels=levels)
    plain = make(duplicates=duplicates, levels=levels)
    assert isinstance(plain.loss, TreeLoss)
    scores = plain.network(IMAGES).scores
    expected = plain.loss(scores, TARGET)
    torch.autograd.backward(expected)
    loss = run(one)
    torch.autograd.backward(loss)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    of_images = {name: value for name, value in gradients(one).items() if "tower" not in name}
    assert_close(of_images, gradients(plain))
    assert any("log_scales" in name for name in of_images)


def test_the_gradient_reaches_the_text_tower_as_its_vectors_do_the_loss(make: Make) -> None:
    """The names' vectors, computed by hand from the tower in the place of the head's."""
    one, plain = make(), make()
    torch.autograd.backward(run(one))
    head, loss = head_of(plain.network), plain.loss
    assert isinstance(loss, TreeLoss)
    vectors = plain.tower(plain.tower.tokenize([group[0] for group in plain._names.texts]))
    embedding = plain.network.embed(IMAGES)
    scores = torch.func.functional_call(head, {"weight": vectors}, (embedding,))
    torch.autograd.backward(loss(scores, TARGET))
    assert_close(gradients(one), gradients(plain))
    assert all(weights.grad is not None for weights in one.tower.parameters())
    assert head_of(one.network).weight.grad is None


def test_every_name_is_read_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three families, three genera with one that is a class, three species: root for no label."""
    one = make()
    seen: list[list[list[int]]] = []
    forward = TextTower.forward

    def watched(self: TextTower, tokens: Tensor) -> Tensor:
        seen.append(tokens.tolist())
        return forward(self, tokens)

    monkeypatch.setattr(TextTower, "forward", watched)
    run(one)
    (batch,) = seen
    wanted = one.tower.tokenize([group[0] for group in one._names.texts]).tolist()
    assert len(batch) == len(wanted) == 10  # with the root's empty text for images without a label
    assert sorted(batch) == sorted(wanted)


def test_a_step_draws_one_template_that_all_processes_share(make: Make) -> None:
    templates = ("a {name}", "wild {name}, flowering")
    alone = [run(make(templates=(template,))).item() for template in templates]
    one = make(templates=templates)
    assert alone[0] != pytest.approx(alone[1], abs=1e-3)
    drawn = set()
    for step in range(8):
        template = int(generator("template", "step", 0, 0, step).integers(2))
        for rank in (0, 1):
            loss = run(one, key=("step", 0, 0, step, rank))
            assert loss.item() == pytest.approx(alone[template], abs=1e-4)
        drawn.add(template)
    assert drawn == {0, 1}


def test_a_frozen_tower_is_not_asked_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its vectors are the mean directions of all templates, from before the first step."""
    one = make(frozen=True, templates=("a {name}", "wild {name}"))
    before = head_of(one.network).vectors.clone()
    torch.testing.assert_close(before, one._names.vectors())

    def refuse(self: TextTower, tokens: Tensor) -> Tensor:
        raise AssertionError("the text tower was asked")

    monkeypatch.setattr(TextTower, "forward", refuse)
    torch.autograd.backward(run(one))
    one.end_epoch()
    assert torch.equal(head_of(one.network).vectors, before)
    assert not any(name.startswith("tower") for name in gradients(one))


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_in_chunks_as_at_once(make: Make, chunk: int) -> None:
    one, plain = make(chunk=chunk), make()
    loss, expected = run(one), run(plain)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    torch.autograd.backward(loss)
    torch.autograd.backward(expected)
    assert_close(gradients(one), gradients(plain))


def test_no_more_than_a_chunk_is_in_a_tower(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one, seen = make(chunk=3), []

    def watch(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(len(given[0]))

    for tower in (one.tower, one.network.backbone):
        tower.register_forward_pre_hook(watch)
    torch.autograd.backward(run(one))
    assert max(seen) == 3


def test_chunks_and_batch_statistics_are_refused_before_the_first_step(make: Make) -> None:
    with pytest.raises(ConfigError, match="normalises by the statistics of a batch"):
        make(vision="modified_resnet", chunk=3)
    make(vision="modified_resnet")


def test_the_end_of_an_epoch_reads_all_names_anew(make: Make) -> None:
    one = make()
    before = head_of(one.network).vectors.clone()
    with torch.no_grad():
        for weights in one.tower.parameters():
            weights.add_(
                0.1 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
            )
    one.end_epoch()
    after = head_of(one.network).vectors
    assert torch.equal(after, one._names.vectors())
    assert not torch.allclose(after, before, atol=1e-3)
    assert not after.requires_grad


def test_what_is_kept_and_what_no_decay_pulls(make: Make) -> None:
    one = make()
    kept = one.kept.state_dict()
    assert any(name.startswith("tower.") for name in kept)
    assert "network.head.weight" in kept
    (scales,) = one.loss_parameters()
    assert scales is head_of(one.network).log_scales
    # Tokens of 400,000 names are nothing for processes to send one another.
    assert not any(name.startswith("_") for name, _ in one.named_buffers())


@every_treatment
def test_a_batch_of_one_taxon_is_finite(make: Make, duplicates: Duplicates) -> None:
    one = make(duplicates=duplicates)
    for target in (torch.full_like(TARGET, 3), torch.zeros_like(TARGET)):
        one.zero_grad()
        output = one(IMAGES, target, target, keep=7, key=KEY)
        torch.autograd.backward(output.loss)
        assert output.loss.isfinite()
        assert all(gradient.isfinite().all() for gradient in gradients(one).values())
        if duplicates == "masked":
            assert output.loss.item() == pytest.approx(0, abs=1e-5)


def test_the_order_of_the_batch_is_nothing(make: Make) -> None:
    one, order = make(), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    output = one(IMAGES[order], TARGET[order], TARGET, keep=7, key=KEY)
    torch.testing.assert_close(output.loss, run(one), rtol=1e-5, atol=1e-5)


def test_levels_of_one_class_are_named_by_the_loss(make: Make) -> None:
    """Without options it is every level of the tree that the classes span."""
    one = make()
    assert isinstance(one._levels, NameContrastLoss)
    assert one._levels.depths.tolist() == list(names_of(one.network)) == [1, 2, 3]
