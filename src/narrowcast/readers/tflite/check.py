"""Whether the graphs of a file are graphs: what operators read has been computed, and nothing is computed twice.

Runtimes believe this of a file, and some of them end the process where it is not so: whatever is handed to one is
checked here before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter

import numpy as np

from narrowcast.errors import UnsupportedError, at
from narrowcast.readers.tflite.file import File, Operator, Subgraph, Tensor
from narrowcast.schemas.flatbuffer import damaged

__all__ = ["called", "check"]

MOST_NESTED = 64
"""Subgraphs that call one another: runtimes prepare and run them by recursion."""

_LSTM = frozenset((1, 5, 9, 10, 11, 12, 16, 17, *range(20, 24)))
OPTIONAL: Mapping[str, frozenset[int]] = {
    "CONV_2D": frozenset({2}),
    "DEPTHWISE_CONV_2D": frozenset({2}),
    "FULLY_CONNECTED": frozenset({2}),
    "CONV_3D": frozenset({2}),
    "TRANSPOSE_CONV": frozenset({3}),
    "CONV_3D_TRANSPOSE": frozenset({3}),
    "SVDF": frozenset({3}),
    "LSTM": _LSTM,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _LSTM,
    "BIDIRECTIONAL_SEQUENCE_RNN": frozenset(range(9, 12)),
    "BIDIRECTIONAL_SEQUENCE_LSTM": frozenset(
        (1, 5, *range(9, 13), 16, 17, 18, 22, *range(26, 30), 33, 34, *range(39, 48))
    ),
}
"""The operands that may be left out (-1), by operator."""

_ARITIES = """
0 0: CALL_ONCE
0 1: HASHTABLE VAR_HANDLE
1 1: ABS AVERAGE_POOL_2D BITCAST BUCKETIZE CAST CEIL COMPLEX_ABS COS DENSIFY DEPTH_TO_SPACE DEQUANTIZE ELU EXP
    FAKE_QUANT FLOOR GELU HARD_SWISH HASHTABLE_SIZE IMAG L2_NORMALIZATION L2_POOL_2D LEAKY_RELU
    LOCAL_RESPONSE_NORMALIZATION LOG LOGICAL_NOT LOGISTIC LOG_SOFTMAX MATRIX_DIAG MAX_POOL_2D NEG QUANTIZE
    RANDOM_STANDARD_NORMAL RANDOM_UNIFORM RANK READ_VARIABLE REAL RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 ROUND RSQRT SHAPE
    SIGN SIN SKIP_GRAM SOFTMAX SPACE_TO_DEPTH SQRT SQUARE SQUEEZE TANH WHERE ZEROS_LIKE
1-2 1: RESHAPE
1-* 1: ADD_N CONCATENATION PACK
1 2: UNIQUE MaxPoolingWithArgmax2D
1 1-*: UNPACK
1-* 0-*: IF WHILE
2 0: ASSIGN_VARIABLE
2 1: ADD ARG_MAX ARG_MIN ATAN2 BATCH_MATMUL BITWISE_XOR BROADCAST_ARGS BROADCAST_TO CUMSUM DIV EMBEDDING_LOOKUP EQUAL
    EXPAND_DIMS FILL FLOOR_DIV FLOOR_MOD GATHER GATHER_ND GREATER GREATER_EQUAL LESS LESS_EQUAL LOGICAL_AND LOGICAL_OR
    MATRIX_SET_DIAG MAXIMUM MEAN MINIMUM MIRROR_PAD MUL MULTINOMIAL NOT_EQUAL PAD POW PRELU REDUCE_ALL REDUCE_ANY
    REDUCE_MAX REDUCE_MIN REDUCE_PROD RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_SEQUENCE REVERSE_V2 RFFT2D
    RIGHT_SHIFT SEGMENT_SUM SQUARED_DIFFERENCE SUB SUM TILE TRANSPOSE MaxUnpooling2D
2 1-*: SPLIT
2 2: TOPK_V2
2-3 1: CONV_2D CONV_3D LSH_PROJECTION
2-3 1-2: FULLY_CONNECTED
3 0: HASHTABLE_IMPORT
3 1: BATCH_TO_SPACE_ND DEPTHWISE_CONV_2D DILATE DYNAMIC_UPDATE_SLICE HASHTABLE_FIND PADV2 RANGE SCATTER_ND SELECT
    SELECT_V2 SLICE
    SPACE_TO_BATCH_ND UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_MIN UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_SUM
    Convolution2DTransposeBias
