import copy
import math
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from timm.models.resnet import ResNet
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.models import (
    CifarResNet,
    CosineHead,
    ExpertBackbone,
    ExpertHeads,
    Head,
    LinearHead,
    Network,
    build_backbone,
    build_network,
)

backbones = pytest.mark.parametrize("name", ["resnet32", "resnet10", "test_resnet"])
kinds = pytest.mark.parametrize("head", ["linear", "cosine"])


def images(pixels: int = 32, batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, pixels, pixels, generator=torch.Generator().manual_seed(0))


def backbone_of(name: str, experts: int = 3) -> ExpertBackbone:
    torch.manual_seed(0)
    return ExpertBackbone(build_backbone(name)[0], experts)


def heads_of(head: str, experts: int = 3) -> ExpertHeads:
    torch.manual_seed(1)
    make = LinearHead if head == "linear" else CosineHead
    return ExpertHeads([make(4, 5) for _ in range(experts)])


def small_network(head: str = "cosine", *, backbone: str = "resnet32", experts: int = 3) -> Network:
    return build_network(backbone=backbone, head=head, classes=5, seed=0, experts=experts)


def gradient_norm(module: nn.Module) -> float:
    grads = [p.grad.norm() for p in module.parameters() if p.grad is not None]
    return float(sum(grads, torch.zeros(())))


@backbones
@pytest.mark.parametrize("shared", [0, 1, 2, 3, None])
def test_every_copy_gives_the_embedding_of_the_backbone(name: str, shared: int | None) -> None:
    single, size = build_backbone(name)
    single = single.eval()
    twin = ExpertBackbone(copy.deepcopy(single), 2, shared=shared, redraw=False).eval()
    embedding = twin(images(64))
    assert twin.embedding_size == 2 * size
    torch.testing.assert_close(embedding, single(images(64)).repeat(1, 2), rtol=1e-4, atol=1e-5)


@kinds
def test_scores_are_the_average_of_single_networks(head: str) -> None:
    network = small_network(head).eval()
    backbone, heads = network.backbone, network.head
    assert isinstance(backbone, ExpertBackbone)
    assert isinstance(heads, ExpertHeads)
    singles = []
    for expert, own in zip(backbone.experts, heads.heads, strict=True):
        single = CifarResNet().eval()
        stem = backbone.trunk.get_submodule("stem")
        parts = {"conv1": stem.get_submodule("0"), "bn1": stem.get_submodule("1")}
        parts["stage1"] = backbone.trunk.get_submodule("stage1")
        parts |= {name: expert.get_submodule(name) for name in ("stage2", "stage3")}
        for name, part in parts.items():
            single.get_submodule(name).load_state_dict(part.state_dict())
        singles.append(own(single(network.normalise(images()))))
    expected = (singles[0] + singles[1] + singles[2]) / 3
    output = network(images())
    torch.testing.assert_close(output.scores, expected, rtol=1e-4, atol=1e-5)
    for found, single_scores in zip(heads.expert_scores(output.embedding), singles, strict=True):
        torch.testing.assert_close(found, single_scores, rtol=1e-4, atol=1e-5)
    assert (singles[0] - singles[1]).abs().max() > 1e-3


@backbones
def test_the_trunk_runs_once_and_each_expert_once(name: str) -> None:
    backbone = backbone_of(name, 4)
    ran: list[str] = []
    for part, module in backbone.named_modules():
        module.register_forward_hook(lambda *_, part=part: ran.append(part))
    backbone(images(64))
    assert ran.count("trunk") == 1
    assert ran.count("trunk.stem.0") == 1
    assert [ran.count(f"experts.{k}") for k in range(4)] == [1, 1, 1, 1]


@backbones
def test_scores_of_one_expert_reach_no_other(name: str) -> None:
    network = small_network(backbone=name)
    backbone, heads = network.backbone, network.head
    assert isinstance(backbone, ExpertBackbone)
    assert isinstance(heads, ExpertHeads)
    output = network(images(64))
    # Squares: the plain sum of normalised scores could have no gradient.
    torch.autograd.backward(heads.expert_scores(output.embedding)[1].square().sum())
    assert [gradient_norm(expert) > 0 for expert in backbone.experts] == [False, True, False]
    assert [gradient_norm(head) > 0 for head in heads.heads] == [False, True, False]
    assert gradient_norm(backbone.trunk) > 0


