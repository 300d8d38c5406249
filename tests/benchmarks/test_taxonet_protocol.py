"""The paper's own protocol resolves, and one of its steps can be taken."""

from pathlib import Path

import pytest

from benchmarks.taxonet_protocol import one_step, protocol, write_random_weights


def test_the_protocol_resolves(tmp_path: Path) -> None:
    recipe = protocol(tmp_path / "resnet101.safetensors")
    model, selection = recipe.model, recipe.selection
    assert (model.backbone, model.input_size) == ("resnet101", (614, 512))
    assert model.weights.endswith("resnet101.safetensors")
    assert selection is not None
    assert (recipe.batch_size, selection.extra, selection.keep) == (32, 8, "lowest_norm")
    assert recipe.loss.name == "dual_margin"


@pytest.mark.slow
def test_a_step_of_two_and_one_photos(tmp_path: Path) -> None:
    weights = tmp_path / "resnet101.safetensors"
    write_random_weights(weights)
    found = one_step(weights, 2, 1)
    assert 0 < found["loss"] < 100
