import io
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor

from taxonet.data.loading import stream_batches
from taxonet.data.resizing import ResizeSpec, pad_border, resize_middle, to_tensor
from taxonet.data.transforms import plain
from taxonet.errors import ConfigError
from taxonet.seeds import generator

#: Height and width: portrait, landscape, upscaled, square, of the sizes below, slivers.
SHAPES = [
    (640, 480),
    (480, 641),
    (50, 40),
    (1, 1),
    (300, 300),
    (224, 224),
    (160, 161),
    (614, 512),
    (257, 256),
    (1501, 1999),
    (5, 300),
    (300, 5),
    (2, 700),
]

SPECS = [
    ResizeSpec(size=(224, 224), interpolation="bicubic", crop_share=0.875),
    ResizeSpec(size=(160, 160), interpolation="bilinear", crop_share=0.95),
    ResizeSpec(size=(224, 224), interpolation="bicubic", crop_share=1.0),
    ResizeSpec(size=(96, 80), interpolation="bicubic", crop_share=0.9),
    ResizeSpec(size=(80, 96), interpolation="bilinear", crop_share=1.0),
    ResizeSpec(size=(20, 21), interpolation="bicubic", crop_share=0.98),
]


@cache
def photo(height: int, width: int, kind: str) -> Image.Image:
    """Return hard edges, where interpolation overshoots, or a smooth picture."""
    draw = generator("photo to resize", height, width)
    if kind == "edges":
        pixels = 255 * draw.integers(0, 2, (height, width, 3))
        return Image.fromarray(pixels.astype(np.uint8))
    coarse = draw.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def by_timm(spec: ResizeSpec) -> Any:
    config = resolve_data_config(  # type: ignore[no-untyped-call]
        {
            "input_size": (3, *spec.size),
            "interpolation": spec.interpolation,
            "crop_pct": spec.crop_share,
        }
    )
    return create_transform(**config, normalize=False)


def difference(one: Tensor, other: Tensor) -> int:
    assert one.shape == other.shape
    return int((one.int() - other.int()).abs().max())


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.size} {spec.crop_share}")
@pytest.mark.parametrize("kind", ["edges", "smooth"])
def test_the_middle_of_a_photo_is_that_of_timm(spec: ResizeSpec, kind: str) -> None:
    transform, timms = plain(spec), by_timm(spec)
    for shape in SHAPES:
        image = photo(*shape, kind)
        assert difference(transform(image), timms(image)) <= 2, shape


@pytest.mark.parametrize("spec", SPECS[:2], ids=lambda spec: f"{spec.size} {spec.crop_share}")
def test_a_large_jpeg_reaches_the_network_as_in_timm(spec: ResizeSpec) -> None:
    """Decoding it smaller, which is faster, would change pixels."""
    stream = io.BytesIO()
    photo(1501, 1999, "edges").save(stream, "JPEG", quality=90)
    data = stream.getvalue()
    with Image.open(io.BytesIO(data)) as opened:
        expected = by_timm(spec)(opened.convert("RGB"))
    ((_, batch),) = stream_batches([data], plain(spec), batch_size=1)
    assert difference(batch.images[0], expected) <= 2


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), [(2, 9000), (9000, 2)])
def test_a_sliver_of_any_length_is_cut_before_it_is_scaled(
    interpolation: Any, height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ResizeSpec(size=(96, 80), interpolation=interpolation, crop_share=0.9)
    image = photo(height, width, "smooth")
    cut = resize_middle(image, spec=spec)
    monkeypatch.setattr("taxonet.data.resizing._MOST_SCALED_PIXELS", 1 << 40)
    assert difference(cut, resize_middle(image, spec=spec)) <= 2
    monkeypatch.setattr("taxonet.data.resizing._MOST_SCALED_PIXELS", 0)
    assert difference(resize_middle(image, spec=spec), cut) == 0


def test_an_image_of_the_size_passes_unchanged() -> None:
    for size in ((32, 32), (61, 51)):
        image = photo(*size, "edges")
        for interpolation in ("bilinear", "bicubic"):
            for fit in ("crop", "pad"):
                spec = ResizeSpec(size=size, interpolation=interpolation, fit=fit)
                assert torch.equal(plain(spec)(image), to_tensor(image))


def test_a_larger_share_shows_more_of_the_photo() -> None:
    # Each pixel's value is its column.
    columns = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None], (200, 200, 3))
    image = Image.fromarray(np.ascontiguousarray(columns))
    seen = [plain(ResizeSpec(size=(50, 50), crop_share=share))(image)[0, 25] for share in (1, 0.5)]
    assert [(int(row[0]), int(row[-1])) for row in seen] == [(2, 197), (51, 149)]


@pytest.mark.parametrize("crop_share", [1.0, 0.5])
def test_padding_shows_all_of_a_photo_and_repeats_its_border(crop_share: float) -> None:
    spec = ResizeSpec(size=(24, 16), fit="pad", crop_share=crop_share)
    wide, tall = photo(6, 16, "smooth"), photo(24, 5, "smooth")
    seen = plain(spec)(wide)
    assert torch.equal(seen[:, 9:15], to_tensor(wide))
    assert torch.equal(seen[:, 0], seen[:, 9])
    assert torch.equal(seen[:, -1], seen[:, 14])
    seen = plain(spec)(tall)
    assert torch.equal(seen[:, :, 5:10], to_tensor(tall))
    assert torch.equal(seen[:, :, 0], seen[:, :, 5])
    assert torch.equal(seen[:, :, -1], seen[:, :, 9])


@pytest.mark.parametrize(("height", "width"), [(1, 3000), (3000, 1), (40, 25), (3, 2), (700, 90)])
def test_padded_photos_have_the_proportions_of_the_input_and_are_small(
    height: int, width: int
) -> None:
    for size in ((24, 16), (16, 24), (20, 20)):
        spec = ResizeSpec(size=size, fit="pad")
        for at_most in (1, 2):
            found = pad_border(photo(height, width, "smooth"), spec=spec, at_most=at_most)
            _, high, wide = found.shape
            assert high <= at_most * size[0]
            assert wide <= at_most * size[1]
            assert abs(high - wide * size[0] / size[1]) <= size[0] / size[1] + 1
        assert plain(spec)(photo(height, width, "smooth")).shape == (3, *size)


def test_padding_interpolates_as_asked() -> None:
    image = photo(90, 90, "edges")
    one, other = (
        plain(ResizeSpec(size=(30, 30), fit="pad", interpolation=kind))(image)
        for kind in ("bilinear", "bicubic")
    )
    assert difference(one, other) > 10
    for seen, kind in ((one, Image.Resampling.BILINEAR), (other, Image.Resampling.BICUBIC)):
        assert difference(seen, to_tensor(image.resize((30, 30), kind))) <= 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (0, 4)}, r"size must be a height and a width .* got \(0, 4\)"),
        ({"size": (4, 4, 4)}, r"size must be a height and a width .* got \(4, 4, 4\)"),
        ({"size": (4, 4), "crop_share": 0.0}, r"crop_share must be above 0 .* got 0\.0"),
        ({"size": (4, 4), "crop_share": 1.1}, r"crop_share must be above 0 .* got 1\.1"),
        ({"size": (4, 4), "fit": "squash"}, r"fit must be one of crop, pad, got 'squash'"),
        ({"size": (4, 4), "interpolation": "box"}, r"interpolation must be .* got 'box'"),
    ],
)
def test_values_out_of_range_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ResizeSpec(**wrong)
