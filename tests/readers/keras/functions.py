"""Functions applied to tensors outside of layers: each a case of its own, of one image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cases import ONLY2, ONLY3, Case

TENSORFLOW: dict[str, Callable[[Any, Any], Any]] = {
    "resize": lambda tf, x: tf.image.resize(x, (9, 11)),
    "resize_nearest": lambda tf, x: tf.image.resize(x, (9, 5), method="nearest"),
    "resize_v1": lambda tf, x: tf.compat.v1.image.resize_bilinear(x, (9, 11)),
    "resize_v1_corners": lambda tf, x: tf.compat.v1.image.resize_bilinear(x, (9, 11), align_corners=True),
    "resize_v1_nearest": lambda tf, x: tf.compat.v1.image.resize_nearest_neighbor(x, (9, 16)),
    "pad": lambda tf, x: tf.pad(x, [[0, 0], [1, 2], [2, 1], [0, 1]], constant_values=2.0),
    "pad_reflect": lambda tf, x: tf.pad(x, [[0, 0], [1, 2], [5, 1], [0, 0]], mode="REFLECT"),
    "pad_symmetric": lambda tf, x: tf.pad(x, [[0, 0], [6, 2], [0, 1], [0, 0]], mode="SYMMETRIC"),
    "where": lambda tf, x: tf.where(x > 0.0, x, tf.zeros_like(x)),
    "where_number": lambda tf, x: tf.where(tf.abs(x) <= 0.5, x, 0.25) + tf.ones_like(x),
    "logic": lambda tf, x: tf.cast(tf.logical_or(x > 1.0, tf.logical_not(x >= -1.0)), tf.float32),
    "any_all": lambda tf, x: tf.stack(
        [tf.cast(f(x > 0.0, axis=[1, 3]), tf.float32) for f in (tf.reduce_any, tf.reduce_all)], axis=1
    ),
    "l2_normalize": lambda tf, x: tf.math.l2_normalize(x, -1),
    "norm": lambda tf, x: tf.norm(x, axis=-1) + tf.norm(x, ord=1, axis=-1),
    "variance": lambda tf, x: tf.math.reduce_variance(x, [1, 2]) + tf.math.reduce_std(x, [1, 2]),
    "logsumexp": lambda tf, x: tf.math.reduce_logsumexp(x, -1, keepdims=True),
    "depth_to_space": lambda tf, x: tf.nn.depth_to_space(tf.concat([x, x * 2.0, x[..., :2]], -1), 2),
    "space_to_depth": lambda tf, x: tf.nn.space_to_depth(x, 2),
    "unstack": lambda tf, x: tf.unstack(x, axis=-1)[1],
    "tile": lambda tf, x: tf.tile(x, [1, 2, 1, 3]),
    "repeat": lambda tf, x: tf.repeat(x, 2, axis=1),
    "gather": lambda tf, x: tf.gather(x, [2, 0], axis=-1),
    "reverse": lambda tf, x: tf.reverse(x, [1, 3]),
    "roll": lambda tf, x: tf.roll(x, [1, -2], [1, 2]),
    "flips": lambda tf, x: tf.image.flip_left_right(x) + 2.0 * tf.image.flip_up_down(x),
    "slice": lambda tf, x: tf.slice(x, [0, 1, 2, 0], [-1, 3, -1, 2]),
    "strided_slice": lambda tf, x: tf.strided_slice(x, [0, 1], [0, 5], [1, 2], begin_mask=1, end_mask=1),
    "squared_difference": lambda tf, x: tf.math.squared_difference(x, 1.0),
    "argmax": lambda tf, x: tf.cast(tf.argmax(x, -1), tf.float32),
    "argmin": lambda tf, x: tf.cast(tf.argmin(x, 1, output_type=tf.int32), tf.float32),
    "one_hot": lambda tf, x: tf.one_hot(tf.argmax(x, -1), 4, on_value=2.0, off_value=-1.0),
    "top_k": lambda tf, x: tf.math.top_k(x, 2)[0],
    "cumsum": lambda tf, x: tf.cumsum(x, 1, exclusive=True) + tf.cumsum(x, 2, reverse=True),
    "floormod": lambda tf, x: x % 0.75 + x // 0.75,
    "logarithms": lambda tf, x: tf.math.log1p(tf.abs(x)) + tf.math.expm1(x),
    "divide_no_nan": lambda tf, x: tf.math.divide_no_nan(x, tf.nn.relu(x)),
    "add_n": lambda tf, x: tf.add_n([x, x, x]),
    "bias_add": lambda tf, x: tf.nn.bias_add(x, [1.0, 2.0, 3.0]) - [0.5, 0.25, 0.125],
    "pools": lambda tf, x: tf.nn.max_pool2d(x, 2, 2, "VALID") + tf.nn.avg_pool2d(x, [2, 2], [2, 2], "SAME"),
    "grey": lambda tf, x: tf.image.adjust_brightness(tf.image.rgb_to_grayscale(x), 0.1),
    "standardised": lambda tf, x: tf.image.per_image_standardization(x),
    "trigonometry": lambda tf, x: tf.tan(x) + tf.asin(tf.tanh(x)) + tf.sinh(x) * tf.cosh(x) + tf.atan(x),
    "matmul": lambda tf, x: tf.linalg.matrix_transpose(tf.matmul(x, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])),
    "shape": lambda tf, x: tf.reshape(x, (tf.shape(x)[0], -1)),
    "shape_stacked": lambda tf, x: tf.reshape(x, tf.stack([tf.shape(x)[0], 8, tf.shape(x)[3], 6])),
    "nothing": lambda tf, x: tf.identity(tf.stop_gradient(x)),
    "powers": lambda tf, x: 2.0**x + 1.0 / (x * x + 1.0),
}
KERAS: dict[str, Callable[[Any, Any], Any]] = {
    "pad": lambda ops, x: ops.pad(x, [[0, 0], [1, 2], [2, 1], [0, 0]], constant_values=2.0),
    "pad_reflect": lambda ops, x: ops.pad(x, [[0, 0], [1, 2], [2, 1], [0, 0]], mode="reflect"),
    "einsum": lambda ops, x: ops.einsum("bhwc,bhwd->bcd", x, x),
    "tile": lambda ops, x: ops.tile(x, [1, 2, 1, 3]),
    "take": lambda ops, x: ops.take(x, [2, 0], axis=-1),
    "flip": lambda ops, x: ops.flip(x, 1),
    "roll": lambda ops, x: ops.roll(x, 1, 1),
    "argmax": lambda ops, x: ops.cast(ops.argmax(x, -1), "float32"),
    "argmin": lambda ops, x: ops.cast(ops.argmin(x, 1, keepdims=True), "float32"),
    "one_hot": lambda ops, x: ops.one_hot(ops.argmax(x, -1), 4),
    "logarithms": lambda ops, x: ops.log1p(ops.abs(x)) + ops.expm1(x),
    "cumsum": lambda ops, x: ops.cumsum(x, 1),
    "repeat": lambda ops, x: ops.repeat(x, 2, axis=1),
    "logsumexp": lambda ops, x: ops.logsumexp(x, -1),
    "variance": lambda ops, x: ops.var(x, -1) + ops.std(x, -1, keepdims=False),
    "mod": lambda ops, x: x % 0.75 + x // 0.75,
    "top_k": lambda ops, x: ops.top_k(x, 2)[0],
    "unstack": lambda ops, x: ops.unstack(x, axis=-1)[1],
    "axes": lambda ops, x: ops.moveaxis(ops.swapaxes(x, 1, 3), 1, 2),
    "norm": lambda ops, x: ops.norm(x, axis=-1),
    "resize": lambda ops, x: ops.image.resize(x, (9, 11)),
    "pools": lambda ops, x: ops.max_pool(x, 2) + ops.average_pool(x, 2),
    "logic": lambda ops, x: ops.where(ops.logical_and(x > 0.0, ops.not_equal(x, 1.0)), x, ops.zeros_like(x)),
    "any_all": lambda ops, x: ops.cast(ops.any(x > 0.0, axis=(1, 3)), "float32"),
    "constant": lambda ops, x: ops.matmul(x + ops.convert_to_tensor([1.0, 2.0, 3.0]), ops.ones((3, 4))),
}


def _case(name: str, generation: int, function: Callable[[Any, Any], Any]) -> Case:
    def build(keras: Any) -> Any:
        if generation == 2:
            import tensorflow as library
        else:
            library = keras.ops
        x = keras.Input((6, 8, 3))
        return keras.Model(x, function(library, x))

    return Case(f"function{generation}_{name}", build, generations=ONLY2 if generation == 2 else ONLY3, formats=("h5",))


FUNCTIONS = [
    *(_case(name, 2, function) for name, function in TENSORFLOW.items()),
    *(_case(name, 3, function) for name, function in KERAS.items()),
]
