"""Adapters: the formulas, where they are put, and what of a backbone they leave alone."""

from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.errors import ConfigError
from taxonet.models import Adapter, Network, build_network
from taxonet.models.adapters import AdaptFormer, BiasTuning, LayerNormTuning, LoRA
from taxonet.models.adapters.adaptformer import ParallelMlp
from taxonet.models.adapters.lora import LowRankChange
from taxonet.registry import ADAPTERS
from tests.reference import adapters as reference
from tests.tiny_clip import tiny_clip

ALL: tuple[Adapter, ...] = (
    AdaptFormer(bottleneck_size=3),
    LoRA(rank=2, alpha=6.0),
    BiasTuning(),
    LayerNormTuning(),
)
#: open_clip's ViT, and timm's, whose attention keeps its weights elsewhere.
TOWERS = ("clip", "test_vit")


def build(backbone: str, folder: Path, adapter: Adapter | None = None, seed: int = 0) -> Network:
    name = tiny_clip(folder, layers=2) if backbone == "clip" else backbone
    return build_network(backbone=name, head="cosine", classes=3, seed=seed, adapter=adapter)


def pictures(backbone: str, count: int = 4) -> Tensor:
    side = 160 if backbone == "test_vit" else 32
    noise = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))
    return 255 * noise  # pixel values


def random_(module: nn.Module, *, seed: int = 2) -> None:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in module.parameters():
            weights.copy_(torch.randn(weights.shape, generator=draw))


def trained(network: Network) -> dict[str, nn.Parameter]:
    return {key: one for key, one in network.backbone.named_parameters() if one.requires_grad}


def parallel_mlp(*, dtype: torch.dtype = torch.float64) -> ParallelMlp:
    module = ParallelMlp(nn.Linear(5, 5), 5, bottleneck_size=3, scale=0.3).to(dtype)
    random_(module)
    return module


def low_rank(*, dtype: torch.dtype = torch.float64) -> LowRankChange:
    module = LowRankChange(4, 5, rank=2, factor=3.0).to(dtype)
    random_(module)
    return module


def test_the_narrow_perceptron_equals_the_loop() -> None:
    module = parallel_mlp()
    tokens = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    weight, bias = (one.detach().numpy() for one in module.mlp.parameters())
    loop = [
        reference.adaptformer(
            token,
            lambda given: weight @ given + bias,
            down=module.down.weight.detach().numpy(),
            down_bias=module.down.bias.detach().numpy(),
            up=module.up.weight.detach().numpy(),
            up_bias=module.up.bias.detach().numpy(),
            scale=0.3,
        )
        for token in tokens.numpy()
    ]
    np.testing.assert_allclose(module(tokens).detach().numpy(), np.array(loop), rtol=1e-12)


def test_the_narrow_perceptron_by_hand() -> None:
    module = ParallelMlp(nn.Identity(), 2, bottleneck_size=1, scale=0.1)
    with torch.no_grad():
        module.down.weight.copy_(torch.tensor([[1.0, -1.0]]))
        module.up.weight.copy_(torch.tensor([[2.0], [3.0]]))
        module.up.bias.copy_(torch.tensor([0.0, 5.0]))
    # Down to 3 - 1 = 2, up to (4, 6 + 5), a tenth of it; and of -2 nothing is left but the bias.
    found = module(torch.tensor([[3.0, 1.0], [1.0, 3.0]]))
    torch.testing.assert_close(found, torch.tensor([[3.4, 2.1], [1.0, 3.5]]))


def test_the_low_rank_change_equals_the_loop() -> None:
    module = low_rank()
    weight = torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    down, up = module.down.detach().numpy(), module.up.detach().numpy()
    loop = reference.lora(weight.numpy(), down=down, up=up, alpha=6.0)
    np.testing.assert_allclose(module(weight).detach().numpy(), loop, rtol=1e-12)
    assert torch.equal(module(weight)[4:8], weight[4:8]), "keys stay"


def test_the_low_rank_change_by_hand() -> None:
    module = LowRankChange(1, 2, rank=1, factor=0.5)
    with torch.no_grad():
        module.down.copy_(torch.tensor([[[1.0, 2.0]], [[0.0, 1.0]]]))
        module.up.copy_(torch.tensor([[[4.0]], [[-2.0]]]))
    found = module(torch.ones(3, 2))
    torch.testing.assert_close(found, torch.tensor([[3.0, 5.0], [1.0, 1.0], [1.0, 0.0]]))


