"""Has a real Keras build all models, give them random weights, save them and run them.

Run as `python -m tests.readers.keras.produce GENERATION FOLDER`: each Keras wants a process of its own. The folder then
holds, for every case, `name.keras` and `name.h5`, and in `name.npz` the inputs and Keras's own outputs.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 2


def framework(generation: int) -> Any:
    """The namespace of Keras 3 on PyTorch, or of Keras 2."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if generation == 3:
        os.environ["KERAS_BACKEND"] = "torch"
        import keras

        return keras
    import tf_keras

    return tf_keras


def randomise(model: Any, rng: np.random.Generator) -> None:
    """Random weights, none of which is what a layer starts with."""
    for weight in model.weights:
        name = str(getattr(weight, "path", weight.name)).rpartition("/")[2].partition(":")[0]
        shape = tuple(weight.shape)
        if "int" in str(weight.dtype):
            continue
        if name.endswith("variance"):
            value = rng.uniform(0.5, 2.0, shape)
        elif name in ("gamma", "scale"):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            fan_in = np.prod(shape[:2] if len(shape) == 4 and shape[3] == 1 else shape[:-1]) if len(shape) > 1 else 4.0
            value = rng.normal(0.0, 1.0, shape) / np.sqrt(fan_in)
        weight.assign(value.astype(np.float32))


def flat(outputs: Any) -> list[np.ndarray]:
    """A model's outputs, dictionaries by sorted keys."""
    if isinstance(outputs, dict):
        return [item for key in sorted(outputs) for item in flat(outputs[key])]
    if isinstance(outputs, list | tuple):
        return [item for part in outputs for item in flat(part)]
    return [np.asarray(outputs.detach() if hasattr(outputs, "detach") else outputs)]


def produce(case: Any, keras: Any, folder: Path) -> None:
    """Builds, saves and runs one case."""
    rng = np.random.default_rng(sum(case.name.encode()))
    model = case.build(keras)
    randomise(model, rng)
    feeds = []
    for tensor in model.inputs:
        shape = (BATCH, *tensor.shape[1:])
        if case.vocabulary:
            feeds.append(rng.integers(0, case.vocabulary, shape).astype(np.float32))
        elif "bool" in str(tensor.dtype):
            feeds.append(rng.uniform(size=shape) < 0.7)
        else:
            feeds.append(rng.normal(0.0, 1.0, shape).astype(np.float32))
    outputs = flat(model(feeds if len(feeds) > 1 else feeds[0], training=False))
    for suffix in case.formats:
        model.save(folder / f"{case.name}.{suffix}")
    arrays = {f"in{index}": array for index, array in enumerate(feeds)}
    np.savez(folder / f"{case.name}.npz", **arrays, **{f"out{index}": array for index, array in enumerate(outputs)})


def main(generation: int, folder: Path) -> None:
    from tests.readers.keras import applications, cases, functions, networks

    warnings.simplefilter("ignore")
    keras = framework(generation)
    failed = []
    for case in [*cases.LAYERS, *networks.NETWORKS, *functions.FUNCTIONS, *applications.APPLICATIONS]:
        if generation not in case.generations:
            continue
        try:
            produce(case, keras, folder)
        except Exception:
            failed.append(f"{case.name}: {traceback.format_exc()}")
    (folder / "failed.txt").write_text("\n".join(failed))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
