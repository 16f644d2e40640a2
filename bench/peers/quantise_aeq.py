"""ai-edge-quantizer, static int8: FLOAT.tflite CALIBRATION.npz TEST.npz FOLDER; writes FOLDER/out.tflite."""

import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

model, samples, _, folder = sys.argv[1:5]
with np.load(samples) as held:
    data = {name: held[name] for name in held.files if name != "y"}
started = time.process_time()
interpreter = Interpreter(model)
signature = next(iter(interpreter.get_signature_list()))
names = list(interpreter.get_signature_runner(signature).get_input_details())
known = {name: data.get(name, next(iter(data.values()))) for name in names}
count = len(next(iter(data.values())))
tool = quantizer.Quantizer(model, recipe.static_wi8_ai8())
result = tool.calibrate({signature: [{name: array[index] for name, array in known.items()} for index in range(count)]})
tool.quantize(result).export_model(f"{folder}/out.tflite", overwrite=True)
print("seconds", time.process_time() - started)
