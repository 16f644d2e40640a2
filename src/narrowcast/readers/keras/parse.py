"""Parses the JSON of a model into layers and graphs.

Keras has three spellings of one graph: a `Sequential` list, the nested lists of Keras 2 (`[name, node, tensor,
keywords]`) and the `args`/`kwargs` of Keras 3, in which tensors carry a `keras_history`. All become a `Graph`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, cast

from narrowcast.errors import ModelFileError, UnsupportedError
from narrowcast.readers.keras.config import Call, Graph, LayerConfig, Ref

__all__ = ["parse_model"]

DEPTH_LIMIT = 64
"""How deeply models may be nested in models."""

WRAPPED = ("layer", "cell")
"""The arguments by which wrappers hold another layer."""


def parse_model(serialised: Mapping[str, Any], generation: int) -> LayerConfig:
    """The model of a file.

    Raises:
        ModelFileError: the configuration contradicts itself.
        UnsupportedError: the model is neither Sequential nor Functional.
    """
    model = _layer(serialised, "", generation, 0)
    if model.graph is None:
        raise UnsupportedError(
            f"the model is a {model.kind}, which keeps its computation in Python code",
            hint="only Sequential and Functional models can be read from a file; rebuild it as one of them, "
            "or export it where its code is: model.export('model.onnx', format='onnx')",
        )
    return model


def _layer(data: Any, scope: str, generation: int, depth: int) -> LayerConfig:
    if not isinstance(data, Mapping) or not isinstance(data.get("class_name"), str):
        raise ModelFileError(f"a layer's configuration is no object with a class_name: {str(data)[:80]}")
    if depth > DEPTH_LIMIT:
        raise ModelFileError(f"models are nested more than {DEPTH_LIMIT} deep")
    kind = data["class_name"].rpartition(">")[2]
    config = data.get("config") or {}
    if isinstance(config, list):  # Sequential before Keras 2.2
        config = {"layers": config}
    if not isinstance(config, Mapping):
        raise ModelFileError(f"the configuration of a {kind} is no object")
    name = str(data.get("name") or config.get("name") or kind.lower())
    top = depth == 0
    path = "" if top else f"{scope}/{name}" if scope else name
    layers = config.get("layers")
    is_model = isinstance(layers, list)
    build = data.get("build_config")
    shared = data.get("shared_object_id")
    module = str(data.get("module") or "")
    return LayerConfig(
        kind=kind,
        name=name,
        path=path,
        config=config,
        generation=generation,
        operation=module.startswith("keras.src.ops")
        or (generation == 3 and not is_model and kind != "InputLayer" and not _is_configured(config)),
        graph=_graph(config, path, generation, depth) if is_model else None,
        inner=_inner(kind, config, path, generation, depth),
        shared=shared if isinstance(shared, int) else None,
        built=build.get("input_shape") if isinstance(build, Mapping) else None,
    )


def _is_configured(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is a layer's, which has more than the arguments of a function."""
    return bool({"trainable", "seed"} & config.keys()) or isinstance(config.get("dtype"), Mapping)


def _inner(kind: str, config: Mapping[str, Any], path: str, generation: int, depth: int) -> Mapping[str, LayerConfig]:
    """The layers that a wrapper holds, named by the attributes in which Keras keeps them."""
    held = {key: config[key] for key in WRAPPED if isinstance(config.get(key), Mapping)}
    if kind == "Bidirectional" and "layer" in held:
        forward = held.pop("layer")
        held = {"forward_layer": forward, "backward_layer": config.get("backward_layer") or forward}
    return {key: _layer(data, f"{path}/{key}", generation, depth + 1) for key, data in held.items()}


def _graph(config: Mapping[str, Any], scope: str, generation: int, depth: int) -> Graph:
    layers: dict[str, LayerConfig] = {}
    for data in config["layers"]:
        layer = _layer(data, scope, generation, depth + 1)
        if layer.name in layers:
            raise ModelFileError(f"two layers are named {layer.path}")
        layers[layer.name] = layer
    if not layers:
        raise ModelFileError(f"the model {scope or config.get('name', '')} has no layers")
    if "input_layers" not in config:
        return _sequential(layers)
    return _Functional(layers, generation).graph(config)