3 1-*: SPLIT_V
3 2: HASHTABLE_LOOKUP
3 4: TFLite_Detection_PostProcess
3-4 1: CONV_3D_TRANSPOSE TRANSPOSE_CONV
4 1: ONE_HOT SPARSE_TO_DENSE STRIDED_SLICE
4-5 1-2: SVDF
5 1: EMBEDDING_LOOKUP_SPARSE UNIDIRECTIONAL_SEQUENCE_RNN
5 1-2: RNN
5 2: NON_MAX_SUPPRESSION_V4
5-24 1-4: LSTM
6 3: NON_MAX_SUPPRESSION_V5
12 1-2: BIDIRECTIONAL_SEQUENCE_RNN
20-24 1-3: UNIDIRECTIONAL_SEQUENCE_LSTM
48 1-2: BIDIRECTIONAL_SEQUENCE_LSTM
"""


TOGETHER: Mapping[str, tuple[frozenset[int], ...]] = {
    "LSTM": (frozenset({1, 5, 12}),),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (frozenset({1, 5, 12}),),
    "BIDIRECTIONAL_SEQUENCE_LSTM": (frozenset({1, 5, 12}), frozenset({18, 22, 29})),
}
"""Operands that are left out together: those of the input gate, which may be coupled to the forget gate."""

HANDLES = frozenset(
    {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "IF", "WHILE"}
    | {"HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE"}
)
"""Operators on resources, whose tensors hold no elements."""
MOVING = frozenset(
    {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "TILE", "PAD", "PADV2", "MIRROR_PAD"}
    | {"GATHER_ND", "REVERSE_V2", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "SPLIT_V", "UNPACK", "PACK", "CONCATENATION"}
    | {"BROADCAST_TO", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"}
)
"""Operators whose first input and output are of one type."""

ALIKE = frozenset(
    {"ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGICAL_NOT", "LOGISTIC"}
    | {"LOG_SOFTMAX", "L2_NORMALIZATION", "LOCAL_RESPONSE_NORMALIZATION", "NEG", "RELU", "RELU6", "RELU_0_TO_1"}
    | {"RELU_N1_TO_1", "ROUND", "RSQRT", "SIGN", "SIN", "SOFTMAX", "SQRT", "SQUARE", "TANH", "ZEROS_LIKE"}
)
"""Operators whose input and output are of one shape and one type."""
CONVERTING = frozenset({"CAST", "DENSIFY", "DEQUANTIZE", "FAKE_QUANT", "QUANTIZE"})
"""Those whose input and output are of one shape alone."""
BROADCASTING = frozenset(
    {"ADD", "SUB", "MUL", "DIV", "FLOOR_DIV", "FLOOR_MOD", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE", "ATAN2"}
    | {"EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "PRELU"}
    | {"BITWISE_XOR", "RIGHT_SHIFT"}
)
"""Those of two operands of one type, broadcast to the shape of the output."""

SEQUENCES = frozenset({"LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"})
"""Operators whose input is a step, or a sequence of them, with a batch."""
MOST_RESHAPED = 8
"""Axes that RESHAPE makes."""
WINDOWS = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE"}
    | {"AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"}
)
"""Operators whose strides, windows and dilations are at least 1."""

COMPARING = frozenset({"EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"})
RESCALING = COMPARING | {"ADD", "SUB", "SQUARED_DIFFERENCE", "SQRT", "RSQRT", "LOG"}
"""Operators whose kernels divide by the scales of integers without asking whether there are any."""
PLAIN = COMPARING | {"ADD"}
"""Those that take integers of 16 bits that stand for nothing else."""
RATIOS: Mapping[str, tuple[int, Mapping[str, int]]] = {
    "ADD": (1, {"INT8": 20, "UINT8": 20, "INT16": 15}),
    "SQUARED_DIFFERENCE": (2, {"INT8": 14}),
}
"""Operators whose kernels multiply by (2 max(scales of inputs))^n / (2^bits scale of the output), which must be less
than 1: n, and bits by type."""


def _arities() -> Iterator[tuple[str, tuple[range, range]]]:
    """How many inputs and outputs operators have, from `_ARITIES`; "*" for any number."""
    for line in _ARITIES.strip().replace("\n    ", " ").splitlines():
        numbers, _, names = line.partition(": ")
        ends = [part.partition("-") for part in numbers.split()]
        inputs, outputs = (
            range(int(low), sys.maxsize if high == "*" else int(high or low) + 1) for low, _, high in ends
        )
        yield from ((name, (inputs, outputs)) for name in names.split())


ARITIES: Mapping[str, tuple[range, range]] = dict(_arities())
"""How many inputs and outputs an operator has, by its name, a custom one's own included; others have any number."""


