"""Walks a subgraph of a .tflite file and has each operator emit its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.errors import ModelFileError, UnsupportedError, UnsupportedOpError, at
from narrowcast.model import Array, ir
from narrowcast.readers.emit import Shape, Tensor
from narrowcast.readers.formats import ReadOptions
from narrowcast.readers.tflite import file
from narrowcast.readers.tflite.check import called
from narrowcast.readers.tflite.emit import Blocks, Emitter, Stored, storage_of
from narrowcast.readers.tflite.registry import CUSTOM, KNOWN, READERS, Site, load_operators
from narrowcast.readers.tflite.shapes import input_shapes
from narrowcast.readers.tflite.unread import UNREAD
from narrowcast.readers.tflite.variables import Key, Variables, key_of, written_later
from narrowcast.targets.spelling import hold_roundings, note_operator

__all__ = ["Network", "build_graph", "check_supported"]

MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What an operator's function raises on arguments that no converter writes."""
MOST_REPEATED = 20_000
"""Operators of subgraphs beyond one call of each: where each of many calls the next one twice, the file is damaged."""
RENAMING = frozenset({"DENSIFY", "DEQUANTIZE"})
"""What gives the same numbers in another type or form; of constants they are no operators."""

NOTED = {
    "BATCH_MATMUL": ("MatMul",),
    "CONV_2D": ("Conv",),
    "DEPTHWISE_CONV_2D": ("Conv",),
    "FULLY_CONNECTED": ("Gemm", "MatMul"),
    "SQUARED_DIFFERENCE": ("Mul",),
}
"""Operators whose nodes carry their name, as others compute the same but for roundings."""


def check_supported(graph: file.Subgraph) -> None:
    """Refuses a subgraph with operators that no function reads, naming all of them.

    Raises:
        UnsupportedOpError: there are some.
    """
    load_operators()
    unknown = [operator for operator in graph.operators if _reader(operator) is None]
    if not unknown:
        return
    names = dict.fromkeys(operator.title for operator in unknown)
    first = ", ".join(f"{operator.index}" for operator in unknown[:8])
    raise UnsupportedOpError(
        f"no reader for {', '.join(names)} (operators {first}{', ...' if len(unknown) > 8 else ''})",
        hint=_hint(unknown[0]),
    )


def _reader(operator: file.Operator) -> Any:
    return CUSTOM.get(operator.custom) if operator.name == "CUSTOM" else READERS.get(operator.name)


def _hint(operator: file.Operator) -> str:
    if operator.custom == "edgetpu-custom-op":
        return "it is machine code for an Edge TPU, made by its compiler: give the .tflite file that was compiled"
    if operator.custom.startswith("Flex"):
        return "it is an operator of TensorFlow: convert the original with TFLite's own operators only"
    return UNREAD.get(operator.name, "docs/tflite-coverage.md lists what is read")


def build_graph(
    source: file.File,
    graph: file.Subgraph,
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    options: ReadOptions,
) -> ir.Model:
    """The ONNX graph of a subgraph, its inputs and outputs laid out as in the file.

    Args:
        source: the whole file.
        graph: one of its subgraphs.
        inputs: the names of its ports, with the indices of their tensors.
        outputs: likewise.
        options: what is pinned.

    Raises:
        ModelFileError: an operator's arguments contradict one another.
        UnsupportedOpError: an operator cannot be expressed.
    """
    check_supported(graph)
    _check_calls(source, graph)
    build = Builder.new(graph.name or "network")
    names = [build.unique(name) for name in (*inputs, *outputs)]
    network = Network(source, graph, Emitter(build), keep_custom=options.keep_custom)
    shapes = input_shapes(graph, inputs, options)
    for name, index in inputs.items():
        network.feed(index, name, shapes[name])
    if network.exact:
        hold_roundings(build.graph)
    network.run()
    results = [network.result(index, name) for name, index in zip(names[len(inputs) :], outputs.values(), strict=True)]
    _check_batch(network, inputs, outputs)
    return build.finish(results, producer=source.description)


