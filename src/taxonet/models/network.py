"""Backbone and head as one network: images to embeddings and scores."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from taxonet.errors import ConfigError
from taxonet.models.adapters import Adapter
from taxonet.models.backbones import build_backbone, input_config
from taxonet.models.clip import ImageTower
from taxonet.models.clip_architecture import Architecture
from taxonet.models.experts import ExpertBackbone, ExpertHeads
from taxonet.models.heads import Head
from taxonet.models.normalisation import Normalisation
from taxonet.registry import HEADS
from taxonet.seeds import seed_of

NeckName = Literal["none", "linear"]


class Colours(Protocol):
    """Whatever says how a network normalises its pixels."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each of R, G, B, 0 to 1."""

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation likewise."""


class Output(NamedTuple):
    """What a network says about a batch.

    Attributes:
        embedding: ``(B, d)``, not normalised.
        scores: ``(B, c)``, logits or cosines as ``head.kind`` says.
    """

    embedding: Tensor
    scores: Tensor


class Network(nn.Module):
    """Normalisation, backbone, neck and head: pixels to embeddings and scores.

    Args:
        backbone: Maps normalised images ``(B, 3, H, W)`` to features ``(B, f)``.
        head: Maps embeddings ``(B, d)`` to scores ``(B, c)``.
        normalisation: Maps pixel values of 0 to 255 to what the backbone takes; None: the backbone
            takes its inputs as they are.
        neck: Maps features to embeddings; None: features are embeddings, and f is d.

    Examples:
        >>> from taxonet.models import LinearHead
        >>> network = Network(nn.Flatten(), LinearHead(12, 5))
        >>> embedding, scores = network(torch.zeros(2, 3, 2, 2))
        >>> tuple(embedding.shape), tuple(scores.shape)
        ((2, 12), (2, 5))
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        *,
        normalisation: Normalisation | None = None,
        neck: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.normalise: nn.Module = nn.Identity() if normalisation is None else normalisation
        self.backbone = backbone
        self.neck: nn.Module = nn.Identity() if neck is None else neck
        self.head = head
        self._is_frozen = False
        self._fixed_batch_norms: list[nn.Module] = []

    def forward(self, images: Tensor) -> Output:
        """Return embeddings and scores of images ``(B, 3, H, W)``, pixel values of 0 to 255."""
        embedding = self.embed(images)
        return Output(embedding, self.head(embedding))

    def embed(self, images: Tensor) -> Tensor:
        """Return the embeddings ``(B, d)`` of images ``(B, 3, H, W)``."""
        embedding: Tensor = self.neck(self.features(images))
        return embedding

    def features(self, images: Tensor) -> Tensor:
        """Return the features ``(B, f)`` that the backbone gives images ``(B, 3, H, W)``."""
        pixels: Tensor = self.normalise(images)
        if pixels.ndim == 4:
            # Convolutions are a fifth faster on this layout, and it changes no value's meaning.
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        found: Tensor = self.backbone(pixels)
        return found

    def on_features(self) -> "Network":
        """Return neck and head as a network of their own, whose inputs are features ``(B, f)``.

        The weights are shared: what the one learns the other knows.
        """
        network = Network(nn.Identity(), self.head, neck=self.neck)
        return network.train(self.training)

    def freeze_backbone(self, *, frozen: bool = True) -> None:
        """Leave the backbone as it is in training, its batch statistics too, or free it again."""
        self._is_frozen = frozen
        self.backbone.requires_grad_(not frozen)
        self.train(self.training)

    def freeze_batch_norm(self) -> None:
        """Keep the statistics of the backbone's batch norm in training; its weights still train.

        A backbone without batch norm has nothing to keep.
        """
        layers: list[nn.Module] = [
            one for one in self.backbone.modules() if isinstance(one, _BatchNorm)
        ]
        self._fixed_batch_norms = layers
        self.train(self.training)

    def adapt_backbone(self, adapter: Adapter) -> None:
        """Leave the backbone as it is but for what the adapter trains of it, or puts into it.

        Raises:
            ConfigError: The backbone has not what the adapter works on.
        """
        self.freeze_backbone()
        for weights in adapter.fit_into(self.backbone):
            weights.requires_grad_(True)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        if self._is_frozen:
            self.backbone.eval()
        for layer in self._fixed_batch_norms:
            layer.eval()
        return self

    @property
    def architecture(self) -> Architecture | None:
        """What the CLIP model is made of that the backbone is of, if it is of one."""
        return self.backbone.architecture if isinstance(self.backbone, ImageTower) else None


