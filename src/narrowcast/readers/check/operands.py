"""Operands that fit their operator: what ONNX's own shape inference does not compare.

A row of `_SHAPES` spells the shapes of an operator's inputs as https://onnx.ai/onnx/operators does: one word a
dimension, a letter for a size that is the same wherever it stands, a product of letters and numbers, `?` for any, `...`
for the spatial axes. Constants must lie in range, attributes be one of the words that ONNX lists.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.errors import ModelFileError
from narrowcast.model import ir
from narrowcast.readers.check.structure import graphs_of, where

__all__ = ["check_operands"]

MOST_ELEMENTS = 2**36

Dims = tuple[int | None, ...]
Sizes = dict[str, int]

_SHAPES: dict[str, tuple[str, ...]] = {
    "Conv": ("N GK ...", "M K ...", "M"),
    "ConvTranspose": ("N C ...", "C K ...", "GK"),
    "BatchNormalization": ("N C ...", "C", "C", "C", "C"),
    "InstanceNormalization": ("N C ...", "C", "C"),
    "GroupNormalization": ("N C ...", "C", "C"),
    "LSTM": ("? ? I", "D 4H I", "D 4H H", "D 8H", "?", "? ? H", "? ? H", "D 3H"),
    "GRU": ("? ? I", "D 3H I", "D 3H H", "D 6H", "?", "? ? H"),
    "RNN": ("? ? I", "D H I", "D H H", "D 2H", "?", "? ? H"),
}
_ONE_ELEMENT = {
    "Clip": (1, 2),
    "CumSum": (1,),
    "If": (0,),
    "Loop": (0, 1),
    "OneHot": (1,),
    "Pad": (2,),
    "Range": (0, 1, 2),
    "TopK": (1,),
}
"""Inputs that are one number, whether they are written as a scalar or as a vector."""

_COORDINATES = "half_pixel half_pixel_symmetric pytorch_half_pixel align_corners asymmetric tf_half_pixel_for_nn"
_REDUCTIONS = "none add mul max min"
_RECURRENT = "forward reverse bidirectional"
_PADS = "NOTSET SAME_UPPER SAME_LOWER VALID"
_WORDS: dict[tuple[str, str], str] = {
    **{(op_type, "direction"): _RECURRENT for op_type in ("LSTM", "GRU", "RNN")},
    **{(op_type, "auto_pad"): _PADS for op_type in ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")},
    **{(op_type, "reduction"): _REDUCTIONS for op_type in ("ScatterElements", "ScatterND")},
    ("BitShift", "direction"): "LEFT RIGHT",
    ("DepthToSpace", "mode"): "DCR CRD",
    ("Gelu", "approximate"): "none tanh",
    ("GridSample", "mode"): "linear nearest cubic",
    ("GridSample", "padding_mode"): "zeros border reflection",
    ("Pad", "mode"): "constant reflect edge wrap",
    ("Resize", "coordinate_transformation_mode"): f"{_COORDINATES} tf_crop_and_resize",
    ("Resize", "mode"): "nearest linear cubic",
    ("Resize", "nearest_mode"): "round_prefer_floor round_prefer_ceil floor ceil",
}
_AT_LEAST_1 = {
    ("Conv", "group"),
    ("ConvTranspose", "group"),
    ("LRN", "size"),
    ("DepthToSpace", "blocksize"),
    ("SpaceToDepth", "blocksize"),
}
_FLAGS = frozenset(
    {"allowzero", "ceil_mode", "count_include_pad", "keepdims", "layout", "linear_before_reset", "transA", "transB"}
)
"""Attributes that are 0 or 1."""
_WINDOWS = frozenset({"kernel_shape", "strides", "dilations", "pads", "output_padding", "blocksize", "group"})
LARGEST_WINDOW = 2**31 - 1


def check_operands(graph: Iterable[ir.Node]) -> None:
    """Operands, constants and attributes fit the operators of the canonical opset, as far as shapes are known.

    Raises:
        ModelFileError: some do not.
    """
    for node in graph:
        if node.domain:
            continue
        for check in (_sizes, _attributes, _single_numbers, _shapes, *_SPECIAL.get(node.op_type, ())):
            for complaint in check(node):
                raise ModelFileError(complaint, where=where(node), hint="the file contradicts itself; export it again")


def _dims(value: ir.Value | None) -> Dims | None:
    """The sizes of a value, None where they are open; None for an absent one and one of unknown rank."""
    if value is None or value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else None for dim in value.shape)


def _text(dims: Sequence[object]) -> str:
    return f"[{', '.join('?' if dim is None else str(dim) for dim in dims)}]"


def _sizes(node: ir.Node) -> Iterator[str]:
    for value in node.outputs:
        dims = _dims(value)
        if dims is not None and math.prod(dim or 1 for dim in dims) > MOST_ELEMENTS:
            yield f"its output has the shape {_text(dims)}, which no memory holds"


def _attributes(node: ir.Node) -> Iterator[str]:
    for name, attribute in node.attributes.items():
        key = (node.op_type, name)
        if key in _WORDS and attribute.value not in _WORDS[key].split():
            yield f"its attribute {name!r} is {attribute.value!r}, not one of: {_WORDS[key].replace(' ', ', ')}"
        if key in _AT_LEAST_1 and attribute.as_int() < 1:
            yield f"its attribute {name!r} is {attribute.as_int()}, not 1 or more"
        if name in _WINDOWS and any(abs(size) > LARGEST_WINDOW for size in np.atleast_1d(attribute.value).tolist()):
            yield f"its attribute {name!r} is {attribute.value}, larger than any window can be"
        if name in _FLAGS and attribute.as_int() not in (0, 1):
            yield f"its attribute {name!r} is {attribute.as_int()}, neither 0 nor 1"


def _single_numbers(node: ir.Node) -> Iterator[str]:
    for index in _ONE_ELEMENT.get(node.op_type, ()):
        dims = _dims(node.inputs[index]) if index < len(node.inputs) else None
        if dims is not None and any(dim not in (1, None) for dim in dims):
            yield f"its input {index} has the shape {_text(dims)}, where one number is needed"


def _shapes(node: ir.Node) -> Iterator[str]:
    """Compares the inputs with the operator's row of `_SHAPES`, binding its letters on the way."""
    sizes: Sizes = {}
    if node.op_type in ("Conv", "ConvTranspose"):
        sizes["G"] = node.attributes.get_int("group", 1)
    if "hidden_size" in node.attributes:
        sizes["H"] = node.attributes["hidden_size"].as_int()
        sizes["D"] = 2 if node.attributes.get_string("direction", "forward") == "bidirectional" else 1
    for index, (row, value) in enumerate(zip(_SHAPES.get(node.op_type, ()), node.inputs, strict=False)):
        dims, words = _dims(value), row.split()
        if dims is None:
            continue
        if words[-1] == "...":
            words[-1:] = ["?"] * sizes.setdefault("...", len(dims) - len(words) + 1)
        if len(words) != len(dims) or not all(_binds(word, dim, sizes) for word, dim in zip(words, dims, strict=True)):
            wanted = [_known(word, sizes) for word in words]
            yield f"its input {index} has the shape {_text(dims)}, where {_text(wanted)} is needed"


