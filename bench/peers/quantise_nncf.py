"""NNCF on OpenVINO: FLOAT.onnx CALIBRATION.npz TEST.npz FOLDER [control]; writes FOLDER/outputs.npz.

With "control" by quantize_with_accuracy_control: pooled signal to noise of all outputs on 64 calibration samples, which
must not fall at all, and at most 8 layers put back.
"""

import sys
import time

import nncf
import numpy as np
import openvino

model, samples, test, folder = sys.argv[1:5]
COUNT, BACK = 64, 8
core = openvino.Core()
core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
network = core.read_model(model)
names = [port.any_name for port in network.inputs]
answers = [port.any_name for port in network.outputs]


def feeds(path):
    """One feed after the other."""
    with np.load(path) as held:
        data = {name: held[name] for name in held.files if name in names}
    return [{name: array[index] for name, array in data.items()} for index in range(len(next(iter(data.values()))))]


def run(compiled, feed):
    """Outputs by name."""
    found = compiled(feed)
    return {name: found[port] for name, port in zip(answers, compiled.outputs, strict=True)}


started = time.process_time()
calibration = nncf.Dataset(feeds(samples))
if sys.argv[5:] == ["control"]:
    float_compiled = core.compile_model(network, "CPU")
    wanted = [run(float_compiled, feed) for feed in feeds(samples)[:COUNT]]

    def decibels(compiled, items):
        """Pooled signal to noise of all float outputs."""
        signal = noise = 0.0
        for feed, want in zip(items, wanted, strict=True):
            have = run(compiled, feed)
            for name in answers:
                real = np.asarray(want[name], np.float64)
                signal += np.square(real).sum()
                noise += np.square(real - have[name]).sum()
        return 10 * np.log10(max(signal, 1e-30) / max(noise, 1e-12 * signal, 1e-30))

    validation = nncf.Dataset(feeds(samples)[:COUNT])
    made = nncf.quantize_with_accuracy_control(
        network,
        calibration_dataset=calibration,
        validation_dataset=validation,
        validation_fn=decibels,
        max_drop=0.0,
        subset_size=128,
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=BACK, ranking_subset_size=COUNT
        ),
    )
else:
    made = nncf.quantize(network, calibration, subset_size=128)
print("seconds", time.process_time() - started)
compiled = core.compile_model(made, "CPU")
found = [run(compiled, feed) for feed in feeds(test)]
np.savez(f"{folder}/outputs.npz", **{name: np.stack([outputs[name] for outputs in found]) for name in answers})
