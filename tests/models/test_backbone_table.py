"""The recommended backbones: every figure is that of the model that timm or open_clip builds."""

from pathlib import Path

import pytest
import timm
import torch

from taxonet.models import BACKBONE_TABLE, BackboneRow, build_backbone, find_row, input_config
from taxonet.models.hub import PACKAGED

#: The architecture of what only its folder on the hub would tell.
CLIP = {"bioclip": "clip:ViT-B-16", "bioclip-2": "clip:ViT-L-14"}
OF_TIMM = [row for row in BACKBONE_TABLE if row.name not in {PACKAGED, *CLIP}]


def built(name: str, row: BackboneRow) -> tuple[float, int]:
    with torch.device("meta"):  # they are large, and nothing is computed here
        module, size = build_backbone(name, options=row.options)
    return sum(p.numel() for p in module.parameters()) / 1e6, size


@pytest.mark.parametrize("row", OF_TIMM, ids=lambda row: row.name)
def test_a_row_of_timm_is_true(row: BackboneRow) -> None:
    millions, size = built(row.backbone, row)
    assert row.parameters_millions == pytest.approx(millions, abs=0.005)
    assert row.embedding_size == size
    assert input_config(row.backbone, options=row.options).size == (row.input_pixels,) * 2
    config = timm.get_pretrained_cfg(row.backbone)
    assert config is not None
    assert config.license == row.licence.lower()
    assert config.hf_hub_id is not None
    assert row.needs_download


@pytest.mark.parametrize("name", CLIP)
def test_a_row_of_clip_is_true(name: str) -> None:
    pytest.importorskip("open_clip")
    row = find_row(name)
    assert row is not None
    millions, size = built(CLIP[name], row)
    assert row.parameters_millions == pytest.approx(millions, abs=0.005)
    assert row.embedding_size == size
    assert input_config(CLIP[name]).size == (row.input_pixels,) * 2
    assert row.needs_download


def test_the_row_that_needs_no_download_comes_first() -> None:
    row = BACKBONE_TABLE[0]
    assert [other.name for other in BACKBONE_TABLE if not other.needs_download] == [row.name]
    assert row.backbone == PACKAGED
    millions, size = built(row.backbone, row)
    assert row.parameters_millions == pytest.approx(millions, abs=0.005)
    assert (row.embedding_size, row.input_pixels) == (size, input_config(PACKAGED).size[0])


def test_rows_are_found_by_either_name() -> None:
    for row in BACKBONE_TABLE:
        assert find_row(row.name) is row
        assert find_row(row.backbone) is row
    assert find_row("resnet10t") is None
    names = [name for row in BACKBONE_TABLE for name in {row.name, row.backbone}]
    assert len(names) == len(set(names))


def test_the_page_has_the_same_rows() -> None:
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
    lines = [
        f"| `{row.name}` | `{row.backbone}` | {row.parameters_millions:.2f} | {row.input_pixels} | "
        f"{row.embedding_size} | {row.licence} | {'yes' if row.needs_download else 'no'} |"
        for row in BACKBONE_TABLE
    ]
    assert "\n".join(lines) in page
