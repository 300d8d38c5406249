"""The backbones that taxonet recommends: names, sizes and licences, as measured and published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from taxonet.models.hub import PACKAGED


@dataclass(frozen=True)
class BackboneRow:
    """A backbone with its published weights.

    Attributes:
        name: The short name, as ``taxonet train --backbone`` takes it.
        backbone: The value of ``model.backbone``: a name of timm, of CLIP, or of taxonet.
        parameters_millions: Parameters without a classifier, of CLIP models in the image tower.
        input_pixels: Side of the images that it was made for or is used with here.
        embedding_size: The dimension d of its embeddings.
        licence: Of the weights, as their publisher names it.
        needs_download: The weights come over the network, once.
        note: What it is good for.
        options: What ``model.options`` has to be.
    """

    name: str
    backbone: str
    parameters_millions: float
    input_pixels: int
    embedding_size: int
    licence: str
    needs_download: bool
    note: str
    options: Mapping[str, Any] = field(default_factory=dict)


_ANY_MULTIPLE_OF_PATCH: Final = {"img_size": 224, "dynamic_img_size": True}

#: What needs no download first, then by kind; parameters and sizes are those of the built models.
BACKBONE_TABLE: Final = (
    BackboneRow(
        name=PACKAGED,
        backbone=PACKAGED,
        parameters_millions=3.37,
        input_pixels=224,
        embedding_size=1280,
        licence="Apache-2.0",
        needs_download=False,
        note="EfficientNet-Lite0 of ImageNet; installed with taxonet, fast on a CPU",
    ),
    BackboneRow(
        name="mobilenetv4-small",
        backbone="mobilenetv4_conv_small.e2400_r224_in1k",
        parameters_millions=2.49,
        input_pixels=224,
        embedding_size=1280,
        licence="Apache-2.0",
        needs_download=True,
        note="ImageNet; the smallest and fastest",
    ),
    BackboneRow(
        name="resnet50",
        backbone="resnet50.a1_in1k",
        parameters_millions=23.51,
        input_pixels=224,
        embedding_size=2048,
        licence="Apache-2.0",
        needs_download=True,
        note="ImageNet; the usual baseline",
    ),
    BackboneRow(
        name="convnext-tiny",
        backbone="convnext_tiny.in12k_ft_in1k",
        parameters_millions=27.82,
        input_pixels=224,
        embedding_size=768,
        licence="Apache-2.0",
        needs_download=True,
        note="ImageNet-12k, then ImageNet; strong when all of it is trained",
    ),
    BackboneRow(
        name="convnextv2-nano",
        backbone="convnextv2_nano.fcmae_ft_in22k_in1k",
        parameters_millions=14.98,
        input_pixels=224,
        embedding_size=640,
        licence="CC-BY-NC-4.0",
        needs_download=True,
        note="ImageNet-22k, then ImageNet; not for commercial use",
    ),
    BackboneRow(
        name="dinov2-small",
        backbone="vit_small_patch14_dinov2.lvd142m",
        parameters_millions=21.63,
        input_pixels=224,
        embedding_size=384,
        licence="Apache-2.0",
        needs_download=True,
        note="without labels, of 142 million images; image sizes are multiples of 14",
        options=_ANY_MULTIPLE_OF_PATCH,
    ),
    BackboneRow(
        name="dinov2-base",
        backbone="vit_base_patch14_dinov2.lvd142m",
        parameters_millions=85.72,
        input_pixels=224,
        embedding_size=768,
        licence="Apache-2.0",
        needs_download=True,
        note="as dinov2-small, and larger",
        options=_ANY_MULTIPLE_OF_PATCH,
    ),
    BackboneRow(
        name="dinov3-small",
        backbone="vit_small_patch16_dinov3.lvd1689m",
        parameters_millions=21.59,
        input_pixels=256,
        embedding_size=384,
        licence="dinov3-license",
        needs_download=True,
        note="without labels, of 1.7 billion images; read the terms of its own licence",
    ),
    BackboneRow(
        name="bioclip",
        backbone="clip:hf-hub:imageomics/bioclip",
        parameters_millions=86.19,
        input_pixels=224,
        embedding_size=512,
        licence="MIT",
        needs_download=True,
        note="CLIP ViT-B/16 of ten million photos of organisms; knows names",
    ),
    BackboneRow(
        name="bioclip-2",
        backbone="clip:hf-hub:imageomics/bioclip-2",
        parameters_millions=303.97,
        input_pixels=224,
        embedding_size=768,
        licence="MIT",
        needs_download=True,
        note="CLIP ViT-L/14 of 214 million photos of organisms; knows names; wants a GPU",
    ),
)


def find_row(name: str) -> BackboneRow | None:
    """Return the row of a backbone, by its short name or its value of ``model.backbone``.

    Examples:
        >>> find_row("dinov2-small").backbone
        'vit_small_patch14_dinov2.lvd142m'
        >>> find_row("resnet10") is None
        True
    """
    return next((row for row in BACKBONE_TABLE if name in (row.name, row.backbone)), None)
