"""Walks the graph of a model and has each layer emit its nodes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.errors import ModelFileError, UnsupportedError, UnsupportedOpError, UsageError, at
from narrowcast.model import ir
from narrowcast.readers.emit import Tensor
from narrowcast.readers.formats import ReadOptions
from narrowcast.readers.keras.config import Graph, LayerConfig, Ref
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.registry import TF_FUNCTIONS, WAY_OUT, Inputs, Spec, find, unsupported
from narrowcast.readers.open_shapes import BATCH, Dims, check_inputs, fill, shape_text

__all__ = ["build_graph", "check_supported"]

INPUT_NAMES = ("inputs", "sequences", "x")
"""What layers call their first argument."""

ELEMENT_LIMIT = 1 << 28
"""The most elements that one sample of an input may have: a GiB of real numbers."""

MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a layer's function raises on data of a kind that Keras does not write."""


def check_supported(model: LayerConfig) -> None:
    """Refuses a model with layers that no function reads, naming all of them.

    Raises:
        UnsupportedOpError: there are some.
    """
    unknown = [layer for layer in _walk(model) if find(layer) is None]
    if not unknown:
        return
    names = ", ".join(f"{layer.path} ({_kind(layer)})" for layer in unknown[:20])
    more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
    lambdas = any(layer.kind == "Lambda" for layer in unknown)
    way = (
        "a Lambda's Python code is never executed: rebuild the model with built-in layers or keras.ops in its place"
        if lambdas
        else "register a function for the class with narrowcast.readers.keras.registry.layer"
    )
    raise UnsupportedOpError(
        f"no reader for {'these layers' if len(unknown) > 1 else 'the layer'}: {names}{more}",
        hint=f"{way}, or {WAY_OUT[model.generation]}",
    )


def _walk(model: LayerConfig) -> Iterator[LayerConfig]:
    if model.graph is None:
        yield model
        for inner in model.inner.values():
            yield from _walk(inner)
        return
    for layer in model.graph.layers.values():
        yield from _walk(layer)


def _kind(layer: LayerConfig) -> str:
    if layer.kind in TF_FUNCTIONS:
        return f"tf.{layer.get('function')}"
    return f"keras.ops {layer.kind}" if layer.operation else layer.kind


def build_graph(model: LayerConfig, weights: Mapping[str, Weights], options: ReadOptions, *, producer: str) -> ir.Model:
    """The ONNX graph of a model, its inputs and outputs in Keras's layout and with Keras's names.

    Raises:
        ModelFileError: the configuration and the weights contradict each other.
        UnsupportedError: a layer cannot be expressed, or an input's shape is unknown.
        UsageError: the options name an input that the model does not have, or contradict its shape.
    """
    graph = model.graph
    assert graph is not None
    check_supported(model)
    build = Builder.new(model.name)
    network = _Network(Emitter(build, weights))
    names = _input_names(graph)
    unknown = sorted(set(options.input_shapes) - set(names))
    if unknown:
        raise UsageError(f"the model has no input {', '.join(unknown)}", hint=f"its inputs: {', '.join(names)}")
    shapes: dict[str, Dims | None] = {}
    for name in names:
        with at(f"input {name}"):
            shapes[name] = _input_shape(graph.layers[name], options)
    shapes, _ = fill(shapes, options.sizes)
    check_inputs(shapes, unknown="1,224,224,3")
    inputs = [_input(build, graph.layers[name], shape) for name, shape in shapes.items() if shape is not None]
    output_names = [build.unique(ref.layer) for ref in graph.outputs]
    outputs = network.run(graph, inputs)
    return build.finish(list(_named(network.emit, output_names, outputs)), producer=producer)


def _input_names(graph: Graph) -> list[str]:
    for ref in graph.inputs:
        if ref.layer not in graph.layers:
            raise ModelFileError(f"the model names an input {ref.layer} that it does not have")
    return list(dict.fromkeys(ref.layer for ref in graph.inputs))


