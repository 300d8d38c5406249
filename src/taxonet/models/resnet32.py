"""The ResNet-32 for images of 32 pixels, the usual network of the CIFAR benchmarks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


class ResNet32(nn.Module):
    """A 3x3 convolution, then three stages of five basic blocks with 16, 32 and 64 channels.

    Shape:
        Images ``(B, 3, H, W)``, meant for 32 x 32; embeddings ``(B, 64)`` come back, the means of
        the last feature maps, none below 0.

    Reference:
        He et al. 2016, Deep Residual Learning for Image Recognition, section 4.2, n = 5.

    Examples:
        >>> sum(parameter.numel() for parameter in ResNet32().parameters())
        463504
    """

    embedding_size = 64

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _convolution(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.stage1 = _stage(16, 16)
        self.stage2 = _stage(16, 32)
        self.stage3 = _stage(32, 64)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings ``(B, 64)``."""
        features = F.relu(self.bn1(self.conv1(images)))
        features = self.stage3(self.stage2(self.stage1(features)))
        return torch.mean(features, dim=(2, 3))


def _stage(channels_in: int, channels: int, *, blocks: int = 5) -> nn.Sequential:
    first = BasicBlock(channels_in, channels)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(blocks - 1)))


def _convolution(channels_in: int, channels: int, *, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