def _factors(word: str, sizes: Sizes) -> tuple[int, list[str]]:
    """The product of what is known of a word, and the letters that are not."""
    number, letters = re.fullmatch(r"(\d*)([A-Z]*)", word).groups()  # type: ignore[union-attr]
    known = math.prod(sizes[letter] for letter in letters if letter in sizes)
    return known * int(number or 1), [letter for letter in letters if letter not in sizes]


def _binds(word: str, dim: int | None, sizes: Sizes) -> bool:
    if word == "?" or dim is None:
        return True
    known, unknown = _factors(word, sizes)
    if not unknown:
        return dim == known
    if known < 1 or dim % known:
        return False
    if len(unknown) == 1:
        sizes[unknown[0]] = dim // known
    return True


def _known(word: str, sizes: Sizes) -> int | str | None:
    if word == "?":
        return None
    known, unknown = _factors(word, sizes)
    if not unknown:
        return known
    return f"a multiple of {known}" if known > 1 else None


def _window(node: ir.Node) -> Iterator[str]:
    """A window larger than what it slides over leaves nothing."""
    dims, source = _dims(node.outputs[0]), _dims(node.inputs[0])
    if dims is not None and 0 in dims:
        yield f"its window is larger than its input: nothing is left, {_text(dims)}"
        return
    kernel = node.attributes.get_ints("kernel_shape", ())
    if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET" or source is None or len(source) != len(kernel) + 2:
        return
    pads = node.attributes.get_ints("pads", (0,) * (2 * len(kernel)))
    dilations = node.attributes.get_ints("dilations", (1,) * len(kernel))
    for axis, (size, taps, step) in enumerate(zip(source[2:], kernel, dilations, strict=True)):
        around = pads[axis] + pads[len(kernel) + axis]
        if size is not None and size + around < (taps - 1) * step + 1:
            yield f"its window of {(taps - 1) * step + 1} is larger than its input of {size} with {around} around"


def _neighbours(node: ir.Node) -> Iterator[str]:
    dims = _dims(node.inputs[0])
    size = node.attributes.get_int("size", 1)
    if dims is not None and len(dims) > 1 and dims[1] is not None and size > 2 * dims[1] + 1:
        yield f"its window of {size} channels reaches beyond its {dims[1]} channels on both sides"


def _bias(node: ir.Node) -> Iterator[str]:
    product, bias = _dims(node.outputs[0]), _dims(node.inputs[2]) if len(node.inputs) > 2 else None
    if product is not None and bias is not None and not _broadcasts(bias, product):
        yield f"its input 2 has the shape {_text(bias)}, which cannot be broadcast to {_text(product)}"


