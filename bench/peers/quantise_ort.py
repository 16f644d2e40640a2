"""ONNX Runtime's quantize_static, uint8 activations, int8 weights per channel, min/max.

FLOAT.onnx CALIBRATION.npz TEST.npz FOLDER; writes what the quantised graph answers to FOLDER/outputs.npz.
"""

import sys
import time

import numpy as np
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

model, samples, test, folder = sys.argv[1:5]


def feeds(path, session):
    """One feed after the other; labels are none."""
    types = {port.name: port.type for port in session.get_inputs()}
    with np.load(path) as held:
        data = {name: held[name] for name in held.files if name in types}
    return [{name: array[index] for name, array in data.items()} for index in range(len(next(iter(data.values()))))]


class Reader(quantization.CalibrationDataReader):
    """The calibration samples, once."""

    def __init__(self, session):
        self.feeds = iter(feeds(samples, session))

    def get_next(self):
        """A feed; None after the last."""
        return next(self.feeds, None)


onnxruntime.set_default_logger_severity(3)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
started = time.process_time()
quant_pre_process(model, f"{folder}/prepared.onnx")
reader = Reader(onnxruntime.InferenceSession(model, options))
quantization.quantize_static(
    f"{folder}/prepared.onnx",
    f"{folder}/quantised.onnx",
    reader,
    quant_format=quantization.QuantFormat.QDQ,
    per_channel=True,
    activation_type=quantization.QuantType.QUInt8,
    weight_type=quantization.QuantType.QInt8,
)
print("seconds", time.process_time() - started)
session = onnxruntime.InferenceSession(f"{folder}/quantised.onnx", options)
names = [port.name for port in session.get_outputs()]
found = [session.run(None, feed) for feed in feeds(test, session)]
np.savez(
    f"{folder}/outputs.npz",
    **{name: np.stack(arrays) for name, arrays in zip(names, zip(*found, strict=True), strict=True)},
)
