"""Random small networks with every habit that upsets layouts: a list of choices in, a model out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import Model, ir


class Network:
    """Grows a graph by choices; each step picks tensors from a pool and puts its outputs back."""

    def __init__(self, seed: int, image: tuple[int, ...]) -> None:
        self.build = Builder.new("random")
        self.random = np.random.default_rng(seed)
        self.pool = [self.build.input("image", image)]

    def pick(self, test: Callable[[ir.Value], bool]) -> ir.Value | None:
        fitting = [value for value in self.pool if test(value)]
        return fitting[int(self.random.integers(len(fitting)))] if fitting else None

    def put(self, *values: ir.Value) -> None:
        self.pool.extend(values)

    def weights(self, *shape: int) -> ir.Value:
        return self.build.constant(self.random.normal(0, 0.5, shape).astype(np.float32), "weights")

    def ints(self, *values: int) -> ir.Value:
        return self.build.constant(np.array(values, np.int64), "ints")


def rank4(value: ir.Value) -> bool:
    return len(value.shape) == 4


def conv(net: Network) -> None:
    x = net.pick(rank4)
    n, c, h, w = x.shape
    out = int(net.random.choice([2, 4, 6]))
    net.put(net.build("Conv", x, net.weights(out, c, 1, 1), shape=(n, out, h, w), kernel_shape=[1, 1], pads=[0] * 4))


def pool(net: Network) -> None:
    x = net.pick(lambda value: rank4(value) and value.shape[2] >= 2 and value.shape[3] >= 2)
    if x is not None:
        n, c, h, w = x.shape
        net.put(
            net.build(
                "MaxPool", x, shape=(n, c, h // 2, w // 2), kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0]
            )
        )


def relu(net: Network) -> None:
    x = net.pick(lambda value: True)
    net.put(net.build("Relu", x, shape=x.shape))


def scale(net: Network) -> None:
    """A constant along one axis, of lower rank than the tensor."""
    x = net.pick(lambda value: True)
    axis = int(net.random.integers(len(x.shape)))
    shape = [x.shape[axis], *(1 for _ in x.shape[axis + 1 :])]
    net.put(net.build("Mul", x, net.weights(*shape), shape=x.shape))


def residual(net: Network) -> None:
    x = net.pick(lambda value: True)
    y = net.pick(lambda value: value.shape == x.shape)
    net.put(net.build("Add", x, y, shape=x.shape))


def concat(net: Network) -> None:
    x = net.pick(lambda value: True)
    axis = int(net.random.integers(len(x.shape)))
    y = net.pick(
        lambda value: (
            len(value.shape) == len(x.shape)
            and all(a == b for i, (a, b) in enumerate(zip(value.shape, x.shape, strict=True)) if i != axis)
        )
    )
    shape = list(x.shape)
    shape[axis] += y.shape[axis]
    net.put(net.build("Concat", x, y, shape=shape, axis=axis))


def split(net: Network) -> None:
    x = net.pick(lambda value: any(dim % 2 == 0 for dim in value.shape[1:]))
    if x is not None:
        axis = int(net.random.choice([i for i, dim in enumerate(x.shape) if i and dim % 2 == 0]))
        shape = list(x.shape)
        shape[axis] //= 2
        halves = net.build("Split", x, net.ints(shape[axis], shape[axis]), outputs=2, shape=shape, axis=axis)
        halves[1].shape, halves[1].type = ir.Shape(shape), halves[0].type
        net.put(*halves)


def pad(net: Network) -> None:
    x = net.pick(lambda value: len(value.shape) > 1)
    amounts = [0] * (2 * len(x.shape))
    axis = int(net.random.integers(1, len(x.shape)))
    amounts[axis] = 1
    shape = list(x.shape)
    shape[axis] += 1
    net.put(net.build("Pad", x, net.ints(*amounts), shape=shape))


def crop(net: Network) -> None:
    x = net.pick(lambda value: max(value.shape[1:]) > 1)
    if x is not None:
        axis = int(np.argmax(x.shape[1:])) + 1
        shape = list(x.shape)
        shape[axis] -= 1
        net.put(net.build("Slice", x, net.ints(1), net.ints(x.shape[axis]), net.ints(axis), net.ints(1), shape=shape))


def reduce(net: Network) -> None:
    x = net.pick(lambda value: len(value.shape) > 2)
    if x is not None:
        axis = int(net.random.integers(1, len(x.shape)))
        keep = bool(net.random.integers(2))
        shape = [1 if i == axis else dim for i, dim in enumerate(x.shape) if keep or i != axis]
        net.put(net.build("ReduceMean", x, net.ints(axis), shape=shape, keepdims=int(keep)))


def reduce_image(net: Network) -> None:
    """Over both spatial axes: what global pools become."""
    x = net.pick(rank4)
    keep = bool(net.random.integers(2))
    shape = [*x.shape[:2], *([1, 1] if keep else [])]
    kind = ("ReduceMean", "ReduceMax", "ReduceSum")[int(net.random.integers(3))]
    net.put(net.build(kind, x, net.ints(2, 3), shape=shape, keepdims=int(keep)))


def softmax(net: Network) -> None:
    x = net.pick(lambda value: len(value.shape) > 1)
    net.put(net.build("Softmax", x, shape=x.shape, axis=int(net.random.integers(1, len(x.shape)))))


def transpose(net: Network) -> None:
    x = net.pick(lambda value: len(value.shape) > 2)
    if x is not None:
        perms = {3: [(0, 2, 1)], 4: [(0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2)]}.get(len(x.shape), [])
        perms.append((0, *(1 + net.random.permutation(len(x.shape) - 1)).tolist()))
        perm = perms[int(net.random.integers(len(perms)))]
        net.put(net.build("Transpose", x, shape=[x.shape[i] for i in perm], perm=perm))


def reshape(net: Network) -> None:
    """Flattens, squeezes, splits an axis, or joins two."""
    x = net.pick(lambda value: True)
    shape = list(x.shape)
    choice = int(net.random.integers(4))
    axis = int(net.random.integers(1, len(shape))) if len(shape) > 1 else 0
    if choice == 0:
        shape = [shape[0], int(np.prod(shape[1:]))]
    elif choice == 1 and len(shape) < 5:
        shape.insert(axis, 1)
    elif choice == 2 and shape[axis] % 2 == 0 and len(shape) < 5:
        shape[axis : axis + 1] = [2, shape[axis] // 2]
    elif axis + 1 < len(shape):
        shape[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
    net.put(net.build("Reshape", x, net.ints(*shape), shape=shape))


def squeeze(net: Network) -> None:
    x = net.pick(lambda value: len(value.shape) > 2 and 1 in value.shape[1:])
    if x is not None:
        shape = list(x.shape)
        del shape[shape.index(1, 1)]
        net.put(net.build("Reshape", x, net.ints(*shape), shape=shape))


def unsqueeze(net: Network) -> None:
    x = net.pick(lambda value: len(value.shape) < 4)
    if x is not None:
        shape = list(x.shape)
        shape.insert(int(net.random.integers(1, len(shape) + 1)), 1)
        net.put(net.build("Reshape", x, net.ints(*shape), shape=shape))


def there_and_back(net: Network) -> None:
    """Transposes to channels last and back, with what exporters of other frameworks put between them."""
    x = net.pick(rank4)
    n, c, h, w = x.shape
    y = net.build("Transpose", x, shape=(n, h, w, c), perm=[0, 2, 3, 1])
    choice = int(net.random.integers(3))
    if choice == 0:
        y = net.build("Mul", y, net.weights(c), shape=(n, h, w, c))
    elif choice == 1:
        y = net.build("MatMul", y, net.weights(c, c), shape=(n, h, w, c))
    else:
        y = net.build("Softmax", y, shape=(n, h, w, c), axis=-1)
    if net.random.integers(2):
        net.put(y)
    net.put(net.build("Transpose", y, shape=(n, c, h, w), perm=[0, 3, 1, 2]))


def shuffle(net: Network) -> None:
    x = net.pick(lambda value: rank4(value) and value.shape[1] % 2 == 0)
    if x is not None:
        n, c, h, w = x.shape
        opened = net.build("Reshape", x, net.ints(n, 2, c // 2, h, w), shape=(n, 2, c // 2, h, w))
        turned = net.build("Transpose", opened, shape=(n, c // 2, 2, h, w), perm=[0, 2, 1, 3, 4])
        net.put(net.build("Reshape", turned, net.ints(n, c, h, w), shape=(n, c, h, w)))


def dense(net: Network) -> None:
    x = net.pick(lambda value: len(value.shape) == 2)
    if x is not None:
        weights, bias = net.weights(3, x.shape[1]), net.weights(3)
        net.put(net.build("Gemm", x, weights, bias, shape=(x.shape[0], 3), transB=1))


def flatten_to_dense(net: Network) -> None:
    x = net.pick(rank4)
    features = int(np.prod(x.shape[1:]))
    flat = net.build("Reshape", x, net.ints(x.shape[0], features), shape=(x.shape[0], features))
    net.put(net.build("Gemm", flat, net.weights(5, features), shape=(x.shape[0], 5), transB=1))


def dense_nd(net: Network) -> None:
    x = net.pick(lambda value: len(value.shape) > 2)
    if x is not None:
        shape = [*x.shape[:-1], 3]
        product = net.build("MatMul", x, net.weights(x.shape[-1], 3), shape=shape)
        net.put(net.build("Add", product, net.weights(3), shape=shape))


def gather(net: Network) -> None:
    x = net.pick(lambda value: len(value.shape) > 2)
    if x is not None:
        axis = int(net.random.integers(1, len(x.shape)))
        shape = [dim for i, dim in enumerate(x.shape) if i != axis]
        index = net.build.constant(np.array(x.shape[axis] - 1), "index")
        net.put(net.build("Gather", x, index, shape=shape, axis=axis))


STEPS = (
    conv,
    pool,
    relu,
    scale,
    residual,
    concat,
    split,
    pad,
    crop,
    reduce,
    softmax,
    transpose,
    reshape,
    shuffle,
    dense,
    dense_nd,
    gather,
    reduce_image,
    squeeze,
    unsqueeze,
    there_and_back,
    flatten_to_dense,
)


def network(seed: int, steps: list[int], image: tuple[int, ...] = (1, 4, 4, 6), outputs: int = 3) -> Model:
    """A model whose last `outputs` unread tensors are its outputs."""
    net = Network(seed, image)
    conv(net)
    for step in steps:
        STEPS[step % len(STEPS)](net)
    unread = [value for value in net.pool if not value.uses()]
    return Model(net.build.finish(unread[-outputs:]))


def quantised(model: Model, scale: float = 0.05) -> Model:
    """The model with every activation rounded to int8 by the same scale, in the canonical spelling."""
    graph = model.graph
    build = Builder(graph)
    step, zero = build.constant(np.float32(scale)), build.constant(np.int8(0))
    outputs = list(graph.outputs)
    values = [*graph.inputs, *(value for node in list(graph) for value in node.outputs)]
    for value in values:
        uses = list(value.uses())
        following = uses[0].node if len(uses) == 1 else None
        if following is not None and following.op_type == "Add" and value.producer().op_type == "MatMul":
            continue
        integers = build("QuantizeLinear", value, step, zero, shape=value.shape, dtype=np.int8)
        back = build("DequantizeLinear", integers, step, zero, shape=value.shape, dtype=np.float32)
        for use in uses:
            use.node.replace_input_with(use.idx, back)
        if value in outputs:
            graph.outputs[outputs.index(value)] = back
    graph.sort()
    return model