def _sequential(layers: dict[str, LayerConfig]) -> Graph:
    names = list(layers)
    if layers[names[0]].kind != "InputLayer":
        first = layers[names[0]]
        shape = first.config.get("batch_input_shape") or first.built
        entry = LayerConfig(
            "InputLayer", f"{first.name}_input", "", {"batch_input_shape": shape}, generation=first.generation
        )
        layers = {entry.name: entry, **layers}
        names.insert(0, entry.name)
    calls = tuple(Call(name, 0, (Ref(before),), {}) for before, name in itertools.pairwise(names))
    return Graph(layers, calls, (Ref(names[0]),), (Ref(names[-1]),))


class _Functional:
    """Resolves the references of a functional graph and puts its calls in order."""

    def __init__(self, layers: Mapping[str, LayerConfig], generation: int) -> None:
        self.layers = layers
        self.generation = generation

    def graph(self, config: Mapping[str, Any]) -> Graph:
        calls = [call for data in config["layers"] for call in self._calls(data)]
        inputs = tuple(self._ends(config["input_layers"]))
        outputs = tuple(self._ends(config.get("output_layers", [])))
        if not outputs:
            raise ModelFileError("a functional model has no outputs")
        return Graph(self.layers, _ordered(calls, inputs), inputs, outputs)

    def _calls(self, data: Mapping[str, Any]) -> Iterator[Call]:
        nodes = data.get("inbound_nodes") or []
        name = str(data.get("name") or data["config"].get("name"))
        if not isinstance(nodes, list):
            raise ModelFileError(f"the inbound nodes of {name} are no list")
        for index, node in enumerate(nodes):
            if isinstance(node, Mapping):
                args, kwargs = self._revive(node.get("args", [])), self._revive(node.get("kwargs", {}))
                if not isinstance(args, list) or not isinstance(kwargs, Mapping):
                    raise ModelFileError(f"the arguments of {name} are malformed")
                yield Call(name, index, tuple(args), kwargs)
            else:
                yield self._listed(name, index, node)

    def _listed(self, name: str, index: int, node: Any) -> Call:
        """A call in the spelling of Keras 2: tensors as [layer, node, tensor, keywords of the call]."""
        kwargs: dict[str, Any] = {}
        structure = self._positional(node, kwargs)
        args = structure if isinstance(structure, list) else [structure]
        return Call(name, index, tuple(args), {key: self._keyword(value) for key, value in kwargs.items()})

    def _positional(self, node: Any, kwargs: dict[str, Any]) -> Any:
        if isinstance(node, list) and len(node) in (3, 4) and isinstance(node[0], str):
            if len(node) == 4 and isinstance(node[3], Mapping):
                kwargs.update(node[3])
            if node[0] == "_CONSTANT_VALUE":
                return node[2]
            return self._ref(node[:3], ends=False)
        if isinstance(node, list):
            return [self._positional(item, kwargs) for item in node]
        if isinstance(node, Mapping):
            return {key: self._positional(item, kwargs) for key, item in node.items()}
        raise ModelFileError(f"an inbound node is malformed: {str(node)[:80]}")

    def _keyword(self, value: Any) -> Any:
        if isinstance(value, list):
            if len(value) >= 3 and value[0] == "_CONSTANT_VALUE":
                return value[2]
            if len(value) == 3 and isinstance(value[0], str) and value[0] in self.layers:
                return self._ref(value, ends=False)
            return [self._keyword(item) for item in value]
        if isinstance(value, Mapping):
            return {key: self._keyword(item) for key, item in value.items()}
        return value

    def _revive(self, value: Any) -> Any:
        """Plain data, tensors as `Ref`, from the spelling of Keras 3."""
        if isinstance(value, list):
            return [self._revive(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        config = value.get("config")
        match value.get("class_name"):
            case "__keras_tensor__" if isinstance(config, Mapping):
                return self._ref(config.get("keras_history"), ends=False)
            case "__slice__" if isinstance(config, Mapping):
                return slice(config.get("start"), config.get("stop"), config.get("step"))
            case "__tuple__":
                return [self._revive(item) for item in value.get("items", [])]
            case "__ellipsis__":
                return Ellipsis
            case "__numpy__" | "__tensor__" if isinstance(config, Mapping):
                return config.get("value")
        return {key: self._revive(item) for key, item in value.items()}

    def _ends(self, structure: Any) -> Iterator[Ref]:
        """The tensors of `input_layers` or `output_layers`, in Keras's order: dictionaries by sorted keys."""
        if isinstance(structure, Mapping):
            for key in sorted(structure):
                yield from self._ends(structure[key])
        elif isinstance(structure, list) and len(structure) == 3 and isinstance(structure[0], str):
            yield self._ref(structure, ends=True)
        elif isinstance(structure, list):
            for item in structure:
                yield from self._ends(item)
        else:
            raise ModelFileError(f"an input or output of the model is malformed: {str(structure)[:80]}")

    def _ref(self, history: Any, *, ends: bool) -> Ref:
        if not (isinstance(history, list) and len(history) == 3 and all(isinstance(i, int) for i in history[1:])):
            raise ModelFileError(f"a tensor's origin is malformed: {str(history)[:80]}")
        name, node, tensor = cast("tuple[str, int, int]", tuple(history))
        layer = self.layers.get(name)
        if layer is None:
            raise ModelFileError(f"a call refers to the layer {str(name)[:80]!r}, which the model does not have")
        return Ref(name, node - self._calls_before(layer, ends), tensor)

    def _calls_before(self, layer: LayerConfig, ends: bool) -> int:
        """How many calls of a nested model precede those in this graph: its own construction counts as one.

        Keras 3 counts it for functional models, and only at the ends of the graph; Keras 2 counts it everywhere,
        for all models that begin with an input layer, or whose first layer says its input's shape.
        """
        if layer.graph is None:
            return 0
        if self.generation == 3:
            return int(ends and layer.kind != "Sequential")
        first = layer.config["layers"][0]
        return int(first.get("class_name") == "InputLayer" or "batch_input_shape" in first.get("config", {}))


def refs(structure: Any) -> Iterator[Ref]:
    """All tensors within nested arguments, in order."""
    if isinstance(structure, Ref):
        yield structure
    elif isinstance(structure, list | tuple):
        for item in structure:
            yield from refs(item)
    elif isinstance(structure, Mapping):
        for item in structure.values():
            yield from refs(item)


def _ordered(calls: list[Call], inputs: tuple[Ref, ...]) -> tuple[Call, ...]:
    """The calls such that each comes after those it depends on (Kahn), else as in the file."""
    done = {(ref.layer, 0) for ref in inputs}
    waiting: dict[tuple[str, int], list[int]] = {}
    missing: list[int] = []
    ready: list[int] = []
    for index, call in enumerate(calls):
        needs = {(ref.layer, ref.call) for ref in refs((call.args, call.kwargs))} - done
        missing.append(len(needs))
        for need in needs:
            waiting.setdefault(need, []).append(index)
        if not needs:
            ready.append(index)
    order: list[Call] = []
    ready.reverse()
    while ready:
        call = calls[ready.pop()]
        order.append(call)
        for index in reversed(waiting.pop((call.layer, call.index), [])):
            missing[index] -= 1
            if not missing[index]:
                ready.append(index)
    if len(order) != len(calls):
        stuck = next(call.layer for index, call in enumerate(calls) if missing[index])
        raise ModelFileError(f"the layer {stuck} waits for a tensor that is never made, or for its own output")
    return tuple(order)
