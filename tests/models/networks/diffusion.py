"""Networks that make images: the parts of diffusion models."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GroupResidual(nn.Module):
    """GroupNorm, SiLU, convolution, twice, with the embedding of a time step in between."""

    def __init__(self, inputs: int, outputs: int, groups: int, embed: int = 0) -> None:
        super().__init__()
        self.first, self.second = nn.GroupNorm(groups, inputs), nn.GroupNorm(groups, outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.embed = nn.Linear(embed, outputs) if embed else None
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        y = self.conv1(functional.silu(self.first(x)))
        if self.embed is not None:
            y = y + self.embed(functional.silu(time))[:, :, None, None]
        return self.skip(x) + self.conv2(functional.silu(self.second(y)))


class PixelAttention(nn.Module):
    """Attention over all pixels, as diffusion U-Nets and VAEs write it, on n (h w) c."""

    def __init__(self, channels: int, groups: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.q, self.k, self.v = (nn.Linear(channels, channels) for _ in range(3))
        self.out, self.heads = nn.Linear(channels, channels), heads

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = self.norm(x).view(n, c, h * w).transpose(1, 2)
        shape = (n, h * w, self.heads, c // self.heads)
        q, k, v = (f(y).view(shape).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(q, k, v)
        y = self.out(y.transpose(1, 2).reshape(n, h * w, c))
        return x + y.transpose(1, 2).view(n, c, h, w)


class CrossAttention(nn.Module):
    """A transformer block on pixels: 1x1 in, LayerNorm, self and cross attention, GEGLU."""

    def __init__(self, channels: int, groups: int, context: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.enter, self.exit = (nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.own = nn.ModuleList(nn.Linear(channels, channels) for _ in range(4))
        self.cross = nn.ModuleList(
            nn.Linear(width, channels) for width in (channels, context, context, channels)
        )
        self.widen, self.narrow = (
            nn.Linear(channels, 4 * channels),
            nn.Linear(2 * channels, channels),
        )

    def attend(self, x: Tensor, context: Tensor, layers: nn.ModuleList) -> Tensor:
        to_q, to_k, to_v, out = layers
        n, _, c = x.shape
        q, k, v = (
            f(y).view(n, -1, 2, c // 2).transpose(1, 2)
            for f, y in ((to_q, x), (to_k, context), (to_v, context))
        )
        y = functional.scaled_dot_product_attention(q, k, v)
        return out(y.transpose(1, 2).reshape(n, -1, c))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = self.enter(self.norm(x)).permute(0, 2, 3, 1).reshape(n, h * w, c)
        z = self.norms[0](y)
        y = y + self.attend(z, z, self.own)
        y = y + self.attend(self.norms[1](y), context, self.cross)
        value, gate = self.widen(self.norms[2](y)).chunk(2, -1)
        y = y + self.narrow(value * functional.gelu(gate))
        return x + self.exit(y.reshape(n, h, w, c).permute(0, 3, 1, 2))


class DiffusionUNet(nn.Module):
    """Residual blocks and cross attention, one step down and one up, with a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(6, 18), nn.SiLU(), nn.Linear(18, 18))
        self.enter = nn.Conv2d(4, 8, 3, padding=1)
        self.first = GroupResidual(8, 8, 2, 18)
        self.down = nn.Conv2d(8, 12, 3, 2, 1)
        self.middle = GroupResidual(12, 12, 3, 18)
        self.attend = CrossAttention(12, 3, 10)
        self.up = nn.Conv2d(12, 12, 3, padding=1)
        self.last = GroupResidual(20, 8, 2, 18)
        self.norm, self.exit = nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        t = self.time(time)
        x = self.first(self.enter(x), t)
        y = self.attend(self.middle(self.down(x), t), context)
        y = self.up(functional.interpolate(y, scale_factor=2.0, mode="nearest"))
        y = self.last(torch.cat((y, x), 1), t)
        return self.exit(functional.silu(self.norm(y)))


class VaeDecoder(nn.Module):
    """A latent image, one attention over its pixels, then up twice."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 12, 3, padding=1))
        self.middle = nn.Sequential(
            GroupResidual(12, 12, 3), PixelAttention(12, 3, 1), GroupResidual(12, 12, 3)
        )
        self.up = nn.ModuleList(
            nn.ModuleList((GroupResidual(a, b, 2), nn.Conv2d(b, b, 3, padding=1)))
            for a, b in ((12, 8), (8, 6))
        )
        self.norm, self.exit = nn.GroupNorm(2, 6), nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.enter(x))
        for block, conv in self.up:
            x = conv(functional.interpolate(block(x), scale_factor=2.0, mode="nearest"))
        return self.exit(functional.silu(self.norm(x)))
