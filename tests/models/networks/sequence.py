"""Networks on signals, text lines and video."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .classify import conv_bn


class Crnn(nn.Module):
    """A text line: convolutions until H is 1, the columns into two bidirectional LSTMs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_bn(1, 6, act=nn.ReLU()),
            nn.MaxPool2d(2, 2),
            conv_bn(6, 10, act=nn.ReLU()),
            nn.MaxPool2d((2, 2), (2, 1), (0, 1)),
            nn.Conv2d(10, 12, (4, 2)),
            nn.BatchNorm2d(12),
            nn.ReLU(),
        )
        self.first = nn.LSTM(12, 7, bidirectional=True)
        self.second = nn.LSTM(14, 7, bidirectional=True)
        self.letters = nn.Linear(14, 9)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.features(x).squeeze(2).permute(2, 0, 1)
        return self.letters(self.second(self.first(columns)[0])[0])


class WaveformEncoder(nn.Module):
    """wav2vec 2: strided 1-D convolutions, GroupNorm, GELU, then a positional convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 12, 10, 5, bias=False)
        self.norm = nn.GroupNorm(12, 12)
        self.rest = nn.ModuleList(nn.Conv1d(12, 12, k, 2, bias=False) for k in (3, 3, 2))
        self.project = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 8))
        self.position = nn.Conv1d(8, 8, 4, padding=2, groups=2)
        self.last = nn.LayerNorm(8)

    def forward(self, wave: Tensor) -> Tensor:
        x = functional.gelu(self.norm(self.first(wave.unsqueeze(1))))
        for conv in self.rest:
            x = functional.gelu(conv(x))
        x = self.project(x.transpose(1, 2))
        y = functional.gelu(self.position(x.transpose(1, 2))[:, :, :-1])
        return self.last(x + y.transpose(1, 2))


class TcnBlock(nn.Module):
    """Causal dilated convolutions: pad both ends, chop off the right one."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        pad = 2 * dilation
        self.chop = pad
        self.conv1 = nn.Conv1d(inputs, outputs, 3, padding=pad, dilation=dilation)
        self.conv2 = nn.Conv1d(outputs, outputs, 3, padding=pad, dilation=dilation)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.conv1(x)[:, :, : -self.chop].contiguous())
        y = functional.relu(self.conv2(y)[:, :, : -self.chop].contiguous())
        return functional.relu(y + self.skip(x))


class Tcn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(TcnBlock(5, 8, 1), TcnBlock(8, 12, 2), TcnBlock(12, 12, 4))
        self.exit = nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.exit(self.blocks(x)[:, :, -1])


class Separation(nn.Module):
    """Conv-TasNet: encoder, masks by a depthwise network with global norm, decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Conv1d(1, 12, 8, 4, bias=False)
        self.norm = nn.GroupNorm(1, 12)
        self.narrow = nn.Conv1d(12, 8, 1)
        self.block = nn.Sequential(
            nn.Conv1d(8, 14, 1),
            nn.PReLU(),
            nn.GroupNorm(1, 14),
            nn.Conv1d(14, 14, 3, padding=2, dilation=2, groups=14),
            nn.PReLU(14),
            nn.GroupNorm(1, 14),
            nn.Conv1d(14, 8, 1),
        )
        self.masks = nn.Conv1d(8, 24, 1)
        self.decode = nn.ConvTranspose1d(12, 1, 8, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        coded = self.encode(x)
        y = self.narrow(self.norm(coded))
        masks = torch.sigmoid(self.masks(y + self.block(y)))
        masks = masks.view(x.size(0), 2, 12, -1)
        sources = masks * coded.unsqueeze(1)
        return self.decode(sources.view(2 * x.size(0), 12, -1)).view(x.size(0), 2, -1)


def conv3(inputs: int, outputs: int, kernel: tuple[int, int, int], stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(
            inputs,
            outputs,
            kernel,
            (1, stride, stride),
            tuple(k // 2 for k in kernel),
            bias=False,
        ),
        nn.BatchNorm3d(outputs),
        nn.ReLU(),
    )


class Video(nn.Module):
    """R(2+1)D and X3D: factored and depthwise 3-D convolutions, squeeze-excite, 3-D pools."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv3(3, 7, (1, 5, 5), 2), conv3(7, 8, (3, 1, 1)), nn.MaxPool3d((1, 3, 3), 2, (0, 1, 1))
        )
        self.expand = conv3(8, 12, (1, 1, 1))
        self.depthwise = nn.Conv3d(12, 12, 3, padding=1, groups=12, bias=False)
        self.norm = nn.BatchNorm3d(12)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool3d(1),
            nn.Conv3d(12, 3, 1),
            nn.ReLU(),
            nn.Conv3d(3, 12, 1),
            nn.Sigmoid(),
        )
        self.project = nn.Conv3d(12, 8, 1, bias=False)
        self.pool = nn.AvgPool3d((1, 2, 2))
        self.head = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depthwise(self.expand(x)))
        x = x + self.project(functional.silu(y * self.squeeze(y)))
        return self.head(self.pool(x))


class Segment3d(nn.Module):
    """A medical 3-D U-Net: InstanceNorm, transposed 3-D convolution, trilinear upsampling."""

    def __init__(self) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
            return nn.Sequential(
                nn.Conv3d(inputs, outputs, 3, stride, 1),
                nn.InstanceNorm3d(outputs, affine=True),
                nn.LeakyReLU(0.01),
            )

        self.first, self.second, self.third = block(1, 6), block(6, 8, 2), block(8, 10, 2)
        self.up = nn.ConvTranspose3d(10, 8, 2, 2)
        self.fuse = block(16, 8)
        self.last = block(14, 6)
        self.exit = nn.Conv3d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        second = self.second(first)
        y = self.fuse(torch.cat((self.up(self.third(second)), second), 1))
        y = functional.interpolate(y, scale_factor=2, mode="trilinear", align_corners=False)
        return self.exit(self.last(torch.cat((y, first), 1)))
