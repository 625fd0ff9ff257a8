"""Image classifiers, written as their papers and torchvision write them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv_bn(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    act: nn.Module | None = None,
) -> nn.Sequential:
    """Convolution without bias, BatchNorm and, if given, an activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([act] if act is not None else []))


class Basic(nn.Module):
    """ResNet-18's block."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(inputs, outputs, 3, stride, act=nn.ReLU()), conv_bn(outputs, outputs)
        )
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.skip(x))


class Bottleneck(nn.Module):
    """ResNet-50's block; with groups and squeeze-excite also ResNeXt's and RegNet's."""

    def __init__(
        self, inputs: int, middle: int, outputs: int, stride: int = 1, groups: int = 1, se: int = 0
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(inputs, middle, 1, act=nn.ReLU()),
            conv_bn(middle, middle, 3, stride, groups, nn.ReLU()),
            SqueezeExcite(middle, se) if se else nn.Identity(),
            conv_bn(middle, outputs, 1),
        )
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.skip(x))


class SqueezeExcite(nn.Module):
    """A gate per channel, from global averages through two 1x1 convolutions."""

    def __init__(
        self,
        channels: int,
        squeeze: int,
        act: nn.Module | None = None,
        gate: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.expand = nn.Conv2d(squeeze, channels, 1)
        self.act = act or nn.ReLU()
        self.gate = gate or nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))


class Head(nn.Module):
    """Global average, flatten, dense."""

    def __init__(self, inputs: int, classes: int, *between: nn.Module) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.tail = nn.Sequential(*between, nn.Dropout(0.2), nn.Linear(inputs, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(torch.flatten(self.pool(x), 1))


def stem(outputs: int) -> nn.Sequential:
    """ResNet's: convolution with stride 2, then a max pool with padding."""
    return nn.Sequential(conv_bn(3, outputs, 7, 2, act=nn.ReLU()), nn.MaxPool2d(3, 2, 1))


def resnet_basic() -> nn.Module:
    return nn.Sequential(stem(8), Basic(8, 8), Basic(8, 12, 2), Basic(12, 12), Basic(12, 20, 2), Head(20, 10))


def resnet_bottleneck() -> nn.Module:
    return nn.Sequential(
        stem(8),
        Bottleneck(8, 6, 24),
        Bottleneck(24, 6, 24),
        Bottleneck(24, 10, 40, 2),
        Bottleneck(40, 10, 40),
        Head(40, 10),
    )


def resnext() -> nn.Module:
    return nn.Sequential(
        stem(8), Bottleneck(8, 12, 24, groups=3), Bottleneck(24, 20, 40, 2, groups=5), Head(40, 10)
    )


def regnet() -> nn.Module:
    """RegNetY: group convolutions and squeeze-excite, no max pool."""
    return nn.Sequential(
        conv_bn(3, 12, 3, 2, act=nn.ReLU()),
        Bottleneck(12, 16, 16, 2, groups=2, se=3),
        Bottleneck(16, 16, 16, 1, groups=2, se=4),
        Bottleneck(16, 24, 24, 2, groups=3, se=5),
        Head(24, 10),
    )


class InvertedResidual(nn.Module):
    """MobileNet's and EfficientNet's block: expand, depthwise, squeeze-excite, project."""

    def __init__(
        self,
        inputs: int,
        middle: int,
        outputs: int,
        act: type[nn.Module],
        kernel: int = 3,
        stride: int = 1,
        se: nn.Module | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if middle != inputs:
            layers.append(conv_bn(inputs, middle, 1, act=act()))
        layers.append(conv_bn(middle, middle, kernel, stride, middle, act()))
        if se is not None:
            layers.append(se)
        layers.append(conv_bn(middle, outputs, 1))
        self.body = nn.Sequential(*layers)
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.same else self.body(x)


def mobilenetv2() -> nn.Module:
    act = nn.ReLU6
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act=act()),
        InvertedResidual(8, 8, 6, act),
        InvertedResidual(6, 24, 10, act, stride=2),
        InvertedResidual(10, 30, 10, act),
        InvertedResidual(10, 30, 14, act, stride=2),
        conv_bn(14, 40, 1, act=act()),
        Head(40, 10),
    )


def mobilenetv3() -> nn.Module:
    """Squeeze-excite with hard-sigmoid, hard-swish from the third block on."""

    def gate(channels: int, squeeze: int) -> nn.Module:
        return SqueezeExcite(channels, squeeze, nn.ReLU(), nn.Hardsigmoid())

    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act=nn.Hardswish()),
        InvertedResidual(8, 8, 8, nn.ReLU, stride=2, se=gate(8, 4)),
        InvertedResidual(8, 20, 12, nn.ReLU, stride=1),
        InvertedResidual(12, 24, 14, nn.Hardswish, 5, 2, gate(24, 6)),
        InvertedResidual(14, 28, 14, nn.Hardswish, 5, 1, gate(28, 7)),
        conv_bn(14, 36, 1, act=nn.Hardswish()),
        Head(44, 10, nn.Linear(36, 44), nn.Hardswish()),
    )