@pytest.mark.parametrize(
    ("tower", "weights"), [("clip", "in_proj_weight"), ("test_vit", "qkv.weight")]
)
def test_attention_has_the_changed_weights(tower: str, weights: str, tmp_path: Path) -> None:
    plain, network = build(tower, tmp_path), build(tower, tmp_path, LoRA(rank=2, alpha=6.0))
    for name, block in plain.backbone.named_modules():
        if name.endswith(".attn"):
            changed = network.backbone.get_submodule(name)
            (change,) = (one for one in changed.modules() if isinstance(one, LowRankChange))
            random_(change)
            expected = reference.lora(
                attrgetter(weights)(block).detach().double().numpy(),
                down=change.down.detach().double().numpy(),
                up=change.up.detach().double().numpy(),
                alpha=6.0,
            )
            found = attrgetter(weights)(changed).detach().numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_each_block_has_a_perceptron_of_its_own_scale(tmp_path: Path) -> None:
    network = build("clip", tmp_path, AdaptFormer(bottleneck_size=3, scale=0.25))
    found = [one for one in network.backbone.modules() if isinstance(one, ParallelMlp)]
    assert [(one.scale, one.down.out_features) for one in found] == [(0.25, 3)] * 2


def test_the_low_rank_change_is_that_of_peft() -> None:
    peft = pytest.importorskip("peft")
    module = low_rank(dtype=torch.float32)
    projections = nn.ModuleDict({"queries": nn.Linear(5, 4, bias=False)})
    config = peft.LoraConfig(r=2, lora_alpha=6.0, target_modules=["queries"], lora_dropout=0.0)
    theirs = peft.inject_adapter_in_model(config, projections)["queries"]
    theirs.lora_A["default"].weight.data.copy_(module.down[0])
    theirs.lora_B["default"].weight.data.copy_(module.up[0])
    tokens = torch.randn(6, 5, generator=torch.Generator().manual_seed(3))
    weight = torch.cat([theirs.base_layer.weight, torch.zeros(8, 5)])
    torch.testing.assert_close(F.linear(tokens, module(weight)[:4]), theirs(tokens))


def test_gradients_are_right() -> None:
    narrow, low = parallel_mlp(), low_rank()
    tokens = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(12, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda given, *_: narrow(given),
        (tokens, *narrow.down.parameters(), *narrow.up.parameters()),
    )
    assert torch.autograd.gradcheck(lambda *_: low(weight), (low.down, low.up))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("adapter", ALL, ids=repr)
def test_half_precision_is_finite(adapter: Adapter, dtype: torch.dtype, tmp_path: Path) -> None:
    network = build("clip", tmp_path, adapter)
    for one in trained(network).values():
        nn.init.normal_(one, std=0.1)
    with torch.autocast("cpu", dtype=dtype):
        torch.autograd.backward(network(100 * pictures("clip")).scores.sum())
    grads = [one.grad for one in trained(network).values()]
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in grads)


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("adapter", ALL, ids=repr)
def test_training_starts_at_the_frozen_tower(tower: str, adapter: Adapter, tmp_path: Path) -> None:
    images = pictures(tower)
    with torch.no_grad():
        before = build(tower, tmp_path).eval()(images)
        after = build(tower, tmp_path, adapter).eval()(images)
    assert torch.equal(before.embedding, after.embedding)
    assert torch.equal(before.scores, after.scores)


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("adapter", ALL, ids=repr)
def test_the_adapter_alone_moves(tower: str, adapter: Adapter, tmp_path: Path) -> None:
    network, start = build(tower, tmp_path, adapter), build(tower, tmp_path, adapter).state_dict()
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1)
    images = pictures(tower)
    network.train()
    assert not network.backbone.training
    for _ in range(3):
        optimiser.zero_grad()
        loss = F.cross_entropy(32 * network(images).scores, torch.tensor([0, 1, 2, 0]))
        torch.autograd.backward(loss)
        optimiser.step()
    named = {f"backbone.{key}" for key in trained(network)} | {"head.weight"}
    moved = {key for key, one in network.state_dict().items() if not torch.equal(one, start[key])}
    assert moved == named


@pytest.mark.parametrize("tower", TOWERS)
def test_what_each_adapter_trains(tower: str, tmp_path: Path) -> None:
    blocks, width = {"clip": (2, 16), "test_vit": (6, 64)}[tower]
    plain = {key: one.shape for key, one in build(tower, tmp_path).backbone.named_parameters()}
    narrow = trained(build(tower, tmp_path, ALL[0]))
    assert sum(one.numel() for one in narrow.values()) == blocks * (7 * width + 3)
    low = trained(build(tower, tmp_path, ALL[1]))
    assert sum(one.numel() for one in low.values()) == blocks * 2 * (2 * 2 * width)
    biases = set(trained(build(tower, tmp_path, ALL[2])))
    assert biases == {key for key in plain if key.rpartition(".")[2] in ("bias", "in_proj_bias")}
    norms = set(trained(build(tower, tmp_path, ALL[3])))
    assert norms == {key for key in plain if "norm" in key or "ln_" in key}
    assert len(norms) == 2 * (2 * blocks + {"clip": 2, "test_vit": 1}[tower])