def check(file: File) -> None:
    """Refuses a file whose graphs are none.

    Raises:
        ModelFileError: an operator reads what nobody computes, or writes what is there already; subgraphs call one
            another in circles.
    """
    for graph in file.subgraphs:
        with at(f"subgraph {graph.index}"):
            _check_order(graph)
    _check_calls(file)


def _check_order(graph: Subgraph) -> None:
    """Every tensor is there before it is read, and written once; variables are there from the beginning."""
    tensors = graph.tensors
    made = {index for operator in graph.operators for index in operator.outputs}.union(graph.inputs)
    constants = {
        tensor.index
        for tensor in tensors
        if tensor.content is not None or (0 in tensor.shape and tensor.index not in made)
    }
    there = constants | {tensor.index for tensor in tensors if tensor.variable} | set(graph.inputs)
    if fed := constants.intersection(graph.inputs):
        raise damaged(f"its input {tensors[min(fed)].name!r} is a constant")
    for tensor in tensors:
        with at(f"tensor {tensor.index} {tensor.name!r}"):
            _check_blocks(tensor, tensors)
    for operator in graph.operators:
        with at(f"{operator.title} {operator.index}"):
            _check_arity(operator)
            _check_options(operator)
            _check_scales(operator, tensors)
            _check_types(operator, tensors)
            for index in operator.inputs:
                if index >= 0 and index not in there:
                    raise damaged(f"it reads the tensor {tensors[index].name!r}, which nothing before it computes")
            for index in operator.outputs:
                if index in there and not tensors[index].variable:
                    raise damaged(f"it writes the tensor {tensors[index].name!r}, which is there already")
                there.add(index)
            _check_shapes(operator, tensors)
    for index in graph.outputs:
        if index not in there:
            raise damaged(f"nothing computes its output {tensors[index].name!r}")