@backbones
def test_experts_start_apart_and_drawn_alike(name: str) -> None:
    first, second, third = (dict(e.named_parameters()) for e in backbone_of(name).experts)
    convolutions = [key for key, value in first.items() if value.ndim == 4]
    assert convolutions
    for key in convolutions:
        assert not torch.equal(first[key], second[key])
        assert not torch.equal(second[key], third[key])
        spread = math.sqrt(2 / (first[key].shape[0] * first[key][0, 0].numel()))
        for drawn in (first[key], second[key]):
            assert drawn.std().item() == pytest.approx(spread, rel=0.15)
    for key in first.keys() - set(convolutions):  # normalisations, some of which start at zero
        assert torch.equal(first[key], second[key])


def test_a_trained_backbone_leaves_no_statistics_in_new_experts() -> None:
    trained = CifarResNet()
    trained(images())
    first, second = ExpertBackbone(trained, 2).experts
    assert first.state_dict()["stage3.0.bn1.running_var"].ne(1).all()
    assert second.state_dict()["stage3.0.bn1.running_var"].eq(1).all()
    assert second.state_dict()["stage3.0.bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("name", "shared", "trunk", "own"),
    [
        ("resnet32", None, ["stem", "stage1"], ["stage2", "stage3", "pool"]),
        ("resnet10", None, ["stem", "layer1", "layer2"], ["layer3", "layer4", "pool"]),
        ("resnet10", 4, ["stem", "layer1", "layer2", "layer3"], ["layer4", "pool"]),
        ("resnet32", 0, [], ["stem", "stage1", "stage2", "stage3", "pool"]),
    ],
)
def test_the_first_parts_are_shared(
    name: str, shared: int | None, trunk: list[str], own: list[str]
) -> None:
    backbone = ExpertBackbone(build_backbone(name)[0], 2, shared=shared)
    assert [part for part, _ in backbone.trunk.named_children()] == trunk
    for expert in backbone.experts:
        assert [part for part, _ in expert.named_children()] == own


@pytest.mark.parametrize(
    ("experts", "shared", "message"),
    [
        (0, None, "experts must be at least 1, but is 0"),
        (2, 4, r"from 0 to 3, .*stem, stage1, stage2, stage3.* but is 4"),
        (2, -1, "but is -1"),
    ],
)
def test_wrong_numbers_are_refused(experts: int, shared: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExpertBackbone(CifarResNet(), experts, shared=shared)
    with pytest.raises(ConfigError, match="experts must be at least 1, but is 0"):
        small_network(experts=0)


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"VisionTransformer cannot.*resnet32.*resnet50"):
        small_network(backbone="test_vit")


def test_dropout_of_the_backbone_is_kept() -> None:
    single, _ = build_backbone("resnet10")
    assert isinstance(single, ResNet)
    single.drop_rate = 1.0
    dropped = ExpertBackbone(single, 2)(images(64))
    assert dropped.abs().max() == 0


@kinds
def test_heads_behave_as_one(head: str) -> None:
    heads = heads_of(head)
    assert (heads.embedding_size, heads.classes) == (12, 5)
    assert heads.kind == ("logits" if head == "linear" else "cosines")
    assert not hasattr(heads, "weight")
    assert heads(torch.ones(2, 12)).shape == (2, 5)
    assert f"scale={heads.scale:g}" in repr(heads)


def test_the_mean_cosine_by_hand() -> None:
    heads = ExpertHeads([CosineHead(2, 2), CosineHead(2, 2)])
    for head in heads.heads:
        head.load_state_dict({**head.state_dict(), "weight": torch.eye(2)})
    scores = heads(torch.tensor([[3.0, 4.0, 500.0, 0.0]]))
    # Lengths do not count: (0.6 + 1) / 2 and (0.8 + 0) / 2.
    torch.testing.assert_close(scores, torch.tensor([[0.8, 0.4]]))


