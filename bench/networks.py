"""Networks made up for measuring: as many nodes, or as many bytes, as are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import ir

__all__ = ["many_bytes", "many_nodes"]

CHANNELS = 32
SIDE = 16
DATA = "large.weights"


class _Cnn:
    """Blocks of convolutional networks on tensors of 1 x CHANNELS x SIDE x SIDE, weights from one seed."""

    def __init__(self) -> None:
        self.build = Builder.new("network")
        self.random = np.random.default_rng(0)
        self.nodes = 0

    def op(self, op_type: str, *inputs: ir.Value, **attributes: object) -> ir.Value:
        self.nodes += 1
        return self.build(op_type, *inputs, **attributes)

    def weights(self, *shape: int) -> ir.Value:
        scale = np.sqrt(1.0 / max(int(np.prod(shape[1:])), 1))
        return self.build.constant((self.random.standard_normal(shape) * scale).astype(np.float32), "weights")

    def ints(self, *values: int) -> ir.Value:
        return self.build.constant(np.array(values, np.int64), "argument")

    def conv(self, x: ir.Value, inside: int, out: int, kernel: int, group: int = 1) -> ir.Value:
        """Convolution, batch normalisation, ReLU."""
        x = self.op(
            "Conv",
            x,
            self.weights(out, inside // group, kernel, kernel),
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
            group=group,
        )
        ones, zeros = (self.build.constant(np.full(out, value, np.float32), "statistic") for value in (1.0, 0.0))
        x = self.op("BatchNormalization", x, ones, zeros, zeros, ones)
        return self.op("Relu", x)

    def residual(self, x: ir.Value) -> ir.Value:
        """An inverted residual: 1x1, depthwise 3x3, 1x1, Add."""
        y = self.conv(x, CHANNELS, 2 * CHANNELS, 1)
        y = self.conv(y, 2 * CHANNELS, 2 * CHANNELS, 3, 2 * CHANNELS)
        return self.op("Add", x, self.conv(y, 2 * CHANNELS, CHANNELS, 1))

    def excite(self, x: ir.Value) -> ir.Value:
        """Squeeze and excitation, as dense layers between reshapes."""
        y = self.op("GlobalAveragePool", x)
        y = self.op("Flatten", y, axis=1)
        y = self.op("Relu", self.op("MatMul", y, self.weights(CHANNELS, 8)))
        y = self.op("Sigmoid", self.op("MatMul", y, self.weights(8, CHANNELS)))
        y = self.op("Unsqueeze", y, self.ints(2, 3))
        return self.op("Mul", x, y)

    def branches(self, x: ir.Value) -> ir.Value:
        """Split, one half convolved, Concat."""
        self.nodes += 1
        half = CHANNELS // 2
        one, other = self.build("Split", x, self.ints(half, half), outputs=2, axis=1)
        return self.op("Concat", self.conv(one, half, half, 3), other, axis=1)

    def shuffle(self, x: ir.Value) -> ir.Value:
        """ShuffleNet's: channels in two groups, interleaved."""
        y = self.op("Reshape", x, self.ints(1, 2, CHANNELS // 2, SIDE, SIDE))
        y = self.op("Transpose", y, perm=[0, 2, 1, 3, 4])
        return self.op("Reshape", y, self.ints(1, CHANNELS, SIDE, SIDE))

    def tokens(self, x: ir.Value) -> ir.Value:
        """A dense layer over pixels as tokens, and back."""
        y = self.op("Reshape", x, self.ints(1, CHANNELS, SIDE * SIDE))
        y = self.op("Transpose", y, perm=[0, 2, 1])
        y = self.op("Add", self.op("MatMul", y, self.weights(CHANNELS, CHANNELS)), self.weights(CHANNELS))
        y = self.op("Transpose", y, perm=[0, 2, 1])
        return self.op("Reshape", y, self.ints(1, CHANNELS, SIDE, SIDE))


def many_nodes(count: int) -> ir.Model:
    """A convolutional network of `count` nodes or a few more, with all that such networks are made of."""
    net = _Cnn()
    x = net.build.input("x", (1, CHANNELS, SIDE, SIDE))
    skip = x
    blocks = (net.residual, net.excite, net.branches, net.shuffle, net.residual, net.tokens)
    turn = 0
    while net.nodes < count - 1:
        x = blocks[turn % len(blocks)](x)
        turn += 1
        if turn % 12 == 0:  # a long skip connection
            x = net.op("Add", x, skip)
            skip = x
    x = net.op("ReduceMean", x, net.ints(2, 3), keepdims=0)
    x.name = "y"
    x.type, x.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([1, CHANNELS])
    return net.build.finish([x])


def many_bytes(folder: Path, *, count: int = 24, width: int = 5793) -> tuple[Path, int]:
    """A network of `count` large layers whose weights, 4 x width^2 bytes each, lie in a file beside it.

    Dense layers in ONNX's and in PyTorch's order of weights, 1x1 convolutions and batch normalisations behind some of
    them: none of the weights can be copied as they are but those of the second kind.

    Returns:
        The path, and the bytes of the largest weight.
    """
    build = Builder.new("large")
    random = np.random.default_rng(0)
    x: ir.Value = build.input("x", (1, width))
    weights = []
    for index in range(count):
        shape = (width, width) if index % 3 != 2 else (width, width, 1, 1)
        weight = ir.Value(name=f"w{index}", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))
        place = ir.ExternalTensor(
            DATA,
            index * width * width * 4,
            width * width * 4,
            ir.DataType.FLOAT,
            shape=ir.Shape(shape),
            name=f"w{index}",
        )
        weight.const_value = place
        build.graph.register_initializer(weight)
        weights.append(weight)
        if index % 3 == 0:
            x = build("MatMul", x, weight)
        elif index % 3 == 1:
            bias = build.constant(random.standard_normal(width).astype(np.float32), "bias")
            x = build("Gemm", x, weight, bias, transB=1)
        else:
            x = build("Reshape", x, build.constant(np.array([1, width, 1, 1], np.int64), "shape"))
            x = build("Conv", x, weight, kernel_shape=[1, 1])
            scale, offset = (build.constant(random.uniform(0.5, 1, width).astype(np.float32)) for _ in range(2))
            zeros, ones = (build.constant(np.full(width, value, np.float32)) for value in (0.0, 1.0))
            x = build("BatchNormalization", x, scale, offset, zeros, ones)
            x = build("Flatten", x, axis=1)
        x = build("Relu", x)
    x.name = "y"
    x.type, x.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([1, width])
    with (folder / DATA).open("wb") as file:
        for _ in range(count):
            file.write((random.standard_normal((width, width), np.float32) * np.float32(width**-0.5)).data)
    path = folder / "large.onnx"
    path.write_bytes(ir.to_proto(build.finish([x])).SerializeToString())
    return path, width * width * 4
