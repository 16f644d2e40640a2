"""Writes Keras files by hand, sound or broken."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Arrays = Mapping[str, np.ndarray]
NONE: Mapping[str, Any] = {}


def entry(shape: Sequence[int | None], name: str = "x", **config: Any) -> dict[str, Any]:
    """An input layer."""
    return layer("InputLayer", name, batch_shape=list(shape), dtype="float32", **config)


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    """A layer's serialised form."""
    return {"class_name": kind, "config": {"name": name, "trainable": True, **config}}


def sequential(*layers: dict[str, Any], name: str = "net") -> dict[str, Any]:
    """A Sequential model's serialised form."""
    return {"class_name": "Sequential", "config": {"name": name, "trainable": True, "layers": list(layers)}}


def image(arrays: Arrays) -> bytes:
    """An HDF5 file with arrays at paths."""
    with h5py.File("image.h5", "w", driver="core", backing_store=False) as file:
        for path, array in arrays.items():
            file[path] = array
        file.flush()
        return bytes(file.id.get_file_image())


def bfloat16(arrays: Arrays) -> bytes:
    """An HDF5 file with arrays in bfloat16, as Keras stores them."""
    with h5py.File("image.h5", "w", driver="core", backing_store=False) as file:
        for path, array in arrays.items():
            raw = (array.view(np.uint32) >> 16).astype(np.uint16)
            dataset = file.create_dataset(path, data=raw.view("V2"))
            dataset.attrs["dtype"] = "bfloat16"
        file.flush()
        return bytes(file.id.get_file_image())


def write_keras(
    path: Path,
    config: Any,
    arrays: Arrays | bytes = NONE,
    *,
    version: str = "3.10.0",
    extra: Mapping[str, bytes] = NONE,
) -> Path:
    """A `.keras` file; the weights may be given as bytes to put there."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        archive.writestr("model.weights.h5", arrays if isinstance(arrays, bytes) else image(arrays))
        for name, content in extra.items():
            archive.writestr(name, content)
    return path


def write_h5(path: Path, config: Any, weights: Mapping[str, Arrays] = NONE, *, version: str = "2.15.0") -> Path:
    """A whole-model `.h5` file: arrays by layer and by name."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        file.attrs["keras_version"] = version
        root = file.create_group("model_weights")
        for name, arrays in weights.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [key.encode() for key in arrays]
            for key, array in arrays.items():
                group[key] = array
    return path


def dense(path: Path, **config: Any) -> Path:
    """A sound model: one dense layer from 3 to 2."""
    kernel, bias = np.arange(6, dtype=np.float32).reshape(3, 2), np.float32([1, -1])
    model = sequential(entry([None, 3]), layer("Dense", "dense", units=2, **config))
    if path.suffix == ".h5":
        return write_h5(path, model, {"dense": {"dense/kernel:0": kernel, "dense/bias:0": bias}})
    return write_keras(path, model, {"layers/dense/vars/0": kernel, "layers/dense/vars/1": bias})
