"""Operators as cases, written once and run through every flow: decomposed, written as TFLite, quantised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import Model, Provenance, ir
from narrowcast.passes.infer import infer_shapes


@dataclass(frozen=True)
class OpCase:
    """A small graph around one operator.

    Attributes:
        name: unique; the operator and what is special.
        build: from a builder and the inputs to the outputs.
        shapes: of the inputs.
        why: why this case exists, where the name does not say.
        integer: whether an int8 version of it is expected to compute in integers.
        positive: whether inputs are positive.
        smooth: whether a small error of the input makes a small error of the output.
    """

    name: str
    build: Callable[..., ir.Value | tuple[ir.Value, ...]]
    shapes: tuple[tuple[int, ...], ...] = ((1, 4, 6, 6),)
    why: str = ""
    integer: bool = True
    positive: bool = False
    smooth: bool = True

    def model(self) -> Model:
        """The case as a model whose shapes are inferred."""
        build = Builder.new(self.name.replace(" ", "_"))
        inputs = [build.input(f"x{i}", shape) for i, shape in enumerate(self.shapes)]
        outputs = self.build(build, *inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        model = Model(build.finish(list(outputs)), provenance=Provenance(format="test"))
        infer_shapes(model)
        return model

    def feed(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Seeded inputs."""
        random = np.random.default_rng(seed)
        feed = {}
        for i, shape in enumerate(self.shapes):
            values = random.normal(size=shape).astype(np.float32)
            feed[f"x{i}"] = np.abs(values) + 0.1 if self.positive else values
        return feed


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Seeded weights whose channels differ in range."""
    random = np.random.default_rng(seed)
    scale = np.exp(random.normal(size=(shape[0], *(1,) * (len(shape) - 1))))
    return (random.normal(size=shape) * scale * 0.3).astype(np.float32)


def unary(op_type: str, name: str = "", **options) -> OpCase:
    """One input, one output."""
    case = {key: options.pop(key) for key in ("integer", "positive", "shapes", "why", "smooth") if key in options}
    return OpCase(name or op_type, lambda b, x: b(op_type, x, **options), **case)


def binary(op_type: str, constant: np.ndarray | None = None, name: str = "", **options) -> OpCase:
    """Two activations, or one and a constant."""
    if constant is not None:
        return OpCase(name or f"{op_type} constant", lambda b, x: b(op_type, x, b.constant(constant)), **options)
    shapes = options.pop("shapes", ((1, 4, 6, 6), (1, 4, 6, 6)))
    return OpCase(name or op_type, lambda b, x, y: b(op_type, x, y), shapes, **options)


def conv(name: str, weights_shape: tuple[int, ...], bias: bool = True, shapes=((1, 4, 7, 8),), **attributes) -> OpCase:
    """A convolution with constant weights."""

    def build(b, x):
        inputs = [x, b.constant(weights(*weights_shape))]
        if bias:
            inputs.append(b.constant(weights(weights_shape[0], seed=1)))
        return b("Conv", *inputs, **attributes)

    return OpCase(name, build, shapes)


def transpose_conv(name: str, weights_shape: tuple[int, ...], shapes=((1, 4, 5, 6),), **attributes) -> OpCase:
    """A transposed convolution with constant weights [in, out / group, ...] and a bias."""
    channels = weights_shape[1] * attributes.get("group", 1)

    def build(b, x):
        return b(
            "ConvTranspose", x, b.constant(weights(*weights_shape)), b.constant(weights(channels, seed=1)), **attributes
        )

    return OpCase(name, build, shapes)


def with_ints(op_type: str, *arguments, name: str = "", shapes=((1, 4, 6, 6),), **options) -> OpCase:
    """An operator with constant integer arguments."""
    case = {key: options.pop(key) for key in ("integer", "positive", "why") if key in options}

    def build(b, x):
        made = [
            None if a is None else b.constant(np.asarray(a, np.float32 if isinstance(a, float) else np.int64))
            for a in arguments
        ]
        return b(op_type, x, *made, **options)

    return OpCase(name or op_type, build, shapes, **case)


def activated(name: str, activation, base: OpCase) -> OpCase:
    """A case followed by an activation that fuses."""
    return OpCase(name, lambda b, *inputs: activation(b, base.build(b, *inputs)), base.shapes)


def _relu6(b, x):
    return b("Clip", x, b.constant(np.float32(0)), b.constant(np.float32(6)))


def recurrent(
    kind: str, gates: int, name: str = "", outputs: tuple[int, ...] = (0,), states: bool = False, **attributes
) -> OpCase:
    """A recurrent operator over 5 steps of 3 features, 4 units."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    shapes = ((5, 1, 3), (directions, 1, 4)) if states else ((5, 1, 3),)

    def build(b, x, state=None):
        inputs = [
            x,
            b.constant(weights(directions, gates * 4, 3)),
            b.constant(weights(directions, gates * 4, 4, seed=1)),
            b.constant(weights(directions, 2 * gates * 4, seed=2)),
        ]
        if state is not None:
            inputs += [None, state]
        made = b(kind, *inputs, outputs=3 if kind == "LSTM" else 2, hidden_size=4, **attributes)
        return tuple(made[i] for i in outputs)

    return OpCase(name or f"{kind} {attributes.get('direction', 'forward')}", build, shapes, integer=False)