def efficientnet() -> nn.Module:
    def gate(channels: int, squeeze: int) -> nn.Module:
        return SqueezeExcite(channels, squeeze, nn.SiLU())

    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act=nn.SiLU()),
        InvertedResidual(8, 8, 6, nn.SiLU, se=gate(8, 2)),
        InvertedResidual(6, 36, 10, nn.SiLU, 3, 2, gate(36, 3)),
        InvertedResidual(10, 30, 10, nn.SiLU, 5, 1, gate(30, 3)),
        InvertedResidual(10, 30, 14, nn.SiLU, 5, 2, gate(30, 4)),
        conv_bn(14, 40, 1, act=nn.SiLU()),
        Head(40, 10),
    )


class DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, 2 * growth, 1, bias=False),
            nn.BatchNorm2d(2 * growth),
            nn.ReLU(),
            nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, *features: Tensor) -> Tensor:
        return self.layer(torch.cat(features, 1))


class DenseBlock(nn.Module):
    """Every layer reads the concatenation of all before it."""

    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(inputs + i * growth, growth) for i in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.layers:
            features.append(layer(*features))
        return torch.cat(features, 1)


def densenet() -> nn.Module:
    return nn.Sequential(
        stem(8),
        DenseBlock(8, 6, 3),
        nn.BatchNorm2d(26),
        nn.ReLU(),
        nn.Conv2d(26, 13, 1, bias=False),
        nn.AvgPool2d(2, 2),
        DenseBlock(13, 6, 3),
        nn.BatchNorm2d(31),
        nn.ReLU(),
        Head(31, 10),
    )


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.size()
    x = x.view(n, groups, c // groups, h, w)
    x = torch.transpose(x, 1, 2).contiguous()
    return x.view(n, c, h, w)


class ShuffleUnit(nn.Module):
    """ShuffleNet V2's: half of the channels pass by, then all are shuffled."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.stride = stride
        self.left = nn.Sequential(
            conv_bn(inputs, inputs, 3, stride, inputs), conv_bn(inputs, half, 1, act=nn.ReLU())
        )
        first = inputs if stride > 1 else half
        self.right = nn.Sequential(
            conv_bn(first, half, 1, act=nn.ReLU()),
            conv_bn(half, half, 3, stride, half),
            conv_bn(half, half, 1, act=nn.ReLU()),
        )
        if stride == 1:
            self.left = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            left, right = x.chunk(2, dim=1)
            out = torch.cat((left, self.right(right)), dim=1)
        else:
            out = torch.cat((self.left(x), self.right(x)), dim=1)
        return channel_shuffle(out, 2)


class MeanHead(nn.Module):
    """ShuffleNet's end: the mean over H and W instead of a pool."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean([2, 3]))


def shufflenetv2() -> nn.Module:
    return nn.Sequential(
        stem(8),
        ShuffleUnit(8, 20, 2),
        ShuffleUnit(20, 20, 1),
        ShuffleUnit(20, 20, 1),
        ShuffleUnit(20, 36, 2),
        conv_bn(36, 44, 1, act=nn.ReLU()),
        MeanHead(44, 10),
    )


class GroupShuffleUnit(nn.Module):
    """ShuffleNet V1's: grouped 1x1 convolutions with a shuffle between, three groups."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduce = conv_bn(inputs, 12, 1, groups=3, act=nn.ReLU())
        self.depthwise = conv_bn(12, 12, 3, 2, 12)
        self.expand = conv_bn(12, outputs - inputs, 1, groups=3)
        self.pool = nn.AvgPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(self.depthwise(channel_shuffle(self.reduce(x), 3)))
        return functional.relu(torch.cat((self.pool(x), y), 1))


def shufflenetv1() -> nn.Module:
    return nn.Sequential(stem(9), GroupShuffleUnit(9, 24), GroupShuffleUnit(24, 48), Head(48, 10))


class RepBlock(nn.Module):
    """RepVGG's and MobileOne's training-time block: parallel branches, summed."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int = 1, se: int = 0) -> None:
        super().__init__()
        same = inputs == outputs and stride == 1
        self.identity = nn.BatchNorm2d(inputs) if same else None
        self.dense = nn.ModuleList(conv_bn(inputs, outputs, 3, stride, groups) for _ in range(2))
        self.point = conv_bn(inputs, outputs, 1, stride, groups)
        self.se = SqueezeExcite(outputs, se) if se else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.point(x)
        for branch in self.dense:
            out = out + branch(x)
        if self.identity is not None:
            out = out + self.identity(x)
        return functional.relu(self.se(out))


def mobileone() -> nn.Module:
    return nn.Sequential(
        RepBlock(3, 8, 2),
        RepBlock(8, 8, 1, groups=8),
        RepBlock(8, 12, 1),
        RepBlock(12, 12, 2, groups=12, se=3),
        RepBlock(12, 20, 1, se=5),
        Head(20, 10),
    )


def repvgg() -> nn.Module:
    return nn.Sequential(
        RepBlock(3, 8, 2),
        RepBlock(8, 8, 1, groups=2),
        RepBlock(8, 14, 2),
        RepBlock(14, 14, 1),
        Head(14, 10),
    )


class Vgg(nn.Module):
    """Convolutions into an adaptive pool, flattened with H and W above 1 into Dense."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 10, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Linear(10 * 5 * 4, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))
