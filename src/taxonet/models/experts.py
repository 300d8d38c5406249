"""Several experts in one network: they share the first stages, and each has an opinion."""

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.models.cifar_resnet import CifarResNet
from taxonet.models.heads import Head


class ExpertBackbone(nn.Module):
    """The first parts of a backbone once, and the others once for each expert.

    The parts are the stem (first convolution, its normalisation, its pooling) and then the stages:
    ``stem, layer1 .. layer4`` of a ResNet of timm, ``stem, stage1 .. stage3`` of a `CifarResNet`.
    The first ``shared`` of them run once an image, the others once an expert. By default all but
    the last two are shared, as in RIDE (conv1 to layer2 on ImageNet, conv1 and the first stage on
    CIFAR); ``shared=0`` gives whole networks side by side, as in the public code of NCL.

    Shape:
        Images ``(B, 3, H, W)``; embeddings ``(B, E * d)`` come back, the d features of expert 0
        first.

    Args:
        backbone: A ResNet of timm (built without a classifier) or a `CifarResNet`. Its modules are
            taken over, not copied: the shared parts and expert 0 start with its weights.
        experts: The number E of experts, at least 1.
        shared: How many parts are shared, from 0 to all but one. None: all but two.
        redraw: Draw the weights of the experts after the first anew, from torch's random state.
            Without it every expert starts as a copy of the first, which is for pretrained weights:
            then the heads' random starts alone tell the experts apart.

    Raises:
        ConfigError: Another kind of backbone, or a number out of range.

    Reference:
        Wang et al. 2021, Long-tailed Recognition by Routing Diverse Distribution-Aware Experts
        (RIDE), arXiv 2010.01809; Li et al. 2022, Nested Collaborative Learning for Long-Tailed
        Visual Recognition (NCL), arXiv 2203.15359.

    Examples:
        >>> backbone = ExpertBackbone(CifarResNet(), 3)
        >>> backbone.embedding_size, tuple(backbone(torch.zeros(2, 3, 32, 32)).shape)
        (192, (2, 192))
        >>> list(backbone.trunk._modules), list(backbone.experts[0]._modules)
        (['stem', 'stage1'], ['stage2', 'stage3', 'pool'])
    """

    def __init__(
        self, backbone: nn.Module, experts: int, *, shared: int | None = None, redraw: bool = True
    ) -> None:
        super().__init__()
        parts, pool, size = _parts(backbone)
        shared = len(parts) - 2 if shared is None else shared
        if experts < 1:
            raise ConfigError(f"The number of experts must be at least 1, but is {experts}.")
        if not 0 <= shared < len(parts):
            raise ConfigError(
                f"shared must be from 0 to {len(parts) - 1}, so that something of "
                f"{', '.join(parts)} is left to each expert, but is {shared}."
            )
        names = list(parts)
        self.embedding_size = experts * size
        self.trunk = nn.Sequential(OrderedDict((name, parts[name]) for name in names[:shared]))
        own = OrderedDict((name, parts[name]) for name in names[shared:])
        first = nn.Sequential(OrderedDict(own, pool=pool))
        self.experts = nn.ModuleList([first, *(copy.deepcopy(first) for _ in range(experts - 1))])
        if redraw:
            for expert in self.experts[1:]:
                _draw_anew(expert)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of all experts, ``(B, E * d)``."""
        features = self.trunk(images)
        return torch.cat([expert(features) for expert in self.experts], dim=1)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """State the layers as timm's models do: one layer has that of every expert."""
        part = r"^(?:trunk|experts\.\d+)\."
        block = r"" if coarse else r"\.(\d+)"
        return {"stem": part + "stem", "blocks": part + r"(?:layer|stage)(\d+)" + block}