def _input(build: Builder, layer: LayerConfig, shape: Dims) -> Tensor:
    with at(f"input {layer.name}"):
        if layer.get("sparse") or layer.get("ragged"):
            raise UnsupportedError("sparse and ragged inputs cannot be expressed", hint="rebuild the model without")
        dtype = _input_dtype(layer.get("dtype"))
        closed = tuple(dim for dim in shape if dim is not None)
        return Tensor(closed, dtype, build.input(layer.name, closed, dtype))


def _input_dtype(name: Any) -> np.dtype:
    """The type in which a caller feeds an input: real numbers of every width are read as float32."""
    if isinstance(name, Mapping):
        config = name.get("config")
        name = config.get("name") if isinstance(config, Mapping) else None
    name = name or "float32"
    if name in ("float16", "float64", "bfloat16") or str(name).startswith("mixed_"):
        return np.dtype(np.float32)
    try:
        dtype: np.dtype = np.dtype(name)
    except TypeError as error:
        raise UnsupportedError(f"inputs of type {str(name)[:40]} cannot be expressed") from error
    if dtype.kind not in "fiub":
        raise UnsupportedError(f"inputs of type {dtype} cannot be expressed", hint="keep text processing outside")
    return dtype


def _input_shape(layer: LayerConfig, options: ReadOptions) -> Dims | None:
    """What the file and the user say of an input's shape: None for an open size, or for nothing at all."""
    asked = options.input_shapes.get(layer.name)
    given = None if asked is None else tuple(dim for dim in asked if dim is not None)
    if asked is not None and None in asked:
        raise UsageError("of Keras files only the batch can stay open", hint="--batch dynamic, and sizes for the rest")
    declared = layer.get("batch_shape") or layer.get("batch_input_shape")
    if declared is None:
        return given
    if not isinstance(declared, list | tuple) or not declared:
        raise ModelFileError(f"the shape {str(declared)[:80]} is malformed")
    if not all(dim is None or (isinstance(dim, int) and dim > 0) for dim in declared):
        raise ModelFileError(f"the shape {str(declared)[:80]} has dimensions that are no positive integers")
    if math.prod(dim or 1 for dim in declared) > ELEMENT_LIMIT:
        raise ModelFileError(f"the shape {str(declared)[:80]} has more than {ELEMENT_LIMIT} elements")
    if given is not None:
        fits = len(given) == len(declared) and all(
            dim in (None, size) for dim, size in zip(declared, given, strict=True)
        )
        if not fits:
            raise UsageError(
                f"the shape {shape_text(given)} contradicts {shape_text(declared)}, which the model was built for"
            )
        return tuple(given)
    batch: int | str = BATCH if options.batch == "dynamic" else options.batch
    return (batch if declared[0] is None else declared[0], *declared[1:])


def _named(g: Emitter, names: Sequence[str], outputs: Sequence[Tensor]) -> Iterator[ir.Value]:
    """The output values under names that were kept for them: those of their layers, a second one's with a number."""
    g.scope = ""
    done: set[ir.Value] = set()
    for name, tensor in zip(names, outputs, strict=True):
        value = g.plain(tensor)
        if value in done or value.is_graph_input() or value.is_initializer():
            value = g.raw("Identity", value, shape=tensor.shape)
        done.add(value)
        value.name = name
        yield value


