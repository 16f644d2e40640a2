"""Latency of our six files beside TensorFlow's own converter's, interleaved in one process.

NARROWCAST_BENCH_TF_PYTHON names the Python of an environment with tensorflow and tf-keras. TensorFlow's files are made
once and kept in the folder that NARROWCAST_BENCH_CACHE names (a temporary one otherwise).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from measure import interleave, peer, publish, table, zoo

SCHEMES = ("float32", "float16", "dynamic_range", "int8", "full_int8", "int16x8")
SAMPLES = 32
HERE = Path(__file__).parent


def main() -> None:
    """Measures and publishes."""
    import narrowcast
    from narrowcast import runtimes
    from narrowcast.evaluation.data import open_data
    from narrowcast.evaluation.latency import random_feed
    from narrowcast.evaluation.preprocessing import make_preprocessing

    python = peer("NARROWCAST_BENCH_TF_PYTHON")
    images = zoo() / "data/imagenet_even"
    source = zoo() / "models/mobilenet_v2_keras2.h5"
    model = narrowcast.load(source)
    data = open_data(images, model.inputs, make_preprocessing(preprocess="tf", crop=0.875), samples=SAMPLES)
    feeds = list(data.feeds())
    cache = os.environ.get("NARROWCAST_BENCH_CACHE")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(cache or scratch)
        samples = folder / "samples.npy"
        np.save(samples, np.concatenate([next(iter(feed.values())) for feed in feeds]))
        for scheme in SCHEMES:
            ours, theirs = Path(scratch) / f"ours_{scheme}.tflite", folder / f"tensorflow_{scheme}.tflite"
            narrowcast.save(narrowcast.quantize(model, scheme, data=feeds), ours, verify=False)
            if python and not theirs.exists():
                script = str(HERE / "peers/tflite_converter.py")
                subprocess.run(
                    [python, script, str(source), str(samples), scheme, str(theirs)], check=True, capture_output=True
                )
            for threads in (1, 2):
                files = {"ours": ours, **({"theirs": theirs} if theirs.exists() else {})}
                runners = {name: runtimes.open(path, "litert", threads) for name, path in files.items()}
                watches = {name: runner.stopwatch(random_feed(runner.inputs)) for name, runner in runners.items()}
                found = interleave(watches, 31 if scheme == "int16x8" else 150)
                median = {name: timing.median * 1000 for name, timing in found.items()}
                ratio = f"{median['ours'] / median['theirs']:.3f}" if "theirs" in median else ""
                rows.append(
                    [scheme, threads, *(f"{median[n]:.2f}" if n in median else "" for n in ("ours", "theirs")), ratio]
                )
    publish(
        "Latency beside TFLiteConverter",
        "MobileNetV2 1.0 224 in LiteRT, milliseconds, medians of interleaved runs.\n\n"
        + table(["scheme", "threads", "narrowcast", "TFLiteConverter", "ratio"], rows),
    )


if __name__ == "__main__":
    main()
