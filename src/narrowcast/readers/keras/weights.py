"""Finds each layer's arrays, in the three ways in which Keras files keep them.

`.keras` files have one group per object: `layers/conv2d_1/vars/0`, in which `conv2d_1` is the second Conv2D of its
container, whatever the layer's name is. Whole-model `.h5` files have one group per outermost layer, in which the arrays
of everything inside stand in one list: first all trained ones, then the others (the attribute `weight_names`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from narrowcast.errors import ModelFileError, at
from narrowcast.model import Array
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.container import Archive, Hdf5
from narrowcast.readers.keras.emit import Weights
from narrowcast.readers.keras.registry import find

__all__ = ["load_weights"]


def load_weights(archive: Archive, model: LayerConfig) -> Mapping[str, Weights]:
    """The arrays of every layer of a model, by the layer's path and the slot's name.

    Raises:
        ModelFileError: an array is missing, or there are more or fewer than the configuration calls for.
    """
    return _by_order(archive.weights, model) if archive.whole_model else _by_place(archive.weights, model)


def _slots(layer: LayerConfig) -> Sequence[str]:
    spec = find(layer)
    return spec.variables(layer) if spec is not None else ()


def _as_read(array: Array) -> Array:
    return array if array.dtype == np.float32 else array.astype(np.float32)


CLASS_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}
"""Layers whose Python class is not named as in configurations."""


def _snake_case(name: str) -> str:
    """A class name as Keras spells it in `.keras` files: Conv2D is conv2d, BatchNormalization batch_normalization."""
    name = CLASS_NAMES.get(name, name)
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _by_place(file: Hdf5, model: LayerConfig) -> Mapping[str, Weights]:
    found: dict[str, Weights] = {}
    shared: dict[int, Weights] = {}
    for layer, place in _places(model, ""):
        if layer.shared is not None and layer.shared in shared:
            found[layer.path] = shared[layer.shared]
            continue
        found[layer.path] = weights = _at_place(file, layer, place)
        if layer.shared is not None:
            shared[layer.shared] = weights
    return found


def _places(model: LayerConfig, place: str) -> Iterator[tuple[LayerConfig, str]]:
    """Every layer of a model with its group, in the order in which Keras saves them."""
    if model.graph is None:
        yield model, place
        for key, inner in model.inner.items():
            yield from _places(inner, f"{place}/{key}")
        return
    seen: Counter[str] = Counter()
    prefix = f"{place}/layers" if place else "layers"
    for layer in model.graph.layers.values():
        if layer.operation or not layer.path:
            continue
        kind = _snake_case(layer.kind)
        count = seen[kind]
        seen[kind] += 1
        yield from _places(layer, f"{prefix}/{kind}_{count}" if count else f"{prefix}/{kind}")


def _at_place(file: Hdf5, layer: LayerConfig, place: str) -> Weights:
    counts: Counter[str] = Counter()
    arrays: dict[str, Array] = {}
    for slot in _slots(layer):
        part = slot.replace("~", "").rpartition("/")[0]
        index = counts[part]
        counts[part] += 1
        array = None
        for folder in _folders(place, part):
            array = file.array(f"{folder}/vars/{index}")
            if array is not None:
                break
        if array is None:
            raise ModelFileError(
                f"the weights file has no array {_name(slot)} ({place}/{part + '/' if part else ''}vars/{index})",
                where=f"{layer.kind} {layer.path}",
            )
        arrays[_name(slot)] = _as_read(array)
    return arrays


def _folders(place: str, part: str) -> Iterator[str]:
    """Where a part may be: Keras 2 kept some sublayers in attributes with an underscore."""
    if not part:
        yield place
        return
    yield f"{place}/{part}"
    yield f"{place}/_{part}"


def _name(slot: str) -> str:
    return slot.replace("~", "")


@dataclass(frozen=True, slots=True)
class _Variable:
    layer: str
    name: str
    trained: bool


def _by_order(file: Hdf5, model: LayerConfig) -> Mapping[str, Weights]:
    assert model.graph is not None
    found: dict[str, dict[str, Array]] = {}
    for layer in model.graph.layers.values():
        trained, others = _variables(layer)
        if not trained + others:
            continue
        with at(f"{layer.kind} {layer.path}"):
            names = file.strings(layer.name, "weight_names")
            for variable, name in zip(_matched(trained, others, names), names, strict=True):
                array = file.array(f"{layer.name}/{name}")
                if array is None:
                    raise ModelFileError(f"the file names an array {name} that it does not have")
                found.setdefault(variable.layer, {})[variable.name] = _as_read(array)
    return found


def _variables(layer: LayerConfig) -> tuple[list[_Variable], list[_Variable]]:
    """A layer's variables, trained ones and others, in Keras's order; a frozen layer trains none."""
    trained: list[_Variable] = []
    others: list[_Variable] = []
    for slot in _slots(layer):
        last = slot.rpartition("/")[2]
        (others if last.startswith("~") else trained).append(
            _Variable(layer.path, _name(slot), not last.startswith("~"))
        )
    children = layer.graph.layers.values() if layer.graph is not None else layer.inner.values()
    for child in children:
        more_trained, more_others = _variables(child)
        trained += more_trained
        others += more_others
    return (trained, others) if layer.trainable else ([], trained + others)


def _matched(trained: list[_Variable], others: list[_Variable], names: Sequence[str]) -> list[_Variable]:
    """The variables in the order of the file's names.

    Raises:
        ModelFileError: the file has more or fewer arrays than the layer, or their names contradict every order that
            Keras uses.
    """
    ordered = trained + others
    if len(ordered) != len(names):
        raise ModelFileError(f"has {len(ordered)} weights by its configuration, the file holds {len(names)}")
    by_training = sorted(ordered, key=lambda variable: not variable.trained)
    for candidate in (ordered, by_training):
        if all(_agrees(variable.name, name) for variable, name in zip(candidate, names, strict=True)):
            return candidate
    raise ModelFileError(f"the file's weights are {', '.join(names)[:200]}, unlike its configuration")


def _agrees(slot: str, name: str) -> bool:
    """Whether a variable's name in the file can be that of a slot."""
    last = re.sub(r"(_\d+)?(:\d+)?$", "", name.rpartition("/")[2])
    wanted = slot.rpartition("/")[2]
    return last in (wanted, "variable") or last.endswith(f"_{wanted}") or wanted.endswith(f"_{last}")
