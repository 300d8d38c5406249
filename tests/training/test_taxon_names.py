"""Names in training: where a head starts, and what is refused before anything is written."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from taxonet.errors import ConfigError, DataError
from taxonet.models import LevelCosineHead, build_network, embed_texts, prompts
from taxonet.recipes import ModelRecipe, PartChoice, Recipe, WordsRecipe
from taxonet.taxonomy import Taxonomy
from taxonet.training import train
from taxonet.training.taxon_names import (
    TaxonNames,
    read_common_names,
    start_head_at,
    text_tower,
)
from tests.small_set import SPECIES, config

TREE = Taxonomy.from_edges([("life", "Rosa"), ("life", "Acer"), ("Rosa", "Rosa canina")])
TEMPLATES = ("a photo of a {name}", "{name}")
PLACES = torch.tensor([1, 3])


def recipe(clip: Path, *, seed: int = 0) -> Recipe:
    model = ModelRecipe(backbone=f"clip:{clip}", head="level_cosine", image_size=32)
    return Recipe(model=model, loss=PartChoice(name="image_text"), seed=seed)


@pytest.fixture
def names(tiny_clips: dict[str, Path]) -> TaxonNames:
    words = WordsRecipe(templates=TEMPLATES)
    return TaxonNames.of(text_tower(recipe(tiny_clips["vit"])), TREE, words)


def test_texts_tokens_and_vectors(names: TaxonNames) -> None:
    assert names.texts == prompts(TREE, templates=TEMPLATES)
    tokens = names.tokens()
    assert (tokens.shape, tokens.dtype) == ((4, 2, 16), torch.int32)
    for node, group in enumerate(names.texts):
        assert torch.equal(tokens[node].long(), names.tower.tokenize(group))
    assert torch.equal(names.vectors(), embed_texts(names.tower, names.texts))


DEEP = Taxonomy.from_edges(
    [*pairwise([f"Clade{place}" for place in range(20)]), ("Clade19", "Rosa"), ("Clade19", "Acer")]
    + [("Rosa", f"Rosa {name}") for name in ("canina", "gallica", "arvensis")]
)


def test_a_long_path_keeps_its_end(tiny_clips: dict[str, Path]) -> None:
    """The tower has 16 places, and cuts from the end, where the species is."""
    tower = text_tower(recipe(tiny_clips["vit"]))
    names = TaxonNames.of(tower, DEEP, WordsRecipe(templates=("a {name}",), names="path"))
    assert names.notes == ()
    assert len({tuple(tokens.flatten().tolist()) for tokens in names.tokens()}) == len(DEEP)
    for node in range(1, len(DEEP)):
        (text,) = names.texts[node]
        assert text.endswith(DEEP.names[node])
        assert tower.fits([text]) == [True]
    (last,) = names.texts[-1]
    assert last.startswith("a Clade")
    longer = last.replace("a Clade", f"a Clade{int(last.split()[1][5:]) - 1} Clade", 1)
    assert tower.fits([longer]) == [False]


def test_taxa_that_read_the_same(tiny_clips: dict[str, Path], tmp_path: Path) -> None:
    tower = text_tower(recipe(tiny_clips["vit"]))
    path = tmp_path / "common.csv"
    path.write_text("name,common_name\nrosa_CANINA ,rose\nRosa gallica,rose\nRosa arvensis,Rose\n")
    words = WordsRecipe(names="common", common_names=str(path))
    counted, alike = TaxonNames.of(tower, DEEP, words).notes
    assert counted == (
        f"3 of 24 taxa have a common name in {path}; the others go by their scientific names."
    )
    first, second = (
        DEEP.path_text(DEEP.find(f"Rosa {name}")[0]) for name in ("arvensis", "canina")
    )
    assert alike.startswith(
        f"2 taxa read the same to the text tower as another (first: {first} and {second})"
    )
    long = "word " * 20 + "{name}"
    with pytest.raises(ConfigError, match=r"all 24 taxa read the same .*Choose shorter templates"):
        TaxonNames.of(tower, DEEP, WordsRecipe(templates=(long,)))


def test_training_says_it_before_it_starts(
    photos: Path, tiny_clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "common.csv"
    path.write_text(f"name,common_name\n{SPECIES[0]},rose\n")
    words = f"words={{names: common, common_names: {path}}}"
    backbone = f"model.backbone=clip:{tiny_clips['vit']}"
    train(config(photos, tmp_path / "run", backbone, words, "epochs=1"), show_progress=True)
    said, _, _ = capsys.readouterr().err.partition("training: ")
    assert "1 of " in said
    assert f"taxa have a common name in {path}; the others" in said


def test_common_names_of_other_taxa(tiny_clips: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "common.csv"
    path.write_text("name,common_name\nVanessa atalanta,red admiral\n")
    words = WordsRecipe(names="common", common_names=str(path))
    with pytest.raises(
        DataError, match=r"none of the 3 names .*first: 'Acer'; its own first: 'vanessa atalanta'"
    ):
        TaxonNames.of(text_tower(recipe(tiny_clips["vit"])), TREE, words)


def test_random_towers_depend_on_the_recipes_seed_alone(tiny_clips: dict[str, Path]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        state = torch.get_rng_state()
        first = text_tower(recipe(tiny_clips["vit"])).state_dict()
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(2)
        second = text_tower(recipe(tiny_clips["vit"])).state_dict()
    other = text_tower(recipe(tiny_clips["vit"], seed=1)).state_dict()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    projection = "model.text_projection"
    assert not torch.equal(first[projection], other[projection])


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_a_flat_head_starts_at_the_names_of_its_classes(
    names: TaxonNames, tiny_clips: dict[str, Path], head: str
) -> None:
    network = build_network(
        backbone=f"clip:{tiny_clips['vit']}", head=head, classes=2, seed=0
    ).eval()
    start_head_at(names, network, PLACES)
    vectors = names.vectors()[PLACES]
    assert torch.equal(network.head.weight, vectors)
    assert network.head.weight.requires_grad
    embedding, scores = network(torch.randn(3, 3, 32, 32))
    zero_shot = F.normalize(embedding, dim=1) @ vectors.T
    lengths = embedding.norm(dim=1, keepdim=True) if head == "linear" else 1
    torch.testing.assert_close(scores, lengths * zero_shot, rtol=1e-4, atol=1e-5)


def test_a_head_of_levels_starts_as_zero_shot(
    names: TaxonNames, tiny_clips: dict[str, Path]
) -> None:
    """At CLIP's own scale, or 100 where that is larger."""
    network = build_network(
        backbone=f"clip:{tiny_clips['vit']}",
        head="level_cosine",
        classes=4,
        seed=0,
        head_options={"level_sizes": (1, 2, 1)},
    ).eval()
    start_head_at(names, network, PLACES)
    embedding, scores = network(torch.randn(3, 3, 32, 32))
    zero_shot = F.normalize(embedding, dim=1) @ names.vectors().T / 0.07
    torch.testing.assert_close(scores[:, 1:], zero_shot[:, 1:], rtol=1e-4, atol=1e-4)
    names.tower.logit_scale = 117.3  # as of SigLIP
    start_head_at(names, network, PLACES)
    assert isinstance(network.head, LevelCosineHead)
    assert network.head.scales().tolist() == pytest.approx([100, 100])


