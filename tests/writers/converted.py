"""Has TensorFlow's own converter write files, to compare operator versions with.

Run as `python -m tests.writers.converted FOLDER`: TensorFlow wants a process of its own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

SHAPE = (1, 8, 8, 4)


def main(folder: Path) -> None:
    """Writes float32.tflite and int8.tflite."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import tensorflow as tf

    random = np.random.default_rng(0)

    def values(*shape):
        return tf.constant(random.normal(size=shape).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec(SHAPE)])
    def network(x):
        y = tf.nn.relu6(tf.nn.conv2d(x, values(3, 3, 4, 4), 1, "SAME") + values(4))
        y = tf.nn.depthwise_conv2d(y, values(3, 3, 4, 1), (1, 1, 1, 1), "SAME") + values(4)
        y = tf.nn.leaky_relu(y) + tf.nn.max_pool2d(y, 3, 1, "SAME") * tf.nn.avg_pool2d(y, 3, 1, "SAME")
        y = tf.concat([tf.sigmoid(y), tf.tanh(y)], -1)[:, 1:7, :, ::2]
        y = tf.pad(y, [(0, 0), (1, 1), (0, 0), (0, 0)]) - values(4)
        y = tf.maximum(tf.minimum(y, values(4)), tf.transpose(y, (0, 2, 1, 3)))
        y = tf.nn.conv2d_transpose(y, values(2, 2, 4, 4), (1, 16, 16, 4), 2)
        first, second = tf.split(y, 2, axis=-1)
        y = tf.image.resize(first, (4, 4)) + tf.compat.v1.image.resize_nearest_neighbor(second, (4, 4))
        y = tf.concat([y, tf.reduce_max(y, 3, keepdims=True)], -1)
        y = tf.matmul(tf.reshape(y, (1, 48)), values(48, 6)) + values(6)
        return tf.nn.softmax(y), tf.argmax(y, -1), tf.reduce_mean(y, -1)

    def samples():
        for _ in range(4):
            yield [random.normal(size=SHAPE).astype(np.float32)]

    for name in ("float32", "int8"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
        if name == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = samples
        (folder / f"{name}.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