def test_one_scale_for_all() -> None:
    heads = heads_of("cosine")
    assert heads.scale == 32.0
    heads.scale = 16.0
    assert {name: value.item() for name, value in heads.named_buffers()} == {
        f"heads.{k}.scale_of_cosines": 16.0 for k in range(3)
    }
    assert heads.scale == 16.0
    loaded = heads_of("cosine")
    loaded.load_state_dict(heads.state_dict())
    assert loaded.scale == 16.0
    with pytest.raises(ConfigError, match="scale must be a finite number above 0"):
        heads.scale = 0.0
    with pytest.raises(ConfigError, match="head 'cosine'"):
        heads_of("linear").scale = 32.0


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [LinearHead(4, 5), CosineHead(4, 5)],
        [LinearHead(4, 5), LinearHead(4, 6)],
        [LinearHead(4, 5), LinearHead(3, 5)],
        [CosineHead(4, 5), CosineHead(4, 5, scale=16.0)],
    ],
)
def test_heads_that_differ_are_refused(wrong: list[Head]) -> None:
    with pytest.raises(ConfigError, match="equal sizes and scales"):
        ExpertHeads(wrong)


def test_an_embedding_of_another_size_is_refused() -> None:
    with pytest.raises((ValueError, RuntimeError)):
        heads_of("linear")(torch.ones(2, 16))


@kinds
def test_state_and_copies_give_the_same_scores(head: str) -> None:
    network = small_network(head).eval()
    loaded = build_network(backbone="resnet32", head=head, classes=5, seed=1, experts=3).eval()
    assert not torch.equal(loaded(images()).scores, network(images()).scores)
    loaded.load_state_dict(network.state_dict())
    for twin in (loaded, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(images()).scores, network(images()).scores)


@backbones
def test_the_seed_alone_gives_the_weights_and_the_first_expert_is_the_single_network(
    name: str,
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = small_network(backbone=name)
    assert torch.equal(torch.rand(3), expected)
    second = small_network(backbone=name).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.state_dict().items())
    single = small_network(backbone=name, experts=1)
    assert isinstance(first.head, ExpertHeads)
    assert isinstance(single.head, CosineHead)
    assert torch.equal(first.head.heads[0].get_parameter("weight"), single.head.weight)
    first.eval()
    single.eval()
    own = first(images(64)).embedding[:, : single.head.embedding_size]
    torch.testing.assert_close(own, single(images(64)).embedding, rtol=1e-4, atol=1e-5)


def test_given_weights_go_into_every_expert(tmp_path: Path) -> None:
    given, _ = build_backbone("resnet32")
    given(images())  # statistics that no new expert has
    save_file(given.state_dict(), tmp_path / "weights.safetensors")
    network = build_network(
        backbone="resnet32",
        head="linear",
        classes=5,
        seed=0,
        experts=2,
        weights=str(tmp_path / "weights.safetensors"),
    ).eval()
    output = network(images())
    expected = given.eval()(network.normalise(images())).repeat(1, 2)
    torch.testing.assert_close(output.embedding, expected, rtol=1e-4, atol=1e-5)
    assert isinstance(network.head, ExpertHeads)
    one, other = network.head.expert_scores(output.embedding)
    assert not torch.equal(one, other)


def test_options_reach_every_head() -> None:
    network = build_network(
        backbone="resnet32",
        head="cosine",
        classes=5,
        seed=0,
        experts=2,
        head_options={"scale": 30.0},
    )
    assert network.head.scale == 30.0


@kinds
def test_scores_and_gradients_stay_finite(head: str) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        heads = heads_of(head).to(dtype)
        embedding = torch.zeros(2, 12, dtype=dtype, requires_grad=True)
        scores = heads(embedding)
        scores.sum().backward()
        assert scores.isfinite().all()
        assert embedding.grad is not None
        assert embedding.grad.isfinite().all()


@kinds
def test_gradcheck(head: str) -> None:
    heads = heads_of(head).double()
    embedding = torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(heads, embedding.requires_grad_())


def test_permuting_classes_and_batch_permutes_scores() -> None:
    heads = heads_of("cosine")
    embedding = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    scores = heads(embedding)
    torch.testing.assert_close(heads(embedding.flip(0)), scores.flip(0))
    with torch.no_grad():
        for head in heads.heads:
            weight = head.get_parameter("weight")
            weight.copy_(weight.flip(0).clone())
    torch.testing.assert_close(heads(embedding), scores.flip(1))