class ExpertHeads(Head):
    """One head for each expert, on its own features; the scores are the mean of theirs.

    ``z = (1/E) sum_e z_e``, with ``z_e`` the scores of head e on features ``e d .. (e + 1) d - 1``.
    For cosines this is the mean cosine, and the scale is one for all. There is no ``weight`` of the
    whole, which could be changed without any effect; head e has its own: ``heads[e].weight``.

    Shape:
        Embeddings ``(B, E * d)``; scores ``(B, c)`` come back, logits or cosines as ``kind`` says.

    Args:
        heads: The heads of the experts, at least one: of one class, with equal sizes and scales.

    Raises:
        ConfigError: No head, or heads that differ.

    Examples:
        >>> from taxonet.models import LinearHead
        >>> heads = ExpertHeads([LinearHead(64, 10) for _ in range(3)])
        >>> heads.embedding_size, heads.classes, heads.kind, tuple(heads(torch.ones(2, 192)).shape)
        (192, 10, 'logits', (2, 10))
    """

    heads: nn.ModuleList

    def __init__(self, heads: Sequence[Head]) -> None:
        makes = {(type(head).__name__, head.embedding_size, head.classes) for head in heads}
        scales = {head.scale for head in heads}
        if len(makes) != 1 or len(scales) != 1:
            raise ConfigError(
                "Experts need heads of one class, with equal sizes and scales, but got "
                f"{[f'{type(head).__name__}({head.extra_repr()})' for head in heads]}."
            )
        super().__init__(sum(head.embedding_size for head in heads), heads[0].classes)
        del self.weight  # each head has its own
        self.heads = nn.ModuleList(heads)

    @property
    def kind(self) -> Literal["logits", "cosines"]:
        """What the scores are."""
        return self._first.kind

    @property
    def scale(self) -> float:
        """The factor on the scores inside the softmax, one for all experts."""
        return self._first.scale

    @scale.setter
    def scale(self, scale: float) -> None:
        for head in self.heads:
            assert isinstance(head, Head)
            head.scale = scale

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the mean of the experts' scores, ``(B, c)``."""
        return torch.stack(self.expert_scores(embedding)).mean(dim=0)

    def expert_scores(self, embedding: Tensor) -> list[Tensor]:
        """Return the scores of each expert on its own features of ``(B, E * d)``: E of ``(B, c)``.

        Examples:
            >>> from taxonet.models import LinearHead
            >>> heads = ExpertHeads([LinearHead(64, 10) for _ in range(3)])
            >>> [tuple(scores.shape) for scores in heads.expert_scores(torch.ones(2, 192))]
            [(2, 10), (2, 10), (2, 10)]
        """
        own = embedding.chunk(len(self.heads), dim=1)
        return [head(features) for head, features in zip(self.heads, own, strict=True)]

    @property
    def _first(self) -> Head:
        first = self.heads[0]
        assert isinstance(first, Head)
        return first


def _parts(backbone: nn.Module) -> tuple[dict[str, nn.Module], nn.Module, int]:
    """Return the parts of a backbone by name, what pools the last one's features, and their d."""
    if isinstance(backbone, CifarResNet):
        stem = nn.Sequential(backbone.conv1, backbone.bn1, nn.ReLU())
        stages = {name: getattr(backbone, name) for name in ("stage1", "stage2", "stage3")}
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return {"stem": stem, **stages}, pool, backbone.embedding_size
    if isinstance(backbone, ResNet):
        stem = nn.Sequential(backbone.conv1, backbone.bn1, backbone.act1, backbone.maxpool)
        stages = {
            name: getattr(backbone, name) for name in ("layer1", "layer2", "layer3", "layer4")
        }
        pool = nn.Sequential(backbone.global_pool, nn.Dropout(float(backbone.drop_rate)))
        return {"stem": stem, **stages}, pool, int(backbone.head_hidden_size)
    raise ConfigError(
        f"{type(backbone).__name__} cannot be divided among experts. Take a ResNet: resnet32, "
        "resnet56, resnet32x4d, resnet10, or one of timm's, such as resnet50 or resnext50_32x4d."
    )


def _draw_anew(module: nn.Module) -> None:
    """Draw weights as both kinds of ResNet do when they are built."""
    for part in module.modules():
        _call(part, "reset_parameters")
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    # Only when all is drawn: timm's blocks zero the last normalisation that they hold.
    for part in module.modules():
        _call(part, "zero_init_last")


def _call(module: nn.Module, method: str) -> None:
    if hasattr(module, method):
        getattr(module, method)()