def build_network(
    *,
    backbone: str,
    head: str,
    classes: int,
    seed: int,
    experts: int = 1,
    head_options: Mapping[str, Any] | None = None,
    weights: str = "none",
    options: Mapping[str, Any] | None = None,
    architecture: Architecture | None = None,
    colours: Colours | None = None,
    neck: NeckName = "none",
    adapter: Adapter | None = None,
) -> Network:
    """Build a network whose random weights depend on the seed alone.

    The global random state is left as it was, and the backbone starts the same whatever the head.
    With several experts, the shared stages and the first expert start as the network without
    experts does; the others start at weights of their own, or at the given ones where there are.

    Args:
        backbone: A name for `build_backbone`, as are ``weights``, ``options`` and
            ``architecture``.
        head: A name in ``taxonet.registry.HEADS``.
        classes: The number c of classes.
        seed: The key of the initial weights.
        experts: How many experts share the first stages; above 1, the backbone becomes an
            `ExpertBackbone` with its default of shared stages, and the head an `ExpertHeads`.
        head_options: The options of the head by name; its defaults where left out.
        weights: Where the backbone's weights come from; ``none``: from the seed.
        options: The options of the backbone by name.
        architecture: Of the CLIP model that the backbone is of, where it is known.
        colours: Mean and standard deviation of the normalisation; None: what the backbone names.
        neck: What stands between features and head: nothing, or a linear map that starts at the
            identity.
        adapter: What is trained of the backbone, which is frozen otherwise; None: all of it.

    Raises:
        ConfigError: An unknown name, option or kind of weights, a number of classes or experts
            below 1, or a backbone that experts cannot share or the adapter cannot adapt.
        CheckpointError: Weights that could not be fetched, read, or fitted to the backbone.

    Examples:
        >>> network = build_network(backbone="resnet32", head="cosine", classes=10, seed=0)
        >>> network.head.kind, network.head.scale
        ('cosines', 32.0)
    """
    if experts < 1:
        raise ConfigError(f"The number of experts must be at least 1, but is {experts}.")
    with keyed_weights("backbone", seed):
        module, embedding_size = build_backbone(
            backbone,
            weights=weights,
            options=options,
            architecture=architecture,
        )
    with keyed_weights("head", seed):
        heads = [
            HEADS.build(head, head_options or {}, embedding_size, classes) for _ in range(experts)
        ]
    if experts > 1:
        with keyed_weights("experts", seed):
            module = ExpertBackbone(module, experts, redraw=weights == "none")
    colours = input_config(backbone, options=options) if colours is None else colours
    network = Network(
        module,
        heads[0] if experts == 1 else ExpertHeads(heads),
        normalisation=Normalisation(colours.mean, colours.std),
        neck=None if neck == "none" else linear_neck(heads[0].embedding_size * experts),
    )
    if adapter is not None:
        with keyed_weights("adapter", seed):
            network.adapt_backbone(adapter)
    # torch accepts a memory format alone; its annotations know it only beside a device.
    return network.to("cpu", memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def build_network_on_features(
    feature_size: int,
    *,
    head: str,
    classes: int,
    seed: int,
    head_options: Mapping[str, Any] | None = None,
    neck: NeckName = "none",
) -> Network:
    """Build neck and head alone: a network whose inputs are features ``(B, f)``.

    Its first weights are those that `build_network` gives neck and head at the same seed.

    Args:
        feature_size: The number f of a feature's dimensions.
        head: As for `build_network`, as are the others.
        classes: See there.
        seed: See there.
        head_options: See there.
        neck: See there.

    Examples:
        >>> network = build_network_on_features(64, head="cosine", classes=10, seed=0)
        >>> tuple(network(torch.ones(2, 64)).scores.shape)
        (2, 10)
    """
    with keyed_weights("head", seed):
        made = HEADS.build(head, head_options or {}, feature_size, classes)
    return Network(nn.Identity(), made, neck=None if neck == "none" else linear_neck(feature_size))


@torch.no_grad()
def linear_neck(size: int) -> nn.Linear:
    """Return an affine map of features ``(B, size)`` that starts at the identity.

    Examples:
        >>> linear_neck(2)(torch.tensor([[3.0, 4.0]])).tolist()
        [[3.0, 4.0]]
    """
    neck = nn.Linear(size, size)
    nn.init.eye_(neck.weight)
    nn.init.zeros_(neck.bias)
    return neck


@contextmanager
def keyed_weights(part: str, seed: int) -> Iterator[None]:
    """Draw what is drawn inside from a key, on the CPU, and put the global state back."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed: it would also seed the accelerators, which are not forked.
        torch.default_generator.manual_seed(seed_of("initial weights", part, seed))
        yield