SPATIAL = [
    conv("Conv valid", (5, 4, 3, 3)),
    conv("Conv same odd", (5, 4, 3, 3), pads=[1, 1, 1, 1]),
    conv("Conv same stride 2 even", (5, 4, 3, 3), shapes=((1, 4, 8, 8),), pads=[0, 0, 1, 1], strides=[2, 2]),
    conv("Conv torch stride 2", (5, 4, 3, 3), shapes=((1, 4, 8, 8),), pads=[1, 1, 1, 1], strides=[2, 2]),
    conv("Conv uneven pads", (5, 4, 3, 2), pads=[2, 0, 1, 1]),
    conv("Conv dilated", (5, 4, 3, 3), dilations=[2, 2], pads=[2, 2, 2, 2]),
    conv("Conv without bias", (5, 4, 1, 1), bias=False),
    conv("Conv depthwise", (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    conv("Conv depthwise multiplier", (8, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    conv("Conv depthwise dilated", (4, 1, 3, 3), group=4, dilations=[2, 2], pads=[2, 2, 2, 2]),
    conv("Conv grouped", (6, 2, 3, 3), group=2, pads=[1, 1, 1, 1]),
    conv("Conv one channel", (3, 1, 3, 3), shapes=((1, 1, 7, 7),)),
    conv("Conv one to one channel", (1, 1, 3, 3), shapes=((1, 1, 7, 7),)),
    conv("Conv 1-D", (5, 4, 3), shapes=((1, 4, 9),), pads=[1, 1], strides=[2]),
    conv("Conv auto_pad", (5, 4, 3, 3), auto_pad="SAME_LOWER", strides=[2, 2]),
    transpose_conv("ConvTranspose valid", (4, 3, 3, 3), strides=[2, 2]),
    transpose_conv("ConvTranspose same", (4, 3, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1]),
    transpose_conv("ConvTranspose cropped", (4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    transpose_conv(
        "ConvTranspose output padding", (4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    transpose_conv("ConvTranspose padding past windows", (4, 3, 2, 2), strides=[3, 3], output_padding=[1, 1]),
    transpose_conv("ConvTranspose groups", (4, 3, 3, 3), group=2, strides=[2, 2]),
    transpose_conv("ConvTranspose dilated", (4, 3, 2, 2), dilations=[2, 2]),
    transpose_conv("ConvTranspose 1-D", (4, 3, 3), shapes=((1, 4, 6),), strides=[2]),
    unary("MaxPool", "MaxPool valid", kernel_shape=[2, 2], strides=[2, 2]),
    unary("MaxPool", "MaxPool same", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    unary("MaxPool", "MaxPool uneven", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    unary("MaxPool", "MaxPool ceil", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    unary("AveragePool", "AveragePool valid", kernel_shape=[2, 2], strides=[2, 2]),
    unary("AveragePool", "AveragePool same", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    unary("AveragePool", "AveragePool counted", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    unary("AveragePool", "AveragePool uneven", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    unary("AveragePool", "AveragePool ceil", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, shapes=((1, 4, 7, 8),)),
    unary("GlobalAveragePool"),
    unary("GlobalMaxPool"),
    unary("DepthToSpace", "DepthToSpace DCR", blocksize=2),
    unary("DepthToSpace", "DepthToSpace CRD", blocksize=2, mode="CRD", shapes=((1, 8, 3, 3),)),
    unary("SpaceToDepth", blocksize=2),
    with_ints(
        "Resize",
        None,
        None,
        [1, 4, 12, 12],
        name="Resize nearest",
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    with_ints("Resize", None, None, [1, 4, 12, 18], name="Resize nearest half pixel", mode="nearest"),
    with_ints("Resize", None, None, [1, 4, 9, 13], name="Resize nearest odd", mode="nearest"),
    with_ints("Resize", None, None, [1, 4, 12, 9], name="Resize linear", mode="linear"),
    with_ints(
        "Resize",
        None,
        None,
        [1, 4, 11, 9],
        name="Resize align corners",
        mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    with_ints("Resize", None, None, [1, 4, 11, 9], name="Resize cubic", mode="cubic", integer=False),
    with_ints("Resize", None, None, [1, 4, 3, 3], name="Resize antialias", mode="linear", antialias=1, integer=False),
    activated("Conv relu6", _relu6, conv("", (5, 4, 3, 3))),
    activated("Conv relu", lambda b, x: b("Relu", x), conv("", (4, 1, 3, 3), group=4)),
]
ELEMENTWISE = [
    *(unary(op) for op in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Elu")),
    *(unary(op, integer=False) for op in ("Abs", "Neg", "Exp", "Sin", "Cos")),
    *(unary(op, integer=False, smooth=False) for op in ("Floor", "Ceil", "Sign", "Round", "Tan")),
    *(unary(op, integer=False, positive=True) for op in ("Log", "Sqrt", "Reciprocal")),
    *(
        unary(op, integer=False)
        for op in ("Mish", "Softplus", "Softsign", "Selu", "HardSigmoid", "Celu", "ThresholdedRelu", "Sinh")
    ),
    unary("LeakyRelu", alpha=0.2),
    unary("Elu", "Elu alpha", alpha=0.5, integer=False),
    unary("Gelu", "Gelu erf"),
    unary("Gelu", "Gelu tanh", approximate="tanh"),
    *(binary(op) for op in ("Add", "Sub", "Mul", "Max", "Min")),
    binary("Div", integer=False, positive=True),
    binary("Add", weights(4, 1, 1), "Add channel constant"),
    binary("Mul", weights(6), "Mul width constant"),
    binary("Sub", weights(1, 4, 6, 6), "Sub full constant"),
    binary("Mul", shapes=((1, 4, 6, 6), (1, 4, 1, 1)), name="Mul squeeze and excite"),
    binary("PRelu", weights(4, 1, 1), "PRelu"),
    OpCase("Clip 0..6", _relu6),
    OpCase("Clip -1..1", lambda b, x: b("Clip", x, b.constant(np.float32(-1)), b.constant(np.float32(1)))),
    OpCase("Clip odd bounds", lambda b, x: b("Clip", x, b.constant(np.float32(-0.5)), b.constant(np.float32(0.7)))),
    OpCase("Sum of three", lambda b, x, y, z: b("Sum", x, y, z), ((1, 4, 3, 3),) * 3),
    OpCase("Max of three", lambda b, x, y, z: b("Max", x, y, z), ((1, 4, 3, 3),) * 3),
    OpCase("Where", lambda b, x, y: b("Where", b("Greater", x, y), x, y), ((1, 4, 3, 3),) * 2, integer=False),
]
SHAPES = [
    OpCase("Concat channels", lambda b, x, y: b("Concat", x, y, axis=1), ((1, 4, 3, 3), (1, 2, 3, 3))),
    OpCase("Split channels", lambda b, x: b("Split", x, outputs=2, axis=1, num_outputs=2)),
    OpCase("Split unequal", lambda b, x: b("Split", x, b.constant(np.array([1, 3])), outputs=2, axis=1)),
    unary("Transpose", perm=[0, 2, 3, 1]),
    unary("Transpose", "Transpose odd", perm=[0, 3, 1, 2]),
    with_ints("Reshape", [1, 12, 12]),
    unary("Flatten"),
    with_ints("Squeeze", [0]),
    with_ints("Unsqueeze", [2], shapes=((1, 4, 6),)),
    with_ints("Slice", [1], [3], [1], name="Slice channels"),
    with_ints("Slice", [0], [6], [2], [2], name="Slice stride 2"),
    with_ints("Slice", [-1], [-7], [3], [-1], name="Slice backwards"),
    with_ints("Pad", [0, 0, 1, 2, 0, 0, 0, 1], name="Pad zeros"),
    with_ints("Pad", [0, 1, 0, 0, 0, 0, 0, 0], 1.5, name="Pad number"),
    with_ints("Pad", [0, 0, 1, 1, 0, 0, 1, 1], name="Pad reflect", mode="reflect"),
    with_ints("Gather", [3, 0, 2], name="Gather channels", axis=1),
    with_ints("Gather", 2, name="Gather one", axis=2),
    with_ints("Tile", [1, 1, 2, 1]),
    with_ints("Expand", [1, 4, 6, 6], shapes=((1, 4, 1, 6),)),
    OpCase(
        "Channel shuffle",
        lambda b, x: b(
            "Reshape",
            b("Transpose", b("Reshape", x, b.constant(np.array([1, 2, 2, 6, 6]))), perm=[0, 2, 1, 3, 4]),
            b.constant(np.array([1, 4, 6, 6])),
        ),
    ),
]
REDUCTIONS = [
    *(with_ints(f"Reduce{kind}", [2, 3], name=f"Reduce{kind} maps") for kind in ("Mean", "Max", "Min")),
    with_ints("ReduceSum", [2, 3]),
    with_ints("ReduceMean", [1], name="ReduceMean channels", keepdims=0),
    *(with_ints(f"Reduce{kind}", [2, 3], integer=False) for kind in ("L1", "L2", "SumSquare", "LogSumExp", "Prod")),
    with_ints("ReduceLogSum", [2, 3], integer=False, positive=True),
    unary("Softmax", axis=1),
    unary("Softmax", "Softmax last", shapes=((1, 10),), axis=-1),
    unary("Softmax", "Softmax height", axis=2),
    unary("LogSoftmax", axis=1, integer=False),
    unary("LpNormalization", axis=1),
    unary("LpNormalization", "LpNormalization L1", axis=2, p=1, integer=False),
    unary("ArgMax", axis=1, keepdims=0),
    unary("ArgMax", "ArgMax keepdims", axis=1),
    unary("ArgMin", axis=1, keepdims=0),
    with_ints("CumSum", 2, integer=False),
]
LAYERS = [
    OpCase(
        "Gemm",
        lambda b, x: b("Gemm", x, b.constant(weights(5, 8)), b.constant(weights(5, seed=1)), transB=1),
        ((1, 8),),
    ),
    OpCase(
        "Gemm alpha beta",
        lambda b, x: b("Gemm", x, b.constant(weights(8, 5)), b.constant(weights(5, seed=1)), alpha=0.5, beta=2.0),
        ((1, 8),),
    ),
    OpCase("MatMul constant", lambda b, x: b("MatMul", x, b.constant(weights(8, 5))), ((1, 8),)),
    OpCase(
        "MatMul rank 3 and bias",
        lambda b, x: b("Add", b("MatMul", x, b.constant(weights(8, 5))), b.constant(weights(5, seed=1))),
        ((1, 7, 8),),
    ),
    OpCase("MatMul activations", lambda b, x, y: b("MatMul", x, y), ((1, 2, 5, 8), (1, 2, 8, 5))),
    OpCase(
        "MatMul activations relu",
        lambda b, x, y: b("Relu", b("MatMul", x, y)),
        ((1, 5, 8), (1, 8, 5)),
        why="BATCH_MATMUL fuses nothing",
    ),
    OpCase(
        "BatchNormalization",
        lambda b, x: b("BatchNormalization", x, *(b.constant(np.abs(weights(4, seed=i)) + 0.1) for i in range(4))),
    ),
    OpCase(
        "LayerNormalization",
        lambda b, x: b("LayerNormalization", x, b.constant(weights(8)), b.constant(weights(8, seed=1))),
        ((1, 5, 8),),
        integer=False,
    ),
    OpCase(
        "RMSNormalization", lambda b, x: b("RMSNormalization", x, b.constant(weights(8))), ((1, 5, 8),), integer=False
    ),
    OpCase(
        "InstanceNormalization",
        lambda b, x: b("InstanceNormalization", x, b.constant(weights(4)), b.constant(weights(4, seed=1))),
        integer=False,
    ),
    OpCase(
        "GroupNormalization",
        lambda b, x: b("GroupNormalization", x, b.constant(weights(4)), b.constant(weights(4, seed=1)), num_groups=2),
        integer=False,
    ),
    OpCase(
        "Flatten dense",
        lambda b, x: b(
            "Gemm", b("Flatten", b("Conv", x, b.constant(weights(3, 4, 3, 3)))), b.constant(weights(5, 48)), transB=1
        ),
    ),
    recurrent("LSTM", 4),
    recurrent("LSTM", 4, direction="reverse"),
    recurrent("LSTM", 4, direction="bidirectional", outputs=(0, 1, 2)),
    recurrent("LSTM", 4, "LSTM with state", outputs=(1, 2), states=True),
    recurrent("GRU", 3),
    recurrent("GRU", 3, "GRU reset after", linear_before_reset=1, outputs=(0, 1)),
    recurrent("GRU", 3, "GRU reset after with state", linear_before_reset=1, outputs=(0, 1), states=True),
    recurrent("GRU", 3, direction="bidirectional"),
    recurrent("RNN", 1),
]


def between(base: OpCase) -> OpCase:
    """A case between two sums: what only moves numbers is integer where its neighbours are, whatever the ports are."""

    def build(b, *inputs):
        made = base.build(b, *(b("Add", x, x) for x in inputs))
        return b("Add", made, made)

    return OpCase(f"{base.name} between sums", build, base.shapes)


MOVED = ("MaxPool valid", "Resize nearest", "Gather channels", "Expand", "ReduceMin maps")
CASES = [*SPATIAL, *ELEMENTWISE, *SHAPES, *REDUCTIONS, *LAYERS]
CASES += [between(case) for case in CASES if case.name in MOVED]
