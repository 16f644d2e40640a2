"""Whole processes, warm: int8 with 128 calibration images, beside ai-edge-quantizer and TFLiteConverter.

NARROWCAST_BENCH_TF_PYTHON names the Python of an environment with tensorflow, tf-keras and ai-edge-quantizer. Peers get
their calibration samples as a ready .npy; narrowcast decodes the JPEG files itself.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from measure import NARROWCAST, alternate, peer, publish, table, zoo

SAMPLES = 128
HERE = Path(__file__).parent


def main() -> None:
    """Measures and publishes."""
    from narrowcast.evaluation.data import open_data
    from narrowcast.evaluation.preprocessing import make_preprocessing
    from narrowcast.model import TensorSpec

    models, images = zoo() / "models", zoo() / "data/imagenet_even"
    options = ["--data", str(images), "--samples", str(SAMPLES), "--preprocess", "tf", "--crop", "0.875", "--quiet"]
    commands = {
        f"narrowcast, {name}": [
            NARROWCAST,
            "quantize",
            str(models / file),
            "-o",
            "out.tflite",
            "--scheme",
            "int8",
            *options,
        ]
        for name, file in (("ONNX", "mobilenet_v2_pytorch.onnx"), ("Keras", "mobilenet_v2.keras"))
    }
    python = peer("NARROWCAST_BENCH_TF_PYTHON")
    with tempfile.TemporaryDirectory() as folder:
        if python:
            spec = TensorSpec("x", (1, 224, 224, 3), np.dtype(np.float32))
            data = open_data(images, (spec,), make_preprocessing(preprocess="tf", crop=0.875), samples=SAMPLES)
            samples, ready = Path(folder) / "samples.npy", Path(folder) / "float.tflite"
            np.save(samples, np.concatenate([feed["x"] for feed in data.feeds()]))
            import narrowcast

            narrowcast.save(narrowcast.load(models / "mobilenet_v2.keras"), ready, verify=False)
            commands["ai-edge-quantizer, ready float .tflite"] = [
                python,
                str(HERE / "peers/aeq.py"),
                str(ready),
                str(samples),
            ]
            h5 = str(models / "mobilenet_v2_keras2.h5")
            commands["TFLiteConverter, Keras"] = [
                python,
                str(HERE / "peers/tflite_converter.py"),
                h5,
                str(samples),
                "int8",
                "out.tflite",
            ]
        found = alternate(commands, rounds=3)
    peers = [name for name in found if not name.startswith("narrowcast")]
    rows = [
        [name, timing, *(f"{timing.median / found[other].median:.2f}" if name not in peers else "" for other in peers)]
        for name, timing in found.items()
    ]
    publish(
        "To int8 with 128 samples",
        "MobileNetV2 1.0 224, whole processes, alternated, warm; ours reads the JPEG files and verifies. "
        "Median of 3 (lowest to highest).\n\n"
        + table(["", "seconds", *(f"ratio to {other.partition(',')[0]}" for other in peers)], rows),
    )


if __name__ == "__main__":
    main()