def test_common_names(tmp_path: Path, names: TaxonNames) -> None:
    path = tmp_path / "common.csv"
    path.write_text('name,other,common_name\nRosa,x,"roses, all"\nAcer,y,\n,z,nameless\n')
    assert read_common_names(path) == {"Rosa": "roses, all"}
    words = WordsRecipe(templates=("a {name}",), names="common", common_names=str(path))
    texts = TaxonNames.of(names.tower, TREE, words).texts
    assert texts == [("",), ("a Acer",), ("a roses, all",), ("a Rosa canina",)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name,english\nRosa,rose\n", "common.csv has no column common_name: common names stand"),
        (b"a,b\n1,2\n", "has no column name and no column common_name"),
        (b"", "common.csv is no table of common names"),
        (b"name,common_name\n\xff\xfe,x\n", "common.csv is no table of common names"),
    ],
)
def test_files_of_common_names_that_are_none(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "common.csv").write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_common_names(tmp_path / "common.csv")


LEVELS = ("model.head=level_cosine",)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            ("words={}", "model.backbone=test_resnet"),
            r"text tower of a CLIP model, .* 'test_resnet': choose model.backbone=clip:",
        ),
        (
            (*LEVELS, "loss=cross_entropy"),
            r"'level_cosine' scores the nodes of the tree level by level: use it with the loss",
        ),
        ((*LEVELS, "loss=soft_max_margin"), r"'level_cosine' scores the nodes .* use it with"),
        (
            ("loss=image_text", "model.head=linear"),
            r"'image_text' compares .* 'linear' has not: set model.head to 'level_cosine'",
        ),
        (
            ("loss=image_text", "model.head=cosine", "words={}"),
            r"'image_text' compares .* 'cosine' has not: set model.head to 'level_cosine'",
        ),
        (
            ("loss=soft_max_margin", "words={}"),
            r"`words` give a vector to each class or to each node level by level: choose",
        ),
        (
            ("words={}", "model.backbone=test_resnet", "model.experts=2"),
            r"`words` works on the features of one network, and the model has 2 experts",
        ),
        (("words={}", "model.experts=2"), r"ImageTower cannot be divided among experts"),
        ((*LEVELS, "loss=image_text", "words={}", "second_stage={stage: ncm}"), "`second_stage`"),
        (
            (*LEVELS, "loss=image_text", "words={}", "transfer={tail_shots: 9}"),
            r"'image_text' compares the images of a batch .*`transfer` .*set transfer to null",
        ),
        (
            (*LEVELS, "loss=image_text", "words={}", "contrast={loss: supcon}"),
            r"`contrast` changes what a batch holds: set contrast to null",
        ),
        (
            (*LEVELS, "loss=image_text", "words={}", "mixing={name: mixup}"),
            r"`mixing` changes what a batch holds: set mixing to null",
        ),
        (
            (*LEVELS, "loss=image_text", "words={}", "selection={keep: random}"),
            r"`selection` changes what a batch holds: set selection to null",
        ),
        (
            (*LEVELS, "loss=image_text", "words={}", "reweighting={}"),
            r"Deferred re-weighting .* TreeLoss has its own, or knows none",
        ),
        (("words={chunk: 2}",), r"`words.chunk` is for .* not 'cross_entropy': leave words.chunk"),
        (
            (*LEVELS, "loss={name: image_text, levels: [4]}", "words={}"),
            r"levels",
        ),
        (
            ("words={names: common, common_names: none.csv}",),
            r"There is no file of common names none.csv",
        ),
        (("words={names: common}",), r"names: common and a file of common_names go together"),
        (("words={common_names: a.csv}",), r"names: common and a file of common_names go together"),
        (("words={templates: [a photo]}",), r"needs {name} in it, and 'a photo' has none"),
        (("words={templates: []}",), r"words.templates"),
        (("words={name: path}",), r"words.name.*"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    photos: Path,
    tmp_path: Path,
    tiny_clips: dict[str, Path],
    changes: tuple[str, ...],
    says: str,
) -> None:
    backbone = f"model.backbone=clip:{tiny_clips['vit']}"
    with pytest.raises(ConfigError, match=says):
        train(config(photos, tmp_path / "run", backbone, *changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "of_nodes"),
    [
        (("loss=cross_entropy", "model.head=linear"), False),
        (("loss=am_softmax", "model.head=cosine"), False),
        (("loss=am_softmax", "model.head=cosine", "mixing={name: mixup}"), False),
        (("loss=cross_entropy", "model.head=linear", "second_stage={stage: ncm}"), False),
        (("loss=levelwise_cross_entropy", "model.head=level_cosine"), True),
        (("loss={name: levelwise_cross_entropy, levels: [2, 3]}", *LEVELS), True),
    ],
)
def test_other_losses_start_at_the_names(
    photos: Path,
    tmp_path: Path,
    tiny_clips: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    changes: tuple[str, ...],
    of_nodes: bool,
) -> None:
    """A linear probe and cross entropy fine-tuning; then the head's vectors learn like others."""
    started: list[torch.Tensor] = []

    def watched(names: TaxonNames, network: object, places: torch.Tensor) -> None:
        start_head_at(names, network, places)  # type: ignore[arg-type]
        vectors = names.vectors()
        started.append(vectors if of_nodes else vectors[places])

    monkeypatch.setattr("taxonet.training.objectives.choice.start_head_at", watched)
    given = (f"model.backbone=clip:{tiny_clips['vit']}", "words={}", "model.frozen=true", *changes)
    slow = "optimiser.learning_rate=0.00001"
    run = train(config(photos, tmp_path / "run", *given, slow, "keep_epoch=last")).folder
    (vectors,) = started
    if "second_stage={stage: ncm}" not in changes:
        weights = load_file(run / "classifier" / "model.safetensors")["head.weight"]
        assert not torch.equal(weights, vectors)
        torch.testing.assert_close(weights, vectors, rtol=0, atol=0.05)
    assert not (run / "towers").exists()


def test_the_scales_of_levels_are_not_decayed(
    photos: Path, tmp_path: Path, tiny_clips: dict[str, Path]
) -> None:
    """A decay of everything would leave nothing of weights, and pull scales of 14 to 1."""
    decay = ("optimiser.weight_decay=1000", "optimiser.learning_rate=0.0001")
    plain = (
        "optimiser.momentum=0",
        "keep_epoch=last",
        "schedule.warmup_epochs=0",
        "model.frozen=true",
    )
    given = (f"model.backbone=clip:{tiny_clips['vit']}", *LEVELS, "loss=levelwise_cross_entropy")
    run = train(config(photos, tmp_path / "run", *given, *decay, *plain)).folder
    weights = load_file(run / "classifier" / "model.safetensors")
    assert weights["head.log_scales"].exp().tolist() == pytest.approx([1 / 0.07] * 3, rel=0.05)
    assert weights["head.weight"].norm(dim=1).max() < 0.9