def _check_calls(source: file.File, graph: file.Subgraph) -> None:
    """Refuses a subgraph that is far larger when each call within has its own copy.

    Raises:
        UnsupportedOpError: it is.
    """
    sizes: dict[int, int] = {}

    def size(index: int) -> int:
        if index not in sizes:
            operators = source.subgraphs[index].operators
            twice = {"WHILE": 2}
            inner = (twice.get(operator.name, 1) * size(other) for operator in operators for other in called(operator))
            sizes[index] = len(operators) + sum(inner)
        return sizes[index]

    if size(graph.index) - sum(len(each.operators) for each in source.subgraphs) > MOST_REPEATED:
        raise UnsupportedOpError(f"its subgraphs have {size(graph.index)} operators when each call has its own")


def _check_batch(network: Network, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
    """Outputs have the batch that the inputs were given.

    Raises:
        UnsupportedError: something in the file fixes it.
    """
    stored = network.graph.tensors
    asked = {network.tensor(index).shape[0] for index in inputs.values() if stored[index].shape}
    before = {stored[index].shape[0] for index in inputs.values() if stored[index].shape}
    if len(asked) != 1 or len(before) != 1 or asked == before:
        return
    for name, index in outputs.items():
        shape = network.tensor(index).shape
        if stored[index].shape[:1] == tuple(before) and shape[:1] == tuple(before):
            what = f"the output {name!r} is of a batch of {before.pop()} whatever the inputs are"
            raise UnsupportedError(what, hint="leave the batch as it is in the file")


class Network:
    """The tensors of one subgraph, as they come to be.

    Attributes:
        source: the whole file.
        graph: the subgraph.
        emit: appends nodes.
        keep_custom: whether custom operators stay such where LiteRT has them.
        exact: whether something is computed by integers that stand for real numbers, so that roundings count.
        within: whether it becomes a graph within another, which sees nothing but what it is handed.
        variables: of the whole file.
        handles: which tensors are handles of variables.
        resized: whether an input has another shape than in the file.
    """

    def __init__(
        self,
        source: file.File,
        graph: file.Subgraph,
        emit: Emitter,
        variables: Variables | None = None,
        *,
        keep_custom: bool = False,
        within: bool = False,
    ) -> None:
        self.source, self.graph, self.emit = source, graph, emit
        self.keep_custom, self.within = keep_custom, within
        self.variables = Variables(written_later(source)) if variables is None else variables
        self.exact = any(map(self._by_scales, graph.operators))
        self.handles: dict[int, Key] = {}
        self.resized = False
        self._made: dict[int, Tensor] = {}
        self._holders: dict[int, int] = {}
        self._known: dict[int, Array] = {}
        self._results: set[str] = set()

    def feed(self, index: int, name: str, shape: Shape) -> None:
        """Makes a tensor an input of the graph."""
        stored = self.graph.tensors[index]
        with at(f"input {name}"):
            value = self.emit.build.input(name, shape, stored.dtype)
            self._made[index] = self._read(stored, Tensor(shape, stored.dtype, value))
            self.resized = self.resized or shape != stored.shape

    def _by_scales(self, operator: file.Operator) -> bool:
        """Whether an operator computes with a tensor that is stored by a scale."""
        tensors = [self.graph.tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0]
        return operator.name not in RENAMING and any(storage_of(tensor) is not None for tensor in tensors)

    def run(self) -> None:
        """Emits all operators in their order."""
        for operator in self.graph.operators:
            held = self.constant(operator.inputs[0]) if operator.name in RENAMING else None
            if held is not None:
                self._holders[operator.outputs[0]] = held.index
                continue
            first = self.graph.tensors[operator.outputs[0]].name if operator.outputs else ""
            self.emit.scope = first or f"operator_{operator.index}"
            with at(f"{operator.title} {operator.index} ({self.emit.scope})"):
                site = Site(self, operator)
                before = len(self.emit.build.graph) if self.exact else 0
                try:
                    made = _reader(operator)(site)
                    known = KNOWN[operator.name](site) if operator.name in KNOWN else ()
                except MALFORMED as error:
                    what = f"its arguments are malformed: {type(error).__name__}: {error}"
                    raise ModelFileError(what) from error
                if self.exact and operator.name in NOTED:
                    for node in islice(reversed(self.emit.build.graph), len(self.emit.build.graph) - before):
                        if node.op_type in NOTED[operator.name]:
                            note_operator(node, operator.name, asymmetric=site.flag("asymmetric_quantize_inputs"))
                tensors = [made] if isinstance(made, Tensor) else list(made)
                for index, tensor in zip(operator.outputs, tensors, strict=False):
                    self._computed(self.graph.tensors[index], tensor)
                self._known.update(
                    (index, array) for index, array in zip(operator.outputs, known, strict=False) if array is not None
                )

    def tensor(self, index: int) -> Tensor:
        """A tensor as operators compute with it: real numbers where it is stored by a scale.

        Raises:
            ModelFileError: it is read before it is made.
        """
        if index not in self._made:
            stored = self.constant(index)
            if stored is None or stored.array is None:
                raise ModelFileError(f"tensor {index} {self.graph.tensors[index].name!r} is read before it is made")
            array = stored.array if stored.blocks is None else self._of_blocks(stored)
            value = self.emit.build.constant(array, stored.name or f"constant_{index}")
            made = self._read(stored, Tensor(array.shape, array.dtype, value))
            if stored.index != index:
                made = self.emit.cast(Tensor(made.shape, made.dtype, made.value), np.float32)
            self._made[index] = made
        return self._made[index]

    def _of_blocks(self, stored: file.Tensor) -> Array:
        """The real numbers of weights of which each run of inputs has a scale."""
        assert stored.array is not None
        scales, size = self.scales_of(stored)
        real: Array = stored.array * np.repeat(scales, size, axis=1)
        return real

    def scales_of(self, stored: file.Tensor) -> tuple[Array, int]:
        """The scales of weights in blocks, float32 [out, runs], and how many inputs a run has."""
        assert stored.blocks is not None
        scales = self.graph.tensors[stored.blocks[0]].array
        assert scales is not None
        return scales.astype(np.float32), stored.blocks[1]

    def inline(self, index: int, operands: Sequence[Tensor]) -> list[Tensor]:
        """Emits the operators of another subgraph; what goes in and comes out is as it is stored.

        Raises:
            ModelFileError: it takes other operands.
        """
        graph = self.source.subgraphs[index]
        check_supported(graph)
        inner = Network(self.source, graph, self.emit, self.variables, keep_custom=self.keep_custom, within=self.within)
        kinds = [graph.tensors[number].dtype for number in graph.inputs]
        if kinds != [tensor.dtype for tensor in operands]:
            raise ModelFileError(f"subgraph {index} takes {', '.join(map(str, kinds)) or 'no'} operands")
        for number, tensor in zip(graph.inputs, operands, strict=True):
            inner._made[number] = inner.meaning(number, tensor)
        if inner.exact:
            hold_roundings(self.emit.build.graph)
        scope, self.emit.scope = self.emit.scope, ""
        with at(f"subgraph {index}"):
            inner.run()
        self.emit.scope = scope
        return [inner.raw(number) for number in graph.outputs]

    def nested(self, build: Builder) -> Network:
        """The same place of the file, where another graph is built within the one at hand."""
        return Network(
            self.source, self.graph, Emitter(build), self.variables, keep_custom=self.keep_custom, within=True
        )

    def raw(self, index: int) -> Tensor:
        """A tensor as it is stored."""
        tensor = self.tensor(index)
        if isinstance(tensor, Blocks):
            tensor = self.emit.settled(tensor)
        return tensor.integers if isinstance(tensor, Stored) and tensor.integers is not None else tensor

    def meaning(self, index: int, tensor: Tensor) -> Tensor:
        """What a tensor means, given as it is stored."""
        return self._read(self.graph.tensors[index], tensor)

    def initialise(self, index: int) -> None:
        """Notes what a subgraph writes to variables before the first inference: constants.

        Raises:
            UnsupportedOpError: it does more than that.
        """
        graph = self.source.subgraphs[index]
        handles = {found.outputs[0]: key_of(found) for found in graph.operators if found.name == "VAR_HANDLE"}
        for operator in graph.operators:
            if operator.name == "VAR_HANDLE":
                continue
            if operator.name != "ASSIGN_VARIABLE":
                raise UnsupportedOpError(f"variables are initialised by {operator.title}, not by constants alone")
            value = graph.tensors[operator.inputs[1]]
            if value.array is None or operator.inputs[0] not in handles:
                raise UnsupportedOpError("variables are initialised by what is computed")
            self.variables.initial.setdefault(handles[operator.inputs[0]], value)

    def variable(self, handle: int) -> Tensor:
        """What a variable holds by now, as it is stored.

        Raises:
            UnsupportedOpError: that is what an inference leaves for the next one.
            ModelFileError: it holds nothing yet.
        """
        key = self._key(handle)
        if key in self.variables.now and not self.within:
            return self.variables.now[key]
        if key in self.variables.lasting:
            what = f"it reads what the inference before, or another graph, has left in the variable {key[1]!r}"
            raise UnsupportedOpError(what, hint="make it an input and an output of the network")
        if key not in self.variables.initial:
            raise ModelFileError(f"the variable {key[1]!r} is read, and nothing has been written to it")
        stored = self.variables.initial[key]
        assert stored.array is not None
        value = self.emit.build.constant(stored.array, key[1] or "variable")
        return Tensor(stored.array.shape, stored.array.dtype, value)

    def assign(self, handle: int, index: int) -> None:
        """Notes what a variable holds from now on.

        Raises:
            UnsupportedOpError: that may happen several times, or not at all.
        """
        key = self._key(handle)
        if self.within:
            raise UnsupportedOpError(f"the variable {key[1]!r} is written in a loop or a branch")
        self.variables.now[key] = self.raw(index)

    def _key(self, handle: int) -> Key:
        if handle not in self.handles:
            raise UnsupportedOpError("the handle of a variable is handed from graph to graph")
        return self.handles[handle]

    def is_made(self, index: int) -> bool:
        """Whether a tensor is a constant, an input, or computed by now; a variable that nothing has written is not."""
        return index in self._made or self.constant(index) is not None

    def is_read_after(self, index: int, operator: int) -> bool:
        """Whether a tensor is an output, or read by an operator behind one."""
        later = self.graph.operators[operator + 1 :]
        return index in self.graph.outputs or any(index in found.inputs for found in later)

    def remake(self, index: int, tensor: Tensor) -> None:
        """Notes what a variable holds from now on."""
        self._computed(self.graph.tensors[index], tensor)

    def constant(self, index: int) -> file.Tensor | None:
        """The tensor that holds the elements of a constant: itself, or one that is only stored in another way."""
        stored = self.graph.tensors[self._holders.get(index, index)]
        return stored if stored.content is not None else None

    def known(self, index: int) -> Array | None:
        """What a tensor holds, where that is known while it is read; names of open dimensions may be among numbers."""
        stored, shape = self.constant(index), self.graph.tensors[index].shape
        if stored is None and index not in self._known and 0 in shape:
            return np.empty(shape, np.int64)
        return self._known.get(index) if stored is None else stored.array

    def result(self, index: int, name: str) -> ir.Value:
        """The value of a tensor as an output of the graph: the integers of one that is stored by a scale."""
        self.emit.scope = ""
        tensor = self.raw(index)
        value = self.emit.plain(tensor)
        if value.is_graph_input() or value.is_initializer() or value.name in self._results:
            value = self.emit.raw("Identity", value, shape=tensor.shape, dtype=tensor.dtype)
        value.name = name
        self._results.add(name)
        return value

    def _read(self, stored: file.Tensor, tensor: Tensor) -> Tensor:
        """What a tensor of the file means, given in the type in which it is stored."""
        scales = storage_of(stored)
        return tensor if scales is None else self.emit.stored(tensor, scales)

    def _computed(self, stored: file.Tensor, made: Tensor) -> None:
        """Notes what an operator has computed: real numbers are rounded to what the file stores."""
        scales = storage_of(stored)
        if scales is not None and isinstance(made, Blocks):
            made.whole, made.stored = self.emit.quantised(made.whole, scales, stored.dtype), stored
        elif scales is not None and not isinstance(made, Stored):
            made = self.emit.quantised(made, scales, stored.dtype)
        elif scales is None and made.dtype != stored.dtype:
            raise UnsupportedOpError(f"it gives {made.dtype}, where the file has {stored.type}")
        self._name(stored, made)
        self._made[stored.index] = made

    def _name(self, stored: file.Tensor, made: Tensor) -> None:
        """The value that holds a tensor gets its name."""
        holder = made.integers if isinstance(made, Stored) and made.integers is not None else made
        value = holder.value if holder.value is not None else holder.first
        if value is not None and stored.name and not value.is_graph_input() and not value.is_initializer():
            value.name = self.emit.build.unique(stored.name)
