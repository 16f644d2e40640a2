"""narrowcast, of whichever checkout PYTHONPATH names: MODEL CALIBRATION.npz OUT.tflite OPTIONS, as JSON.

Writes OUT and prints the processor seconds that reading, quantising and writing took. With "tune" among the options,
what that holds goes to `narrowcast.tune`, and likewise with "finetune".
"""

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
started = time.process_time()
loaded = narrowcast.load(model, **reading)
if "tune" in given:
    found = narrowcast.tune(loaded, out, data=data, io_layout="source", verify=False, **given["tune"])
    print(found.chosen, found.reason, sep="; ")
else:
    scheme = given["options"].pop("scheme", "int8")
    if "finetune" in given:
        quantized = narrowcast.finetune(loaded, scheme, data, **given["options"], **given["finetune"])
    else:
        quantized = narrowcast.quantize(loaded, scheme, data=data, **given["options"])
    narrowcast.save(quantized, out, fmt=given.get("format", "tflite"), io_layout="source", verify=False)
print("seconds", time.process_time() - started)
