"""TFLiteConverter: classifiers of keras.applications with seeded weights, and their files: FOLDER NAME:SIDE..."""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf

folder = Path(sys.argv[1])
for word in sys.argv[2:]:
    name, side = word.split(":")
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, input_shape=(int(side), int(side), 3), classes=100)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape, ends = layer.weights[0].shape, ((0.5, 1.5), (-0.2, 0.2), (-0.2, 0.2), (0.5, 1.5))
            layer.set_weights([random.uniform(*pair, shape) for pair in ends[-len(layer.weights) :]])
    model.save(folder / f"{name}.keras")
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (folder / f"{name}.tflite").write_bytes(converter.convert())
