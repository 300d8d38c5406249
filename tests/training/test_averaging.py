"""The moving average of the weights, alone and in a run."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from taxonet.classifier import TaxonClassifier
from taxonet.training import train
from taxonet.training.averaging import WeightAverage
from taxonet.training.checkpoints import list_checkpoints
from tests.small_set import config


def small_network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_it_is_what_a_loop_by_hand_makes_of_weights_and_buffers() -> None:
    generator = torch.Generator().manual_seed(0)
    network = small_network()
    average = WeightAverage(network, decay=0.25)
    by_hand = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for update in range(6):
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                if tensor.is_floating_point():
                    tensor.copy_(torch.randn(tensor.shape, generator=generator))
                else:
                    tensor.fill_(10 + update)
        average.update()
        decay = min(0.25, (1 + update) / (10 + update))
        for name, tensor in network.state_dict().items():
            mixed = decay * by_hand[name] + (1 - decay) * tensor
            by_hand[name] = mixed if tensor.is_floating_point() else tensor.clone()
    average.swap()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, by_hand[name])
    assert int(by_hand["1.num_batches_tracked"]) == 15


def test_weights_that_stay_stay_to_the_last_bit_and_infinite_masks_too() -> None:
    linear = nn.Linear(3, 4)
    linear.register_buffer("mask", torch.full((2,), -torch.inf), persistent=False)
    nn.init.constant_(linear.weight, 0.1)
    average = WeightAverage(linear, decay=0.9)
    for _ in range(20):
        average.update()
    average.swap()
    assert torch.equal(linear.weight, torch.full((4, 3), 0.1))
    assert torch.equal(linear.get_buffer("mask"), torch.full((2,), -torch.inf))


def test_a_tensor_with_two_names_is_swapped_once() -> None:
    one, other = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    other.weight = one.weight
    nn.init.constant_(one.weight, 2.0)
    average = WeightAverage(nn.Sequential(one, other), decay=0.5)
    nn.init.constant_(one.weight, 3.0)
    average.swap()
    assert torch.equal(one.weight, torch.full((2, 2), 2.0))
    average.swap()
    assert torch.equal(one.weight, torch.full((2, 2), 3.0))


def test_a_swap_exchanges_and_a_second_one_puts_back() -> None:
    network = small_network()
    average = WeightAverage(network, decay=0.9)
    average.update()
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor += 1
    live = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    slow = {name: tensor.clone() for name, tensor in average.state_dict()["average"].items()}
    average.swap()
    assert all(torch.equal(tensor, slow[name]) for name, tensor in network.state_dict().items())
    average.swap()
    assert all(torch.equal(tensor, live[name]) for name, tensor in network.state_dict().items())
    assert not any(torch.equal(live[name], slow[name]) for name in live)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_classifier_has_the_averaged_weights_of_the_kept_epoch(
    photos: Path, tmp_path: Path, keep: str
) -> None:
    changes = ("ema=0.9", f"keep_epoch={keep}")
    result = train(config(photos, tmp_path / "run", *changes))
    checkpoint = list_checkpoints(tmp_path / "run" / "checkpoints")[result.kept_epoch - 1]
    average = torch.load(checkpoint / "custom_checkpoint_0.pkl", weights_only=True)
    assert average["updates"] == 10 * result.kept_epoch
    live = load_file(checkpoint / "model.safetensors")
    final = TaxonClassifier.load(result.classifier, device="cpu").network.state_dict()
    for name, tensor in final.items():
        assert torch.equal(tensor, average["average"][name]), name
    assert any(not torch.equal(final[name], live[f"network.{name}"]) for name in final)


def test_it_changes_no_step_and_is_what_is_validated(photos: Path, tmp_path: Path) -> None:
    def recorded(run: Path) -> tuple[list[float], list[float]]:
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        epochs = [line for line in lines if line["kind"] == "epoch"]
        return [one["loss"] for one in epochs], [one["val_macro_recall"] for one in epochs]

    train(config(photos, tmp_path / "plain"))
    # So slow that the first, random weights are still most of the average.
    seen: list[torch.Tensor] = []
    with pytest.MonkeyPatch.context() as patch:

        def look(self: object, network: nn.Module) -> float:
            seen.append(next(network.parameters()).detach().clone())
            return 0.5

        patch.setattr("taxonet.training.validation.Validation.macro_recall", look)
        train(config(photos, tmp_path / "slow", "ema=0.999", "keep_epoch=last"))
    assert recorded(tmp_path / "slow")[0] == recorded(tmp_path / "plain")[0]
    newest = list_checkpoints(tmp_path / "slow" / "checkpoints")[-1]
    average = torch.load(newest / "custom_checkpoint_0.pkl", weights_only=True)
    assert any(torch.equal(seen[-1], tensor) for tensor in average["average"].values())
