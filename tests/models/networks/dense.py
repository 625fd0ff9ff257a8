"""Networks whose output is an image or a set of boxes: segmentation, detection, generation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .classify import Basic, InvertedResidual, conv_bn


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(conv_bn(inputs, outputs, act=nn.ReLU()), conv_bn(outputs, outputs, act=nn.ReLU()))


class UNet(nn.Module):
    """The classic, with either of its two ways up and the padding that matches odd sizes."""

    def __init__(self, bilinear: bool, pad: bool) -> None:
        super().__init__()
        self.pad = pad
        self.enter, self.exit = double_conv(3, 6), nn.Conv2d(6, 5, 1)
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), double_conv(a, b)) for a, b in ((6, 10), (10, 14))
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
                nn.Conv2d(a, b, 1),
            )
            if bilinear
            else nn.ConvTranspose2d(a, b, 2, 2)
            for a, b in ((14, 10), (10, 6))
        )
        self.fuse = nn.ModuleList((double_conv(20, 10), double_conv(12, 6)))

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.enter(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        y = skips.pop()
        for up, fuse in zip(self.up, self.fuse, strict=True):
            y, skip = up(y), skips.pop()
            if self.pad:
                dy, dx = skip.size(2) - y.size(2), skip.size(3) - y.size(3)
                y = functional.pad(y, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
            y = fuse(torch.cat([skip, y], dim=1))
        return self.exit(y)


class DeepLab(nn.Module):
    """Dilated branches, a global branch resized back, then a resize to the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            conv_bn(3, 8, 3, 2, act=nn.ReLU()),
            InvertedResidual(8, 16, 10, nn.ReLU6, stride=2),
        )
        self.branches = nn.ModuleList(
            [conv_bn(10, 7, 1, act=nn.ReLU())]
            + [
                nn.Sequential(
                    nn.Conv2d(10, 7, 3, padding=rate, dilation=rate, bias=False),
                    nn.BatchNorm2d(7),
                    nn.ReLU(),
                )
                for rate in (2, 3)
            ]
        )
        self.globally = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_bn(10, 7, 1, act=nn.ReLU()))
        self.project = conv_bn(28, 9, 1, act=nn.ReLU())
        self.classify = nn.Conv2d(9, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.backbone(x)
        parts = [branch(y) for branch in self.branches]
        mean = self.globally(y)
        parts.append(functional.interpolate(mean, size=y.shape[-2:], mode="bilinear", align_corners=False))
        y = self.classify(self.project(torch.cat(parts, 1)))
        return functional.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


class Csp(nn.Module):
    """YOLO's C2f: split, bottlenecks in a chain, concatenation of all."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.half = outputs // 2
        self.enter = conv_bn(inputs, outputs, 1, act=nn.SiLU())
        self.blocks = nn.ModuleList(conv_bn(self.half, self.half, act=nn.SiLU()) for _ in range(2))
        self.exit = conv_bn(4 * self.half, outputs, 1, act=nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).split((self.half, self.half), 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return self.exit(torch.cat(parts, 1))


class Sppf(nn.Module):
    """Three max pools in a chain, concatenated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = conv_bn(channels, channels // 2, 1, act=nn.SiLU())
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.exit = conv_bn(2 * channels, channels, 1, act=nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        y = self.pool(x)
        z = self.pool(y)
        return self.exit(torch.cat((x, y, z, self.pool(z)), 1))


class YoloNeck(nn.Module):
    """Backbone and feature pyramid of two levels, 10 and 14 channels, strides 4 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            conv_bn(3, 6, 3, 2, act=nn.SiLU()), conv_bn(6, 10, 3, 2, act=nn.SiLU()), Csp(10, 10)
        )
        self.second = nn.Sequential(conv_bn(10, 14, 3, 2, act=nn.SiLU()), Csp(14, 14), Sppf(14))
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.top = Csp(24, 10)
        self.down = conv_bn(10, 10, 3, 2, act=nn.SiLU())
        self.bottom = Csp(24, 14)

    def forward(self, x: Tensor) -> list[Tensor]:
        small = self.first(x)
        large = self.second(small)
        small = self.top(torch.cat((self.up(large), small), 1))
        return [small, self.bottom(torch.cat((self.down(small), large), 1))]


def cells(h: int, w: int) -> Tensor:
    """The (x, y) coordinates of every cell, shape (h, w, 2)."""
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack((x, y), 2).float()


class YoloV5(nn.Module):
    """Anchors: n (a k) h w -> n a k h w -> n a h w k -> n (a h w) k, boxes decoded."""

    def __init__(self, anchors: int = 3, outputs: int = 7) -> None:
        super().__init__()
        self.neck, self.anchors, self.outputs = YoloNeck(), anchors, outputs
        self.heads = nn.ModuleList(nn.Conv2d(c, anchors * outputs, 1) for c in (10, 14))
        self.sizes = nn.Parameter(torch.rand(2, 1, anchors, 1, 1, 2) + 1, requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        found = []
        levels = zip(self.neck(image), self.heads, self.sizes, (4, 8), strict=True)
        for x, head, sizes, stride in levels:
            x = head(x)
            n, _, h, w = x.shape
            x = x.view(n, self.anchors, self.outputs, h, w).permute(0, 1, 3, 4, 2).contiguous()
            xy, wh, scores = x.sigmoid().split((2, 2, self.outputs - 4), 4)
            xy = (xy * 2 + cells(h, w) - 0.5) * stride
            wh = (wh * 2) ** 2 * sizes
            found.append(torch.cat((xy, wh, scores), 4).view(n, -1, self.outputs))
        return torch.cat(found, 1)


class YoloV8(nn.Module):
    """Anchor free: distribution-focal softmax over 6 bins, expectation by a 1x1 convolution."""

    def __init__(self, classes: int = 5, bins: int = 6) -> None:
        super().__init__()
        self.neck, self.classes, self.bins = YoloNeck(), classes, bins
        self.boxes = nn.ModuleList(
            nn.Sequential(conv_bn(c, 12, act=nn.SiLU()), nn.Conv2d(12, 4 * bins, 1)) for c in (10, 14)
        )
        self.scores = nn.ModuleList(
            nn.Sequential(conv_bn(c, 9, act=nn.SiLU()), nn.Conv2d(9, classes, 1)) for c in (10, 14)
        )
        self.expect = nn.Conv2d(bins, 1, 1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        levels = self.neck(image)
        maps = [
            torch.cat((box(x), score(x)), 1)
            for x, box, score in zip(levels, self.boxes, self.scores, strict=True)
        ]
        points, strides = [], []
        for x, stride in zip(maps, (4.0, 8.0), strict=True):
            h, w = x.shape[-2:]
            points.append((cells(h, w) + 0.5).view(-1, 2))
            strides.append(torch.full((h * w, 1), stride))
        centres = torch.cat(points).transpose(0, 1).unsqueeze(0)
        scale = torch.cat(strides).transpose(0, 1)
        n = image.shape[0]
        flat = torch.cat([x.view(n, 4 * self.bins + self.classes, -1) for x in maps], 2)
        box, score = flat.split((4 * self.bins, self.classes), 1)
        spread = box.view(n, 4, self.bins, -1).transpose(2, 1).softmax(1)
        near, far = self.expect(spread).view(n, 4, -1).chunk(2, 1)
        low, high = centres - near, centres + far
        boxes = torch.cat(((low + high) / 2, high - low), 1) * scale
        return torch.cat((boxes, score.sigmoid()), 1)


class Ssd(nn.Module):
    """Each level: permute to n h w (a k), view as n (h w a) k; then concatenation, softmax."""

    def __init__(self, anchors: int = 3, classes: int = 4) -> None:
        super().__init__()
        self.classes = classes
        self.levels = nn.ModuleList(
            nn.Sequential(conv_bn(a, b, 3, 2, act=nn.ReLU6()), conv_bn(b, b, act=nn.ReLU6()))
            for a, b in ((3, 8), (8, 10), (10, 14))
        )
        self.score = nn.ModuleList(nn.Conv2d(c, anchors * classes, 3, padding=1) for c in (10, 14))
        self.place = nn.ModuleList(nn.Conv2d(c, anchors * 4, 3, padding=1) for c in (10, 14))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.levels[0](x)
        boxes, scores = [], []
        for level, score, place in zip(self.levels[1:], self.score, self.place, strict=True):
            x = level(x)
            for head, width, into in ((place, 4, boxes), (score, self.classes, scores)):
                y = head(x).permute(0, 2, 3, 1).contiguous()
                into.append(y.view(y.size(0), -1, width))
        return torch.cat(boxes, 1), torch.softmax(torch.cat(scores, 1), -1)


class SuperResolution(nn.Module):
    """ESPCN and EDSR: residual body, pixel shuffle by 2 and a skip by bicubic resize."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 8, 5, padding=2)
        self.body = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.PReLU(8), nn.Conv2d(8, 8, 3, padding=1))
            for _ in range(2)
        )
        self.shuffle = nn.Sequential(nn.Conv2d(8, 24, 3, padding=1), nn.PixelShuffle(2))
        self.exit = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        for block in self.body:
            y = y + block(y) * 0.5
        y = self.exit(self.shuffle(y))
        return y + functional.interpolate(x, scale_factor=2, mode="bicubic")


class StyleResidual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def style_transfer() -> nn.Module:
    def norm_relu(channels: int) -> list[nn.Module]:
        return [nn.InstanceNorm2d(channels, affine=True), nn.ReLU()]

    return nn.Sequential(
        nn.ReflectionPad2d(4),
        nn.Conv2d(3, 6, 9),
        *norm_relu(6),
        nn.ReflectionPad2d(1),
        nn.Conv2d(6, 10, 3, 2),
        *norm_relu(10),
        StyleResidual(10),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.ReflectionPad2d(1),
        nn.Conv2d(10, 6, 3),
        *norm_relu(6),
        nn.ReflectionPad2d(2),
        nn.Conv2d(6, 3, 5),
    )


class HrNet(nn.Module):
    """Two resolutions kept side by side, each fused into the other, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, 3, 2, act=nn.ReLU())
        self.split = nn.ModuleList((conv_bn(8, 6, act=nn.ReLU()), conv_bn(8, 12, 3, 2, act=nn.ReLU())))
        self.stages = nn.ModuleList(
            nn.ModuleDict(
                {
                    "high": Basic(6, 6),
                    "low": Basic(12, 12),
                    "down": conv_bn(6, 12, 3, 2),
                    "up": conv_bn(12, 6, 1),
                }
            )
            for _ in range(2)
        )
        self.exit = nn.Conv2d(18, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        high, low = (split(x) for split in self.split)
        for stage in self.stages:
            high, low = stage["high"](high), stage["low"](low)
            up = functional.interpolate(stage["up"](low), size=high.shape[2:], mode="nearest")
            down = stage["down"](high)
            high, low = functional.relu(high + up), functional.relu(low + down)
        low = functional.interpolate(low, size=high.shape[2:], mode="bilinear")
        return self.exit(torch.cat((high, low), 1))


class GroupedTransposed(nn.Module):
    """A decoder of grouped and depthwise transposed convolutions, with output padding."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 12, 3, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(12, 8, 4, 2, 1, groups=4),
            nn.LeakyReLU(0.1),
            nn.ConvTranspose2d(8, 8, 3, (2, 1), 1, output_padding=(1, 0), groups=8),
            nn.ELU(),
            nn.ConvTranspose2d(8, 5, (3, 2), dilation=(1, 2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.body(x))
