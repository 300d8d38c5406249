"""The residual networks for images of 32 pixels, the usual networks of the CIFAR benchmarks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.errors import ConfigError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters (option A).

    Where a stage halves the image and doubles the channels, the shortcut takes every second pixel
    and fills the new channels with zeros.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.stride = 1 if channels == channels_in else 2
        self.new_channels = channels - channels_in
        self.conv1 = _convolution(channels_in, channels, stride=self.stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _convolution(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, channels_in, H, W)`` to ``(B, channels, H / stride, W / stride)``."""
        residual = F.relu(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        shortcut = features[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(residual + shortcut)


class CifarResNet(nn.Module):
    """A 3x3 convolution, then three stages of n basic blocks with w, 2w and 4w channels.

    It has 6n + 2 layers with weights, the classifier that is not here among them.

    Shape:
        Images ``(B, 3, H, W)``, meant for 32 x 32; embeddings ``(B, 4w)`` come back, the means of
        the last feature maps, none below 0.

    Args:
        blocks: The number n of blocks of a stage: 5 for ResNet-32, 9 for ResNet-56.
        width: The number w of channels of the first convolution and the first stage.

    Raises:
        ConfigError: A number below 1.

    Reference:
        He et al. 2016, Deep Residual Learning for Image Recognition, section 4.2.

    Examples:
        >>> sum(parameter.numel() for parameter in CifarResNet().parameters())
        463504
    """

    def __init__(self, blocks: int = 5, width: int = 16) -> None:
        super().__init__()
        if blocks < 1 or width < 1:
            raise ConfigError(
                "A CifarResNet needs blocks and a width of at least 1, "
                f"but got {blocks} and {width}."
            )
        self.embedding_size = 4 * width
        self.conv1 = _convolution(3, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.stage1 = _stage(width, width, blocks=blocks)
        self.stage2 = _stage(width, 2 * width, blocks=blocks)
        self.stage3 = _stage(2 * width, 4 * width, blocks=blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings ``(B, 4w)``."""
        features = F.relu(self.bn1(self.conv1(images)))
        features = self.stage3(self.stage2(self.stage1(features)))
        return torch.mean(features, dim=(2, 3))

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """State the layers as timm's models do: the stem, then the stages or their blocks."""
        blocks = r"^stage(\d+)" if coarse else r"^stage(\d+)\.(\d+)"
        return {"stem": r"^(?:conv1|bn1)", "blocks": blocks}


def resnet32() -> CifarResNet:
    """Return a ResNet-32, with embeddings of size 64."""
    return CifarResNet()


def resnet56() -> CifarResNet:
    """Return a ResNet-56, with embeddings of size 64.

    Examples:
        >>> sum(parameter.numel() for parameter in resnet56().parameters())
        852368
    """
    return CifarResNet(blocks=9)


def resnet32x4d() -> CifarResNet:
    """Return a ResNet-32 four times as wide, with embeddings of size 256.

    The long-tail papers mean by it "4 times the inplanes" (Difficulty-aware Balancing Margin Loss,
    supplement, Table 3): the first convolution has 64 channels too, as in the public code of GLMC
    (Du et al. 2023, arXiv 2305.08661), where the name comes from. The ``resnet32x4`` of the
    knowledge-distillation papers is another network: 32 channels in the first convolution, and
    shortcuts with weights.

    Examples:
        >>> sum(parameter.numel() for parameter in resnet32x4d().parameters())
        7383616
    """
    return CifarResNet(width=64)


def _stage(channels_in: int, channels: int, *, blocks: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(blocks - 1)))


def _convolution(channels_in: int, channels: int, *, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
