"""narrowcast, of whichever checkout PYTHONPATH names: MODEL CALIBRATION.npz OUT.tflite OPTIONS, as JSON.

Writes OUT and prints the seconds that reading, quantising and writing took. With "tune" among the options, what that
holds goes to `narrowcast.tune`.
"""

import inspect
import json
import sys
import time

import numpy as np

import narrowcast

model, samples, out, options = sys.argv[1:5]
given = json.loads(options)
reading = {name: value for name, value in given["reading"].items() if name != "input_shapes"}
reading["input_shapes"] = {name: tuple(shape) for name, shape in given["reading"].get("input_shapes", {}).items()}
with np.load(samples) as held:
    data = {name: held[name] for name in held.files}
started = time.perf_counter()
if "tune" in given:
    known = inspect.signature(narrowcast.tune).parameters
    more = {} if "source" not in known and "model" in known else reading
    source = narrowcast.load(model, **reading) if not more and reading else model
    narrowcast.tune(source, out, data=data, **given["tune"])
else:
    scheme = given["options"].pop("scheme", "int8")
    loaded = narrowcast.load(model, **reading)
    quantized = narrowcast.quantize(loaded, scheme, data=data, **given["options"]) if scheme != "float32" else loaded
    narrowcast.save(quantized, out, fmt=given.get("format", "tflite"), io_layout="source", verify=False)
print("seconds", time.perf_counter() - started)
