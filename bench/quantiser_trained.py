"""Networks that quantiser.py trains itself, with torch on the CPU, once: the file is kept in NARROWCAST_BENCH_CACHE.

The 10,000 digits of MNIST's test set, drawn by seed 0: 8,000 train, 2,000 test, and of the former 128 calibrate. Every
network takes pixels in 0..1, [1, 1, 28, 28].
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from measure import zoo

Array = np.ndarray
SEED = 0
TRAINED, CALIBRATION, BATCH = 8000, 128, 64


def folder() -> Path:
    """Where networks, samples and figures are kept between runs."""
    path = Path(os.environ.get("NARROWCAST_BENCH_CACHE") or Path(tempfile.gettempdir()) / "narrowcast-quantiser")
    path.mkdir(parents=True, exist_ok=True)
    return path


@cache
def digits() -> tuple[Array, Array]:
    """MNIST's 10,000 test digits: uint8 [10000, 28, 28], and their classes."""
    images, labels = (
        np.frombuffer(gzip.decompress((zoo() / f"data/mnist_t10k-{name}-ubyte.gz").read_bytes())[start:], np.uint8)
        for name, start in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return images.reshape(-1, 28, 28), labels.astype(np.int64)


@cache
def cifar() -> tuple[Array, Array]:
    """1,000 images of CIFAR-10: uint8 [1000, 32, 32, 3], and their classes."""
    held = np.load(zoo() / "data/cifar10/cifar10_train_0000_0999.npz")
    return held["images"], held["labels"].astype(np.int64)


def _split() -> tuple[Array, Array, Array]:
    """Pixels in 0..1 [10000, 1, 1, 28, 28], classes, and the order in which they were drawn."""
    images, labels = digits()
    pixels = images.astype(np.float32)[:, None, None] / np.float32(255)
    return pixels, labels, np.random.default_rng(SEED).permutation(len(labels))


def samples(_name: str, made: Callable[..., Any]) -> Any:
    """Some of the digits that trained calibrate, those that did not test."""
    pixels, labels, order = _split()
    parts = order[:CALIBRATION], order[TRAINED:]
    return made({"image": pixels[parts[0]]}, {"image": pixels[parts[1]]}, labels[parts[0]], labels[parts[1]])


def learning() -> tuple[dict[str, Array], Array]:
    """All the digits that trained, and their classes."""
    pixels, labels, order = _split()
    return {"image": pixels[order[:TRAINED]]}, labels[order[:TRAINED]]


def _tutorial() -> Any:
    """What TensorFlow Lite's tutorials quantise: Conv 12 of 3x3, ReLU, MaxPool, Dense 10."""
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 12, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12 * 13 * 13, 10))


def _vit() -> Any:
    """A small vision transformer (Dosovitskiy et al. 2021): patches of 7, 6 blocks of 128, 4 heads, class token."""
    import torch
    from torch import nn

    width, heads = 128, 4

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.taken, self.given = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            count = x.shape[1]
            query, key, value = self.taken(x).reshape(-1, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            weights = torch.softmax(query @ key.transpose(-1, -2) * (width // heads) ** -0.5, -1)
            return self.given((weights @ value).transpose(1, 2).reshape(-1, count, width))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = Attention()
            self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.before(x))
            return x + self.dense(self.after(x))

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(1, width, 7, 7)
            self.first = nn.Parameter(torch.randn(1, 1, width) * 0.02)
            self.places = nn.Parameter(torch.randn(1, 17, width) * 0.02)
            self.blocks = nn.Sequential(*(Block() for _ in range(6)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

        def forward(self, x: Any) -> Any:
            tokens = self.patches(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.first.expand(tokens.shape[0], 1, width), tokens], 1) + self.places
            return self.head(self.norm(self.blocks(tokens))[:, 0])

    return Transformer()


_BLOCKS = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
"""Kernel, width inside, width, squeeze-and-excite, hard swish, stride (A. Howard et al. 2019, table 2)."""


def _mobilenet() -> Any:
    """MobileNetV3-Small for 28 pixels of one channel: its first convolution has a stride of 1."""
    from torch import nn

    def layer(inside: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: Any = None) -> Any:
        convolution = nn.Conv2d(inside, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(out), act or nn.Identity())

    class Excite(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.pool, self.gate = nn.AdaptiveAvgPool2d(1), nn.Hardsigmoid()
            self.down, self.up = nn.Conv2d(width, max(width // 4, 8), 1), nn.Conv2d(max(width // 4, 8), width, 1)
            self.act = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return x * self.gate(self.up(self.act(self.down(self.pool(x)))))

    class Residual(nn.Module):
        def __init__(self, width: int, row: tuple[int, int, int, bool, bool, int]) -> None:
            super().__init__()
            kernel, inside, out, excites, hard, stride = row
            act = nn.Hardswish if hard else nn.ReLU
            self.adds = stride == 1 and width == out
            self.layers = nn.Sequential(
                layer(width, inside, act=act()),
                layer(inside, inside, kernel, stride, inside, act()),
                Excite(inside) if excites else nn.Identity(),
                layer(inside, out),
            )

        def forward(self, x: Any) -> Any:
            return x + self.layers(x) if self.adds else self.layers(x)

    widths = [16, *(row[2] for row in _BLOCKS)]
    return nn.Sequential(
        layer(1, 16, 3, act=nn.Hardswish()),
        *(Residual(width, row) for width, row in zip(widths, _BLOCKS, strict=False)),
        layer(96, 576, act=nn.Hardswish()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(576, 1024),
        nn.Hardswish(),
        nn.Linear(1024, 10),
    )


NETWORKS: dict[str, tuple[Callable[[], Any], int, float]] = {
    "mnist_tutorial": (_tutorial, 12, 2e-3),
    "vit_tiny": (_vit, 14, 1e-3),
    "mobilenet_v3_small": (_mobilenet, 10, 3e-3),
}
"""What makes each network, how many times it sees the digits, and its greatest rate."""


def network(name: str) -> Path:
    """The file of a network, trained where it is not there yet."""
    path = folder() / f"{name}.onnx"
    if not path.exists():
        _train(name, path)
    return path


def _train(name: str, path: Path) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # on a busy machine several wait for one another
    make, epochs, rate = NETWORKS[name]
    pixels, labels, order = _split()
    images, classes = torch.from_numpy(pixels[order][:, 0]), torch.from_numpy(labels[order])
    model, started = make(), time.perf_counter()
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01)
    steps = epochs * (TRAINED // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for epoch in range(epochs):
        model.train()
        for drawn in torch.randperm(TRAINED)[: TRAINED // BATCH * BATCH].split(BATCH):
            loss = cross_entropy(model(_shifted(images[drawn])), classes[drawn])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"{name}: epoch {epoch + 1} of {epochs}, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    model.eval()
    with torch.no_grad():
        right = (model(images[TRAINED:]).argmax(1) == classes[TRAINED:]).float().mean()
    print(f"{name}: {right:.4f} of the digits that it was not trained on", file=sys.stderr)
    made = path.with_suffix(".part")
    torch.onnx.export(
        model, (images[:1],), str(made), input_names=["image"], output_names=["logits"], external_data=False
    )
    made.replace(path)


def _shifted(images: Any) -> Any:
    """All of a batch, moved by up to two pixels, as few digits are."""
    import torch

    down, right = torch.randint(-2, 3, (2,)).tolist()
    return torch.roll(images, (down, right), (2, 3))
