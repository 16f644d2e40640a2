"""ai-edge-quantizer: calibrates and quantises a ready float .tflite to int8, as its documentation shows."""

import sys

import numpy as np
from ai_edge_quantizer import quantizer, recipe

model, samples = sys.argv[1:3]
array = np.load(samples)
tool = quantizer.Quantizer(model, recipe.static_wi8_ai8())
from ai_edge_litert.interpreter import Interpreter  # noqa: E402

interpreter = Interpreter(model)
signature = next(iter(interpreter.get_signature_list()))
name = next(iter(interpreter.get_signature_runner(signature).get_input_details()))
result = tool.calibrate({signature: [{name: sample[None]} for sample in array]})
tool.quantize(result).export_model("out.tflite", overwrite=True)
