"""Backbone and head as one network: images to embeddings and scores."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.models.adapters import Adapter
from taxonet.models.backbones import build_backbone
from taxonet.models.clip import ImageTower
from taxonet.models.clip_architecture import Architecture
from taxonet.models.experts import ExpertBackbone, ExpertHeads
from taxonet.models.heads import Head
from taxonet.registry import HEADS
from taxonet.seeds import seed_of


class Output(NamedTuple):
    """What a network says about a batch.

    Attributes:
        embedding: ``(B, d)``, not normalised.
        scores: ``(B, c)``, logits or cosines as ``head.kind`` says.
    """

    embedding: Tensor
    scores: Tensor


class Network(nn.Module):
    """A backbone and the head on its embeddings.

    Args:
        backbone: Maps images ``(B, 3, H, W)`` to embeddings ``(B, d)``.
        head: Maps embeddings to scores ``(B, c)``.

    Examples:
        >>> from taxonet.models import LinearHead
        >>> network = Network(nn.Flatten(), LinearHead(12, 5))
        >>> embedding, scores = network(torch.zeros(2, 3, 2, 2))
        >>> tuple(embedding.shape), tuple(scores.shape)
        ((2, 12), (2, 5))
    """

    def __init__(self, backbone: nn.Module, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self._is_frozen = False

    def forward(self, images: Tensor) -> Output:
        """Return embeddings and scores of normalised images ``(B, 3, H, W)``."""
        embedding = self.embed(images)
        return Output(embedding, self.head(embedding))

    def embed(self, images: Tensor) -> Tensor:
        """Return the embeddings ``(B, d)`` of normalised images ``(B, 3, H, W)``."""
        # Convolutions are a fifth faster on this layout, and it changes no value's meaning.
        found: Tensor = self.backbone(images.contiguous(memory_format=torch.channels_last))
        return found

    def freeze_backbone(self, *, frozen: bool = True) -> None:
        """Leave the backbone as it is in training, its batch statistics too, or free it again."""
        self._is_frozen = frozen
        self.backbone.requires_grad_(not frozen)
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
        """Set training or evaluation mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self._is_frozen:
            self.backbone.eval()
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
    network = Network(module, heads[0] if experts == 1 else ExpertHeads(heads))
    if adapter is not None:
        with keyed_weights("adapter", seed):
            network.adapt_backbone(adapter)
    # torch accepts a memory format alone; its annotations know it only beside a device.
    return network.to("cpu", memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@contextmanager
def keyed_weights(part: str, seed: int) -> Iterator[None]:
    """Draw what is drawn inside from a key, on the CPU, and put the global state back."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed: it would also seed the accelerators, which are not forked.
        torch.default_generator.manual_seed(seed_of("initial weights", part, seed))
        yield