@pytest.mark.parametrize("adapter", ALL[:2], ids=repr)
def test_all_blocks_say_something(adapter: Adapter, tmp_path: Path) -> None:
    """What an adapter of any block learns changes the embedding."""
    images = pictures("clip")
    before = build("clip", tmp_path).eval().embed(images)
    for block in range(2):
        network = build("clip", tmp_path, adapter).eval()
        with torch.no_grad():
            for key, one in trained(network).items():
                if f"resblocks.{block}." in key:
                    one.copy_(torch.randn(one.shape, generator=torch.Generator().manual_seed(4)))
            assert not torch.allclose(network.embed(images), before, atol=1e-4)


@pytest.mark.parametrize("adapter", ALL, ids=repr)
def test_images_of_a_batch_do_not_meet(adapter: Adapter, tmp_path: Path) -> None:
    network, images = build("clip", tmp_path, adapter).eval(), pictures("clip")
    with torch.no_grad():
        for one in trained(network).values():
            one.add_(torch.randn(one.shape, generator=torch.Generator().manual_seed(4)))
        together, order = network.embed(images), torch.tensor([2, 0, 3, 1])
        torch.testing.assert_close(network.embed(images[order]), together[order])
        for row, image in enumerate(images):
            torch.testing.assert_close(network.embed(image[None])[0], together[row])


def test_the_seed_alone_gives_the_weights(tmp_path: Path) -> None:
    for adapter in ALL[:2]:
        first = build("clip", tmp_path, adapter).state_dict()
        torch.manual_seed(99)
        again = build("clip", tmp_path, adapter).state_dict()
        assert all(torch.equal(one, again[key]) for key, one in first.items())
        other = build("clip", tmp_path, adapter, seed=1).state_dict()
        down = [key for key in first if key.endswith(("down.weight", ".down"))]
        assert len(down) == 2
        assert not any(torch.equal(first[key], other[key]) for key in down)


def test_a_bias_trains_in_any_tower_and_its_statistics_stay(tmp_path: Path) -> None:
    name = tiny_clip(tmp_path, "modified_resnet")
    network = build_network(
        backbone=name, head="cosine", classes=3, seed=0, adapter=BiasTuning()
    ).train()
    before = {key: one.clone() for key, one in network.backbone.named_buffers()}
    network(pictures("clip"))
    assert any(key.endswith("running_mean") for key in before)
    assert all(torch.equal(one, before[key]) for key, one in network.backbone.named_buffers())


def test_experts_train_their_biases() -> None:
    network = build_network(
        backbone="resnet32", head="cosine", classes=3, seed=0, experts=2, adapter=BiasTuning()
    )
    names = list(trained(network))
    assert all(name.endswith("bias") for name in names)
    assert {name.split(".")[0] for name in names} == {"trunk", "experts"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adaptformer", r"a ModifiedResNet, has no transformer blocks.*set model.adapter to bias"),
        ("lora", r"a ModifiedResNet, has no transformer blocks.*set model.adapter to bias"),
        ("layer_norm", r"a ModifiedResNet, has no layer norm to train: set model.adapter"),
    ],
)
def test_a_tower_without_the_parts_is_refused(name: str, message: str, tmp_path: Path) -> None:
    backbone, adapter = tiny_clip(tmp_path, "modified_resnet"), ADAPTERS.build(name, {})
    with pytest.raises(ConfigError, match=message):
        build_network(backbone=backbone, head="cosine", classes=3, seed=0, adapter=adapter)


class OddBlock(nn.Module):
    """A block whose attention keeps queries apart and whose perceptron is a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.ModuleDict({"queries": nn.Linear(4, 4)})
        self.mlp = nn.Conv2d(4, 4, 1)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (AdaptFormer(), "perceptrons in a OddBlock do not map tokens to tokens of the same size"),
        (LoRA(), "attention in a OddBlock does not keep the weights of queries, keys and values"),
    ],
)
def test_odd_blocks_are_refused(adapter: Adapter, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        adapter.fit_into(OddBlock())
    with pytest.raises(ConfigError, match="has no bias to train"):
        BiasTuning().fit_into(nn.Linear(2, 2, bias=False))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adaptformer", {"bottleneck_size": 0}, "bottleneck_size must be at least 1, but is 0"),
        ("adaptformer", {"scale": 0.0}, "scale must be a finite number above 0, but is 0.0"),
        ("adaptformer", {"scale": float("inf")}, "scale must be a finite number above 0"),
        ("lora", {"rank": 0}, "rank must be at least 1, but is 0"),
        ("lora", {"alpha": float("nan")}, "alpha must be a finite number above 0, but is nan"),
        ("lora", {"ranks": 3}, "no option 'ranks'. Did you mean 'rank'?"),
        ("adapt_former", {}, "No adapter is called 'adapt_former'. Did you mean 'adaptformer'?"),
    ],
)
def test_options_are_checked(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ADAPTERS.build(name, options)
    assert message in str(error.value)