def _broadcasts(one: Dims, other: Dims) -> bool:
    """Whether `one` can be repeated to the shape of `other`."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return len(one) <= len(other) and all(low in (1, high) for low, high in pairs if None not in (low, high))


def _branches(node: ir.Node) -> Iterator[str]:
    for body in graphs_of(node):
        if len(body.outputs) != len(node.outputs):
            yield f"it has {len(node.outputs)} outputs, a branch of it {len(body.outputs)}"


def _iterations(node: ir.Node) -> Iterator[str]:
    """The body takes the iteration, the condition and the states, and yields the latter two and what it collects."""
    states = len(node.inputs) - 2
    for body in graphs_of(node):
        if len(body.inputs) != states + 2 or not len(body.outputs) == len(node.outputs) + 1 >= states + 1:
            yield f"it carries {states} states and has {len(node.outputs)} outputs, its body does not"


def _groups(node: ir.Node) -> Iterator[str]:
    weights = _dims(node.inputs[1])
    group = node.attributes.get_int("group", 1)
    channels = weights[0] if weights else None
    if channels is not None and channels % group:
        yield f"the {channels} channels of its weights cannot be divided into {group} groups"


def _variance(node: ir.Node) -> Iterator[str]:
    variance = constant_of(node.inputs[4])
    if variance is not None and (variance + node.attributes.get_float("epsilon", 1e-5) <= 0).any():
        yield "its variance is not positive: no root of it can be taken"


def _scales(node: ir.Node) -> Iterator[str]:
    """One scale, one for each slice along the axis, or one for each block."""
    data, scale = _dims(node.inputs[0]), _dims(node.inputs[1])
    zero_point = _dims(node.inputs[2]) if len(node.inputs) > 2 else None
    one = all(set(dims or ()) <= {1} for dims in (scale, zero_point))
    if scale is not None and zero_point is not None and scale != zero_point and not one:
        yield f"its scale has the shape {_text(scale)}, its zero point {_text(zero_point)}"
    if data is None or not scale or math.prod(dim or 1 for dim in scale) == 1:
        return
    axis = node.attributes.get_int("axis", 1)
    if len(scale) == 1 and not (-len(data) <= axis < len(data) and data[axis] in (scale[0], None)):
        yield f"it has {scale[0]} scales for axis {axis} of a tensor of shape {_text(data)}"


def _indices(node: ir.Node) -> Iterator[str]:
    """Constant indices lie within the axis that they choose from."""
    data, indices = _dims(node.inputs[0]), constant_of(node.inputs[1])
    axis = node.attributes.get_int("axis", 0)
    if data is None or indices is None or not indices.size or not -len(data) <= axis < len(data):
        return
    size, low, high = data[axis], int(indices.min()), int(indices.max())
    if size is not None and not -size <= low <= high < size:
        yield f"it takes element {high if high >= size else low} of an axis of {size}"


def _slope(node: ir.Node) -> Iterator[str]:
    data, slope = _dims(node.inputs[0]), _dims(node.inputs[1])
    if data is None or slope is None:
        return
    if not _broadcasts(slope, data):
        yield f"its slope has the shape {_text(slope)}, which cannot be broadcast to {_text(data)}"


def _reshape(node: ir.Node) -> Iterator[str]:
    before, after = _dims(node.inputs[0]), _dims(node.outputs[0])
    if before is None or after is None or None in before or None in after:
        return
    if math.prod(dim or 0 for dim in before) != math.prod(dim or 0 for dim in after):
        yield f"it reshapes {_text(before)} to {_text(after)}, which hold different numbers of elements"


def _einsum(node: ir.Node) -> Iterator[str]:
    """A letter has one size; what `...` stands for is left to shape inference."""
    sizes: Sizes = {}
    terms = node.attributes.get_string("equation", "").replace(" ", "").split("->")[0].split(",")
    for term, value in zip(terms, node.inputs, strict=False):
        dims = _dims(value)
        if dims is None or "." in term:
            continue
        for letter, dim in zip(term, dims, strict=False):
            if dim is not None and sizes.setdefault(letter, dim) != dim:
                yield f"its subscript {letter!r} is {sizes[letter]} in one operand and {dim} in another"


_SPECIAL: dict[str, tuple[Callable[[ir.Node], Iterator[str]], ...]] = {
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), (_window,)),
    "BatchNormalization": (_variance,),
    "Conv": (_groups, _window),
    "ConvTranspose": (_groups,),
    "DequantizeLinear": (_scales,),
    "QuantizeLinear": (_scales,),
    "Gather": (_indices,),
    "Gemm": (_bias,),
    "If": (_branches,),
    "LRN": (_neighbours,),
    "Loop": (_iterations,),
    "Einsum": (_einsum,),
    "PRelu": (_slope,),
    "Reshape": (_reshape,),
}
