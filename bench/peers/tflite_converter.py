"""TFLiteConverter: a Keras 2 file to TFLite in a scheme: MODEL SAMPLES SCHEME OUTPUT."""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_keras

model, samples, scheme, output = sys.argv[1:5]
array = np.load(samples)
converter = tf.lite.TFLiteConverter.from_keras_model(tf_keras.models.load_model(model, compile=False))
if scheme != "float32":
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
if scheme == "float16":
    converter.target_spec.supported_types = [tf.float16]
if scheme in ("int8", "full_int8", "int16x8"):
    converter.representative_dataset = lambda: ([sample[None]] for sample in array)
if scheme == "full_int8":
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
if scheme == "int16x8":
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,
    ]
Path(output).write_bytes(converter.convert())
