"""Transformers: over patches, over tokens with a mask, causal, in shifted windows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """One projection to queries, keys and values; the framework's own attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        found = functional.scaled_dot_product_attention(query, key, value)
        return self.out(found.transpose(1, 2).reshape(batch, length, width))


def mlp(width: int, ratio: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))


class PreNorm(nn.Module):
    """x + f(norm(x)), twice."""

    def __init__(self, width: int, attention: nn.Module) -> None:
        super().__init__()
        self.first, self.attention = nn.LayerNorm(width), attention
        self.second, self.mlp = nn.LayerNorm(width), mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        return x + self.mlp(self.second(x))


class ViT(nn.Module):
    """https://arxiv.org/abs/2010.11929, the tiny one of https://arxiv.org/abs/2012.12877 with a few blocks."""

    def __init__(self, side: int = 64, width: int = 192, depth: int = 4, heads: int = 3, classes: int = 100) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(0.5 * torch.randn(1, (side // 16) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(PreNorm(width, Attention(width, heads)) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class BertLayer(nn.Module):
    """Separate projections, attention written out, norms behind the sums."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out, self.first = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.mlp, self.second = mlp(width), nn.LayerNorm(width, eps=1e-12)

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, self.size).permute(0, 2, 1, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(self.size) + mask
        found = torch.matmul(scores.softmax(-1), value).permute(0, 2, 1, 3).contiguous()
        x = self.first(x + self.out(found.view(*x.shape)))
        return self.second(x + self.mlp(x))


class Bert(nn.Module):
    """https://arxiv.org/abs/1810.04805 in its published size "tiny"; tokens and their mask are inputs."""

    def __init__(self, words: int = 1000, length: int = 32, width: int = 128, heads: int = 2, depth: int = 2) -> None:
        super().__init__()
        self.words, self.places, self.kinds = (nn.Embedding(n, width) for n in (words, length, 2))
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(BertLayer(width, heads) for _ in range(depth))
        self.pool = nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.arange(tokens.shape[1], device=tokens.device)[None]
        x = self.norm(self.words(tokens) + self.places(places) + self.kinds(torch.zeros_like(tokens)))
        unseen = (1.0 - mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, unseen)
        return x, torch.tanh(self.pool(x[:, 0]))


class RMSNorm(nn.Module):
    """Written out, as in the published code of language models: the TorchScript exporter does not know torch's own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width).uniform_(0.5, 1.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class CausalLayer(nn.Module):
    """Root-mean-square norms, rotary positions, a gated feed-forward network (https://arxiv.org/abs/2302.13971)."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.first, self.second = RMSNorm(width), RMSNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, 3 * width, bias=False) for _ in range(2))
        self.down = nn.Linear(3 * width, width, bias=False)
        angles = torch.outer(torch.arange(length), 10000 ** (-torch.arange(0, self.size, 2) / self.size))
        self.register_buffer("cos", torch.cat([angles, angles], -1).cos(), persistent=False)
        self.register_buffer("sin", torch.cat([angles, angles], -1).sin(), persistent=False)

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, self.size).transpose(1, 2)

    def rotated(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, -1)
        return x * self.cos[: x.shape[2]] + torch.cat([-right, left], -1) * self.sin[: x.shape[2]]

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        query, key = self.rotated(self.split(self.query(y))), self.rotated(self.split(self.key(y)))
        found = functional.scaled_dot_product_attention(query, key, self.split(self.value(y)), is_causal=True)
        x = x + self.out(found.transpose(1, 2).reshape(*x.shape))
        y = self.second(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    """Tokens to the scores of those that follow."""

    def __init__(self, words: int = 1000, length: int = 32, width: int = 128, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.layers = nn.Sequential(*(CausalLayer(width, heads, length) for _ in range(depth)))
        self.norm, self.head = RMSNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.words(tokens))))


class WindowAttention(nn.Module):
    """Attention within windows of a rolled image, with a bias by relative position."""

    def __init__(self, width: int, heads: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.side, self.window, self.shift = heads, side, window, shift
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(0.5 * torch.randn((2 * window - 1) ** 2, heads))
        places = torch.cartesian_prod(torch.arange(window), torch.arange(window))
        relative = places[:, None] - places[None] + window - 1
        self.register_buffer("index", relative[..., 0] * (2 * window - 1) + relative[..., 1], persistent=False)
        region = torch.zeros(1, side, side, 1)
        for row, rows in enumerate((slice(0, -window), slice(-window, -shift), slice(-shift, None))):
            for column, columns in enumerate((slice(0, -window), slice(-window, -shift), slice(-shift, None))):
                region[:, rows, columns] = 3 * row + column
        region = self.partition(region).squeeze(-1)
        mask = torch.zeros(len(region), window**2, window**2)
        mask[region[:, None, :] != region[:, :, None]] = -100.0
        self.register_buffer("mask", mask if shift else None, persistent=False)

    def partition(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x = x.view(batch, height // self.window, self.window, width // self.window, self.window, channels)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, self.window**2, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, width = x.shape
        image = x.view(batch, self.side, self.side, width)
        if self.shift:
            image = torch.roll(image, (-self.shift, -self.shift), (1, 2))
        x = self.partition(image)
        windows, length, _ = x.shape
        qkv = self.qkv(x).reshape(windows, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        scores = (query * (width // self.heads) ** -0.5) @ key.transpose(-2, -1)
        bias = self.bias[self.index.view(-1)].view(length, length, -1).permute(2, 0, 1)
        scores = scores + bias[None]
        if self.mask is not None:
            count = len(self.mask)
            scores = scores.view(batch, count, self.heads, length, length) + self.mask[None, :, None]
            scores = scores.view(-1, self.heads, length, length)
        x = self.out((scores.softmax(-1) @ value).transpose(1, 2).reshape(windows, length, width))
        count = self.side // self.window
        image = x.view(batch, count, count, self.window, self.window, width).permute(0, 1, 3, 2, 4, 5)
        image = image.reshape(batch, self.side, self.side, width)
        if self.shift:
            image = torch.roll(image, (self.shift, self.shift), (1, 2))
        return image.view(batch, self.side**2, width)


class Merge(nn.Module):
    """Four neighbours become one place of twice the width."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.side, self.norm, self.reduce = side, nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, width = x.shape
        x = x.view(batch, self.side, self.side, width)
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduce(self.norm(torch.cat(corners, -1).view(batch, -1, 4 * width)))


class Swin(nn.Module):
    """https://arxiv.org/abs/2103.14030: two stages of a plain and a shifted block each."""

    def __init__(self, side: int = 64, width: int = 48, heads: int = 3, window: int = 4, classes: int = 100) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, width, 4, 4), nn.LayerNorm(width)
        side //= 4
        stages: list[nn.Module] = []
        for _ in range(2):
            stages += [PreNorm(width, WindowAttention(width, heads, side, window, shift)) for shift in (0, window // 2)]
            stages.append(Merge(side, width))
            side, width, heads = side // 2, 2 * width, 2 * heads
        self.stages = nn.Sequential(*stages)
        self.last, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = self.norm(self.patches(image).flatten(2).transpose(1, 2))
        x = self.last(self.stages(x))
        return self.head(x.transpose(1, 2).mean(-1))
