"""Min/max calibration beside the plain forward passes of its samples, and its memory at 100 and at 1,000 samples."""

from __future__ import annotations

import subprocess
import sys

from measure import interleave, publish, table, zoo

SAMPLES = 128
MEMORY = """
import resource, sys
import numpy as np
import narrowcast
from narrowcast.passes.decompose import decompose
from narrowcast.quantization import calibrate
model = narrowcast.load(sys.argv[1])
decompose(model, "litert")
name, shape = model.inputs[0].name, model.inputs[0].shape
random = np.random.default_rng(0)
samples = ({name: random.normal(size=shape).astype(np.float32)} for _ in range(int(sys.argv[2])))
calibrate(model, samples, observer=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main() -> None:
    """Measures and publishes."""
    import narrowcast
    from narrowcast.evaluation.data import open_data
    from narrowcast.evaluation.preprocessing import make_preprocessing
    from narrowcast.passes.decompose import decompose
    from narrowcast.quantization import calibrate
    from narrowcast.reference import Reference

    source = zoo() / "models/mobilenet_v2_pytorch.onnx"
    model = narrowcast.load(source)
    decompose(model, "litert")
    data = open_data(
        zoo() / "data/imagenet_even", model.inputs, make_preprocessing(preprocess="tf", crop=0.875), samples=SAMPLES
    )
    feeds = list(data.feeds())
    reference = Reference(model)

    def forward() -> None:
        for feed in feeds:
            reference.run(feed)

    watches = {"plain forward passes": forward}
    watches |= {
        f"{name} calibration": lambda name=name: calibrate(model, feeds, observer=name)
        for name in ("minmax", "percentile")
    }
    found = interleave(watches, 9)
    base = found["plain forward passes"].median
    rows = [[name, timing, f"{timing.median / base:.2f}"] for name, timing in found.items()]
    memory = [
        [observer, *(_memory(str(source), count, observer) for count in (100, 1000))]
        for observer in ("minmax", "percentile")
    ]
    publish(
        "Calibration",
        f"MobileNetV2 1.0 224, {SAMPLES} samples in memory, ONNX Runtime, alternated; "
        "the calibration's sessions included.\n\n"
        + table(["", "seconds", "ratio"], rows)
        + "\n\nPeak resident memory of the whole process, MB:\n\n"
        + table(["observer", "100 samples", "1,000 samples"], memory),
    )


def _memory(source: str, count: int, observer: str) -> int:
    command = [sys.executable, "-c", MEMORY, source, str(count), observer]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