class _Network:
    """Applies layers and graphs of layers to tensors."""

    def __init__(self, emit: Emitter) -> None:
        self.emit = emit
        emit.call = self.apply

    def run(self, graph: Graph, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of a graph."""
        names = _input_names(graph)
        if len(inputs) != len(names):
            raise ModelFileError(f"a model with {len(names)} inputs is called with {len(inputs)}")
        made: dict[tuple[str, int], list[Tensor]] = {
            (name, 0): [tensor] for name, tensor in zip(names, inputs, strict=True)
        }

        def resolve(item: Any) -> Any:
            if isinstance(item, Ref):
                outputs = made.get((item.layer, item.call), [])
                if not 0 <= item.tensor < len(outputs):
                    raise ModelFileError(f"the model refers to a tensor {item} that is never made")
                return outputs[item.tensor]
            if isinstance(item, list | tuple):
                return [resolve(part) for part in item]
            if isinstance(item, Mapping):
                return {key: resolve(part) for key, part in item.items()}
            return item

        for call in graph.calls:
            layer = graph.layers[call.layer]
            args = tuple(resolve(list(call.args)))
            kwargs = {key: resolve(value) for key, value in call.kwargs.items()}
            made[call.layer, call.index] = self.apply(layer, Inputs(args, kwargs))
        return [resolve(ref) for ref in graph.outputs]

    def apply(self, layer: LayerConfig, inputs: Inputs) -> list[Tensor]:
        """The outputs of one call of a layer or nested model."""
        if layer.graph is not None:
            return self.run(layer.graph, _leaves(inputs.args))
        spec = find(layer)
        assert spec is not None
        outer, self.emit.scope = self.emit.scope, layer.path
        with at(f"{_kind(layer)} {layer.path}"):
            try:
                inputs = _checked(layer, spec, inputs)
                made = spec.read(self.emit, layer, self.emit.weights.get(layer.path, {}), inputs)
            except UnsupportedOpError as error:
                error.hint = error.hint or WAY_OUT[layer.generation]
                raise
            except MALFORMED as error:
                what = f"its configuration or weights are malformed: {type(error).__name__}: {error}"
                raise ModelFileError(what) from error
        self.emit.scope = outer
        outputs = [made] if isinstance(made, Tensor) else list(made)
        if spec.masks == "pass" and inputs.tensors:
            for tensor in outputs:
                tensor.mask = inputs.tensors[0].mask
        return outputs


def _leaves(args: Any) -> list[Tensor]:
    """The tensors that a nested model is called with, dictionaries by sorted keys."""
    if isinstance(args, Tensor):
        return [args]
    if isinstance(args, Mapping):
        return [leaf for key in sorted(args) for leaf in _leaves(args[key])]
    if isinstance(args, list | tuple):
        return [leaf for part in args for leaf in _leaves(part)]
    return []


def _checked(layer: LayerConfig, spec: Spec, inputs: Inputs) -> Inputs:
    """The inputs without arguments that change nothing, and with a layer's tensors all among the positional ones.

    Raises:
        UnsupportedOpError: an argument or a mask would have an effect that the layer's function does not know.
    """
    if "Quantized" in str(layer.get("dtype")):
        raise unsupported("its weights are quantised by Keras", "save the model before model.quantize(...)")
    kwargs = {key: value for key, value in inputs.kwargs.items() if value is not None}
    if kwargs.pop("training", False) and layer.generation == 2:  # Keras 3 overrides it when a model predicts
        raise unsupported(
            "called with training=True, so that it behaves as in training at inference",
            "rebuild the model without that argument",
        )
    if layer.operation or layer.kind in TF_FUNCTIONS:
        return Inputs(inputs.args, kwargs)
    args, mask = inputs.args, kwargs.pop("mask", None)
    if spec.masks in ("use", "refuse"):
        if mask is None and layer.generation == 3 and "initial_state" in kwargs:
            mask = [None]  # with states of before, Keras 3 finds no name for the mask, and does without
        args = args if mask is None else _with_masks(args, mask)
    if spec.masks == "refuse" and any(tensor.mask is not None for tensor in Inputs.of(args, *kwargs.values()).tensors):
        raise unsupported(
            "depends on a mask (of a Masking layer, or of an Embedding with mask_zero=True), which is not known here",
            "put a layer before it that drops the mask, as keras.layers.Flatten and Reshape do",
        )
    named = [kwargs.pop(key) for key in INPUT_NAMES if key in kwargs]
    unknown = sorted(kwargs.keys() - set(spec.arguments))
    if unknown:
        raise unsupported(f"called with the arguments {', '.join(unknown)}, which are not understood")
    return Inputs((*named, *args), kwargs)


def _with_masks(args: Any, masks: Any) -> Any:
    """Arguments whose tensors carry the masks of a call, which stand in the same order."""
    rest = iter(masks if isinstance(masks, list | tuple) else [masks])

    def attach(item: Any) -> Any:
        if isinstance(item, Tensor):
            mask = next(rest, None)
            return replace(item, mask=mask if isinstance(mask, Tensor) else None)
        return [attach(part) for part in item] if isinstance(item, list | tuple) else item

    return tuple(attach(item) for item in args)
