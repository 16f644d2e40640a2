"""TFLiteConverter, int8 with float ports: KERAS CALIBRATION.npz TEST.npz FOLDER; writes FOLDER/out.tflite."""

import os
import sys
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
if sys.argv[1].endswith(".h5"):
    os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf

model, samples, _, folder = sys.argv[1:5]
if model.endswith(".h5"):
    import tf_keras as keras
else:
    import keras
with np.load(samples) as held:
    array = next(held[name] for name in held.files if name != "y")
started = time.process_time()
network = keras.models.load_model(model, compile=False)
if model.endswith(".h5"):
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
else:
    network.export(f"{folder}/saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(f"{folder}/saved")
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([sample] for sample in array)
Path(f"{folder}/out.tflite").write_bytes(converter.convert())
print("seconds", time.process_time() - started)
