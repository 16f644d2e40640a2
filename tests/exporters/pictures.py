"""Networks whose output has places: U-Net, a detector with distributed boxes, a reader of lines of text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.exporters.classics import conv


class UNet(nn.Module):
    """https://arxiv.org/abs/1505.04597 with padded convolutions."""

    def __init__(self, classes: int = 4, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        sources = (3, *widths)
        self.down = nn.ModuleList(self.pair(a, b) for a, b in zip(sources, widths, strict=False))
        turns = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in turns)
        self.join = nn.ModuleList(self.pair(2 * b, b) for _, b in turns)
        self.pool, self.head = nn.MaxPool2d(2), nn.Conv2d(widths[0], classes, 1)

    @staticmethod
    def pair(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(conv(inputs, outputs), conv(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        passed = []
        for index, block in enumerate(self.down):
            x = block(self.pool(x) if index else x)
            passed.append(x)
        for up, join, beside in zip(self.up, self.join, passed[-2::-1], strict=True):
            x = join(torch.cat([beside, up(x)], 1))
        return self.head(x)


class Stage(nn.Module):
    """Split in halves, residual blocks on one, all intermediate ones joined."""

    def __init__(self, inputs: int, outputs: int, count: int = 1, *, residual: bool = True) -> None:
        super().__init__()
        self.width, self.residual = outputs // 2, residual
        self.first = conv(inputs, outputs, 1, act=nn.SiLU)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(conv(self.width, self.width, act=nn.SiLU) for _ in range(2))) for _ in range(count)
        )
        self.last = conv((2 + count) * self.width, outputs, 1, act=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            y = block(parts[-1])
            parts.append(parts[-1] + y if self.residual else y)
        return self.last(torch.cat(parts, 1))


class PyramidPool(nn.Module):
    """Three poolings in a row, all joined."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.pool = conv(width, width // 2, 1, act=nn.SiLU), nn.MaxPool2d(5, 1, 2)
        self.last = conv(2 * width, width, 1, act=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Head(nn.Module):
    """Sides of boxes as expectations of distributions (https://arxiv.org/abs/2006.04388), and class scores."""

    BINS = 16

    def __init__(self, classes: int, widths: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.classes, self.strides = classes, strides
        self.boxes = nn.ModuleList(self.branch(width, 4 * self.BINS) for width in widths)
        self.scores = nn.ModuleList(self.branch(width, classes) for width in widths)
        self.expect = nn.Conv2d(self.BINS, 1, 1, bias=False)

    @staticmethod
    def branch(width: int, outputs: int) -> nn.Module:
        return nn.Sequential(
            conv(width, width, act=nn.SiLU), conv(width, width, act=nn.SiLU), nn.Conv2d(width, outputs, 1)
        )

    def anchors(self, sides: list[int], like: Tensor) -> tuple[Tensor, Tensor]:
        points, strides = [], []
        for side, stride in zip(sides, self.strides, strict=True):
            line = torch.arange(side, device=like.device, dtype=like.dtype) + 0.5
            rows, columns = torch.meshgrid(line, line, indexing="ij")
            points.append(torch.stack((columns, rows), -1).view(-1, 2))
            strides.append(torch.full((side**2, 1), stride, dtype=like.dtype))
        return torch.cat(points).transpose(0, 1), torch.cat(strides).transpose(0, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        outputs = 4 * self.BINS + self.classes
        maps = [torch.cat((self.boxes[i](x), self.scores[i](x)), 1) for i, x in enumerate(levels)]
        joined = torch.cat([x.view(x.shape[0], outputs, -1) for x in maps], 2)
        boxes, scores = joined.split((4 * self.BINS, self.classes), 1)
        batch, _, count = boxes.shape
        sides = self.expect(boxes.view(batch, 4, self.BINS, count).transpose(2, 1).softmax(1)).view(batch, 4, count)
        anchors, strides = self.anchors([x.shape[-1] for x in levels], boxes)
        start, end = sides.chunk(2, 1)
        start, end = anchors[None] - start, anchors[None] + end
        boxes = torch.cat(((start + end) / 2, end - start), 1) * strides
        return torch.cat((boxes, scores.sigmoid()), 1)


class Detector(nn.Module):
    """A small detector in the manner of YOLOv8: three strides, a neck down and up, the head above."""

    def __init__(self, classes: int = 20, width: int = 16) -> None:
        super().__init__()
        w1, w2, w3, w4 = (width * factor for factor in (1, 2, 4, 8))
        self.stem = nn.Sequential(conv(3, w1, 3, 2, act=nn.SiLU), conv(w1, w1, 3, 2, act=nn.SiLU), Stage(w1, w1))
        self.eighth = nn.Sequential(conv(w1, w2, 3, 2, act=nn.SiLU), Stage(w2, w2, 2))
        self.sixteenth = nn.Sequential(conv(w2, w3, 3, 2, act=nn.SiLU), Stage(w3, w3, 2))
        self.last = nn.Sequential(conv(w3, w4, 3, 2, act=nn.SiLU), Stage(w4, w4), PyramidPool(w4))
        self.grow = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.up = nn.ModuleList([Stage(w4 + w3, w3, residual=False), Stage(w3 + w2, w2, residual=False)])
        self.shrink = nn.ModuleList([conv(w2, w2, 3, 2, act=nn.SiLU), conv(w3, w3, 3, 2, act=nn.SiLU)])
        self.down = nn.ModuleList([Stage(w2 + w3, w3, residual=False), Stage(w3 + w4, w4, residual=False)])
        self.head = Head(classes, (w2, w3, w4), (8, 16, 32))

    def forward(self, image: Tensor) -> Tensor:
        eighth = self.eighth(self.stem(image))
        sixteenth = self.sixteenth(eighth)
        last = self.last(sixteenth)
        middle = self.up[0](torch.cat([self.grow(last), sixteenth], 1))
        near = self.up[1](torch.cat([self.grow(middle), eighth], 1))
        middle = self.down[0](torch.cat([self.shrink[0](near), middle], 1))
        far = self.down[1](torch.cat([self.shrink[1](middle), last], 1))
        return self.head([near, middle, far])


class CRNN(nn.Module):
    """Columns of a line of text, read both ways (https://arxiv.org/abs/1507.05717)."""

    def __init__(self, letters: int = 37, hidden: int = 64) -> None:
        super().__init__()
        self.columns = nn.Sequential(
            *(conv(1, 32), nn.MaxPool2d(2), conv(32, 64), nn.MaxPool2d(2)),
            *(conv(64, 128), conv(128, 128), nn.MaxPool2d((2, 1)), conv(128, 256), nn.MaxPool2d((2, 1))),
            conv(256, 256, 2, 1, 0),
        )
        self.read = nn.LSTM(256, hidden, 2, bidirectional=True)
        self.head = nn.Linear(2 * hidden, letters)

    def forward(self, line: Tensor) -> Tensor:
        x = self.columns(line).squeeze(2).permute(2, 0, 1)
        return self.head(self.read(x)[0]).log_softmax(-1)
