"""Convolutional classifiers of their papers' full depth: ResNet-50, DenseNet-121, Inception v3."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv(inputs: int, outputs: int, kernel=3, stride: int = 1, padding=None, groups: int = 1, act=nn.ReLU):
    """Convolution, batch normalisation, activation; padded to keep the size unless told otherwise."""
    if padding is None:
        padding = kernel // 2 if isinstance(kernel, int) else tuple(size // 2 for size in kernel)
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([act()] if act else []))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a way round (https://arxiv.org/abs/1512.03385)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            conv(inputs, width, 1), conv(width, width, 3, stride), conv(width, outputs, 1, act=None)
        )
        plain = stride == 1 and inputs == outputs
        self.short = nn.Identity() if plain else conv(inputs, outputs, 1, stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.short(x))


def resnet50(classes: int = 100) -> nn.Module:
    """50 layers."""
    layers: list[nn.Module] = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, count, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for index in range(count):
            layers.append(Bottleneck(inputs, width, first if index == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class DenseLayer(nn.Module):
    """Normalisation and activation before each convolution; the outcome is put beside what came in."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            conv(inputs, 4 * growth, 1),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], 1)


def densenet121(classes: int = 100) -> nn.Module:
    """https://arxiv.org/abs/1608.06993."""
    width, growth, blocks = 64, 32, (6, 12, 24, 16)
    layers: list[nn.Module] = [conv(3, width, 7, 2), nn.MaxPool2d(3, 2, 1)]
    for index, count in enumerate(blocks):
        layers += [DenseLayer(width + growth * i, growth) for i in range(count)]
        width += growth * count
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        if index + 1 < len(blocks):
            layers += [nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class Beside(nn.Module):
    """Branches whose outcomes are put beside one another."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _inception_a(inputs: int, pooled: int) -> nn.Module:
    return Beside(
        conv(inputs, 64, 1),
        nn.Sequential(conv(inputs, 48, 1), conv(48, 64, 5)),
        nn.Sequential(conv(inputs, 64, 1), conv(64, 96, 3), conv(96, 96, 3)),
        nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(inputs, pooled, 1)),
    )


def _inception_b(inputs: int) -> nn.Module:
    return Beside(
        conv(inputs, 384, 3, 2, 0),
        nn.Sequential(conv(inputs, 64, 1), conv(64, 96, 3), conv(96, 96, 3, 2, 0)),
        nn.MaxPool2d(3, 2),
    )


def _inception_c(inputs: int, width: int) -> nn.Module:
    row, column = (1, 7), (7, 1)
    return Beside(
        conv(inputs, 192, 1),
        nn.Sequential(conv(inputs, width, 1), conv(width, width, row), conv(width, 192, column)),
        nn.Sequential(
            conv(inputs, width, 1),
            conv(width, width, column),
            conv(width, width, row),
            conv(width, width, column),
            conv(width, 192, row),
        ),
        nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(inputs, 192, 1)),
    )


def _inception_d(inputs: int) -> nn.Module:
    return Beside(
        nn.Sequential(conv(inputs, 192, 1), conv(192, 320, 3, 2, 0)),
        nn.Sequential(conv(inputs, 192, 1), conv(192, 192, (1, 7)), conv(192, 192, (7, 1)), conv(192, 192, 3, 2, 0)),
        nn.MaxPool2d(3, 2),
    )


def _inception_e(inputs: int) -> nn.Module:
    def cross() -> nn.Module:
        return Beside(conv(384, 384, (1, 3)), conv(384, 384, (3, 1)))

    return Beside(
        conv(inputs, 320, 1),
        nn.Sequential(conv(inputs, 384, 1), cross()),
        nn.Sequential(conv(inputs, 448, 1), conv(448, 384, 3), cross()),
        nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(inputs, 192, 1)),
    )


def inception_v3(classes: int = 100) -> nn.Module:
    """https://arxiv.org/abs/1512.00567, without the classifier that only helps training."""
    return nn.Sequential(
        *(conv(3, 32, 3, 2, 0), conv(32, 32, 3, 1, 0), conv(32, 64), nn.MaxPool2d(3, 2)),
        *(conv(64, 80, 1), conv(80, 192, 3, 1, 0), nn.MaxPool2d(3, 2)),
        *(_inception_a(192, 32), _inception_a(256, 64), _inception_a(288, 64), _inception_b(288)),
        *(_inception_c(768, width) for width in (128, 160, 160, 192)),
        *(_inception_d(768), _inception_e(1280), _inception_e(2048)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, classes)),
    )