def _check_blocks(tensor: Tensor, tensors: Sequence[Tensor]) -> None:
    """Scales of blocks are there, one for each."""
    if tensor.blocks is None:
        return
    index, size = tensor.blocks
    scales = tensors[index] if 0 <= index < len(tensors) else None
    if scales is None or scales.type != "FLOAT16" or scales.content is None or tensor.content is None:
        raise damaged("the scales of its blocks are no constant in half precision")
    if scales.shape != (tensor.shape[0], tensor.shape[1] // size):
        raise damaged(f"it has the scales {list(scales.shape)} for its blocks of {size} of {list(tensor.shape)}")
    array = scales.array
    if array is None or not (np.isfinite(array) & (array > 0)).all():
        raise damaged("a scale of its blocks is no positive number")


def _check_arity(operator: Operator) -> None:
    """An operator has as many inputs and outputs as its name asks for, and lacks none that it needs."""
    wanted = ARITIES.get(operator.custom or operator.name)
    for what, found, range_ in zip(
        ("inputs", "outputs"), (operator.inputs, operator.outputs), wanted or (), strict=False
    ):
        if len(found) not in range_:
            raise damaged(f"it has {len(found)} {what}")
    absent = {place for place, index in enumerate(operator.inputs) if index < 0}
    if operator.name != "CUSTOM" and (needed := absent - OPTIONAL.get(operator.name, frozenset())):
        raise damaged(f"its operand {min(needed)} is left out")
    if any(0 < len(absent & group) < len(group) for group in TOGETHER.get(operator.name, ())):
        raise damaged(f"only some operands of a gate are left out: {sorted(absent)}")


def _check_options(operator: Operator) -> None:
    """Windows have sizes, and what makes parts makes as many as it has outputs."""
    options = operator.options
    if operator.name in WINDOWS:
        if options is None:
            raise damaged("it has no options")
        for field in options.kind.fields:
            if field.startswith(("stride_", "filter_", "dilation_")) and options[field] < 1:
                raise damaged(f"its {field} is {options[field]}")
    parts = {"SPLIT": "num_splits", "SPLIT_V": "num_splits", "UNPACK": "num"}.get(operator.name)
    count = None if parts is None else (0 if options is None else options[parts])
    if count not in (None, len(operator.outputs)):
        raise damaged(f"it makes {count} parts, and has {len(operator.outputs)} outputs")


def _check_types(operator: Operator, tensors: Sequence[Tensor]) -> None:
    """Resources are handled by their own operators, and what moves elements does not change their type."""
    types = [tensors[index].type for index in (*operator.inputs, *operator.outputs) if index >= 0]
    if operator.name not in HANDLES and {"RESOURCE", "VARIANT"}.intersection(types):
        raise damaged("it computes with a tensor that is a resource")
    if operator.name in MOVING and types[0] != tensors[operator.outputs[0]].type:
        raise damaged(f"it makes {tensors[operator.outputs[0]].type} of {types[0]}")
    if operator.name in SEQUENCES and len(tensors[operator.inputs[0]].shape) not in (2, 3):
        raise damaged(f"its input has {len(tensors[operator.inputs[0]].shape)} axes")
    if operator.name == "RESHAPE" and any(sum(tensors[i].shape) > MOST_RESHAPED for i in operator.inputs[1:]):
        raise damaged(f"it makes a shape of more than {MOST_RESHAPED} axes")


def _check_shapes(operator: Operator, tensors: Sequence[Tensor]) -> None:
    """What computes element by element makes the shape that its operands have, of one type."""
    if operator.name not in ALIKE | CONVERTING | BROADCASTING:
        return
    operands, result = [tensors[index] for index in operator.inputs], tensors[operator.outputs[0]]
    types = {tensor.type for tensor in (*operands, *([result] if operator.name in ALIKE else ()))}
    if operator.name not in CONVERTING and len(types) > 1 and (operator.name, result.type) != ("SOFTMAX", "INT16"):
        raise damaged(f"it computes with {' and '.join(sorted(types))}")
    if operator.name == "QUANTIZE" and 0 in operands[0].shape:
        raise damaged("it quantises a tensor without elements")
    if any(-1 in tensor.signature or (tensor.content is None and not tensor.shape) for tensor in (*operands, result)):
        return  # an open shape, which () may stand for
    shapes = [tensor.shape for tensor in operands]
    with suppress(ValueError):
        if np.broadcast_shapes(*shapes) == result.shape:
            return
    raise damaged(f"it makes the shape {list(result.shape)} of {' and '.join(str(list(row)) for row in shapes)}")


def _check_scales(operator: Operator, tensors: Sequence[Tensor]) -> None:
    """What integer kernels divide by is there, and no ratio of scales is beyond their multipliers."""
    operands = [tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0]
    stored = [tensor for tensor in operands if tensor.type in ("INT8", "UINT8", "INT16")]
    for tensor in stored:
        scale = None if tensor.quantization is None else tensor.quantization.scale
        plain = operator.name in PLAIN and all((row.type, row.quantization) == ("INT16", None) for row in stored)
        if scale is None and operator.name in RESCALING and not plain:
            raise damaged(f"its operand {tensor.name!r} is {tensor.type} and has no scale")
        if scale is not None and tensor.content is None and (scale < np.finfo(np.float32).tiny).any():
            raise damaged(f"the scale of {tensor.name!r} is 0, or nearly")
    scales = [float(tensor.quantization.scale[0]) for tensor in stored if tensor.quantization is not None]
    if operator.name in RATIOS and len(scales) == len(operands) == 3:
        power, bits = RATIOS[operator.name]
        one, other, result = scales
        if (2 * max(one, other)) ** power >= 2 ** bits.get(stored[0].type, 0) * result:
            raise damaged(f"its scales {one:g}, {other:g} and {result:g} are too far apart")


def called(operator: Operator) -> Iterator[int]:
    """The subgraphs that an operator calls, by index."""
    if operator.options is None:
        return
    for name, field in operator.options.kind.fields.items():
        if name == "subgraph" or name.endswith("_subgraph_index"):
            yield operator.options[name]
        elif name.endswith("_subgraph_indices") and field.kind == "numbers":
            yield from operator.options[name].tolist() if operator.options.has(name) else ()


def _check_calls(file: File) -> None:
    """Every subgraph that is called is there, and none calls itself, be it through others."""
    calls = {
        graph.index: {index for operator in graph.operators for index in called(operator)} for graph in file.subgraphs
    }
    for caller, indices in calls.items():
        for index in indices:
            if index not in calls:
                raise damaged(f"subgraph {caller} calls subgraph {index}, and there are {len(calls)}")
    try:
        order = TopologicalSorter(calls).static_order()
        depths: dict[int, int] = {}
        for index in order:
            depths[index] = 1 + max((depths[inner] for inner in calls[index]), default=0)
    except CycleError as error:
        raise damaged(f"the subgraphs {', '.join(map(str, error.args[1]))} call one another in a circle") from error
    if max(depths.values()) > MOST_NESTED:
        raise UnsupportedError(f"its subgraphs call one another {max(depths.values())} deep")
