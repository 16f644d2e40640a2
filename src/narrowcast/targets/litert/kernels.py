"""What LiteRT's kernels run, by operators of the canonical dialect: in which forms, and in which types.

A function below says why a node's form is beyond the kernel, in words that complete "LiteRT ...", or "" where it is
not; its docstring is what the page of coverage says. Sources: the kernels' Prepare functions in
github.com/google-ai-edge/LiteRT, tflite/kernels; the types were found by running each kernel of LiteRT 2.3 on each.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of, dims, scalar_of, tensor_of
from narrowcast.dialect.ops import KEEP, KEPT
from narrowcast.dialect.recurrent import directions_of
from narrowcast.dialect.windows import open_windows_of, spatial_sizes, windows_of
from narrowcast.model import CHANNELS_LAST, ir
from narrowcast.targets.litert.control import branches, loop
from narrowcast.targets.rules import Fits, Kernel, fits_all
from narrowcast.targets.spelling import weights_behind

__all__ = ["KERNELS", "MOST_LISTS"]

MOST_LISTS = 1024
"""Suppression is one operator for each class of each image; no more of them than this."""


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


def _is_read(node: ir.Node, output: int) -> bool:
    return output < len(node.outputs) and bool(node.outputs[output].uses() or node.outputs[output].is_graph_output())


def _constants(*indices: int) -> Fits:
    """A kernel whose arguments at these inputs are constants."""

    def fits(node: ir.Node) -> str:
        """Constant arguments."""
        given = [value for index in indices if (value := _input(node, index)) is not None]
        computed = next((value for value in given if constant_of(value) is None), None)
        return "" if computed is None else f"takes no argument that is computed, as {computed.name!r} is"

    return fits


def _conv(node: ir.Node) -> str:
    """Two spatial axes; three without groups."""
    rank = _rank(node.inputs[0])
    if rank not in (None, 4, 5):
        return "convolves two or three spatial axes only"
    return "has no groups in three dimensions" if rank == 5 and node.attributes.get_int("group", 1) > 1 else ""


def _conv_transpose(node: ir.Node) -> str:
    """Two spatial axes, without groups and dilations, padding SAME or VALID."""
    attributes, rank = node.attributes, _rank(node.inputs[0])
    if rank not in (None, 4) or attributes.get_int("group", 1) > 1 or max(attributes.get_ints("dilations", (1,))) > 1:
        return "convolves backwards along two spatial axes, without groups and dilations"
    sizes, outs = spatial_sizes(node.inputs[0], node), spatial_sizes(node.outputs[0], node)
    if sizes is None or outs is None:
        return "convolves backwards to known sizes only"
    kernel, strides = attributes.get_ints("kernel_shape", ()), attributes.get_ints("strides", (1, 1))
    begins = attributes.get_ints("pads", (0,) * 4)[:2]
    steps = list(zip(sizes, strides, kernel, strict=True))
    valid = not any(attributes.get_ints("pads", ())) and list(outs) == [(n - 1) * s + k for n, s, k in steps]
    same = list(outs) == [n * s for n, s, _ in steps] and list(begins) == [max(k - s, 0) // 2 for _, s, k in steps]
    return "" if valid or same else "convolves backwards with the padding of SAME or VALID only"


def _max_pool(node: ir.Node) -> str:
    """Two spatial axes, without dilations and indices."""
    return "does not say where maxima came from" if _is_read(node, 1) else _pool(node)


def _pool(node: ir.Node) -> str:
    rank = _rank(node.inputs[0])
    kernel, dilations = node.attributes.get_ints("kernel_shape", ()), node.attributes.get_ints("dilations", ())
    if rank not in (None, 4):
        return "pools two spatial axes only"
    if any(k > 1 and d > 1 for k, d in zip(kernel, dilations, strict=False)):
        return "pools without dilations"
    rounds = node.attributes.get_int("ceil_mode", 0) and max(node.attributes.get_ints("strides", (1,))) > 1
    return "rounds numbers of windows up along known sizes only" if rounds and windows_of(node) is None else ""


def _average_pool(node: ir.Node) -> str:
    """Two spatial axes, without dilations; padding that is left out of the average is that of SAME."""
    if why := _pool(node):
        return why
    windows = open_windows_of(node)
    if not any(window.before or window.overhang for window in windows):
        return ""
    if node.attributes.get_int("count_include_pad", 0):
        beyond = any(window.overhang > window.after for window in windows)
        return "averages no windows that reach beyond their padding" if beyond else ""
    same = all(window.is_same for window in windows)
    return "" if same else "leaves out of an average no padding but that of SAME"


def _resize(node: ir.Node) -> str:
    """Two spatial axes; linear, or nearest where the coordinates are rounded as the kernel does."""
    attributes = node.attributes
    sizes, outs = spatial_sizes(node.inputs[0], node), spatial_sizes(node.outputs[0], node)
    arguments = [_input(node, index) for index in (2, 3)]
    if outs is None or sizes is None or not any(constant_of(value) is not None for value in arguments):
        return "resizes to constant sizes only"
    if "axes" in attributes or "keep_aspect_ratio_policy" in attributes:
        return "takes the sizes of all axes"
    mode, still = attributes.get_string("mode", "nearest"), _unchanged(node)
    if len(sizes) != 2 or not still or mode not in ("nearest", "linear"):
        return "resizes two spatial axes, by nearest or linear interpolation"
    if attributes.get_int("antialias", 0):
        return "does not resize with anti-aliasing"
    scales = constant_of(arguments[0])
    if scales is not None and scales.size and not _whole(scales, sizes, outs, node):
        return "resizes by the ratio of the sizes only"
    transform = attributes.get_string("coordinate_transformation_mode", "half_pixel")
    rounding = attributes.get_string("nearest_mode", "round_prefer_floor")
    if transform == "pytorch_half_pixel" and min(outs) > 1:
        transform = "half_pixel"
    growing = all(out % size == 0 for size, out in zip(sizes, outs, strict=True))
    roundings = {
        "asymmetric": ["floor"],
        "half_pixel": ["round_prefer_ceil", *(["round_prefer_floor"] if growing else [])],
        "align_corners": ["round_prefer_ceil"],
    }.get(transform, [])
    exact = bool(roundings) if mode == "linear" else rounding in roundings
    how = transform if mode == "linear" else f"{transform} coordinates and {rounding}"
    return "" if exact else f"does not resize with {how}"


def _unchanged(node: ir.Node) -> bool:
    """Whether a Resize leaves batch and channels as they are."""
    shapes = [
        list(value.shape.dims) for value in (node.inputs[0], node.outputs[0]) if value is not None and value.shape
    ]
    channel = -1 if node.domain == CHANNELS_LAST else 1
    return len(shapes) == 2 and all(shapes[0][axis] == shapes[1][axis] for axis in (0, channel))


def _whole(scales: np.ndarray, sizes: tuple[int, ...], outs: tuple[int, ...], node: ir.Node) -> bool:
    """Whether scales, of all axes, are the ratios of the sizes."""
    own = scales[1:-1] if node.domain == CHANNELS_LAST else scales[2:]
    return all(abs(s * size - out) <= 1e-6 * out for s, size, out in zip(own.tolist(), sizes, outs, strict=True))


def _depth_to_space(node: ir.Node) -> str:
    """Channels in DCR order."""
    return "takes channels in DCR order only" if node.attributes.get_string("mode", "DCR") != "DCR" else ""


def _gemm(node: ir.Node) -> str:
    """Constant weights, [out, in]."""
    attributes = node.attributes
    plain = attributes.get_int("transB", 0) and not attributes.get_int("transA", 0)
    constant = weights_behind(node.inputs[1]) is not None
    return "" if plain and constant else "takes constant weights [out, in] beside rows of inputs"


def _reshape(node: ir.Node) -> str:
    """To one open dimension at most."""
    open_dims = [dim for dim in node.outputs[0].shape or () if not isinstance(dim, int)]
    return "reshapes to one open dimension at most" if len(open_dims) > 1 else ""


def _matmul(node: ir.Node) -> str:
    """Operands of two or more axes."""
    ranks = [rank for value in node.inputs if (rank := _rank(value)) is not None]
    return "multiplies no vectors" if min(ranks, default=2) < 2 else ""


def _two(node: ir.Node) -> str:
    """Two operands."""
    return "" if len(node.inputs) == 2 else "takes two operands only"


def _pow(node: ir.Node) -> str:
    """Base and exponent of one type."""
    base, exponent = node.inputs[:2]
    same = base is None or exponent is None or base.dtype is exponent.dtype
    return "" if same else "takes base and exponent of one type"


def _mod(node: ir.Node) -> str:
    """The divisor's sign."""
    return "has no remainder with the dividend's sign" if node.attributes.get_int("fmod", 0) else ""


def _clip(node: ir.Node) -> str:
    """Constant bounds."""
    given = [value for value in node.inputs[1:3] if value is not None]
    return "clips to constant bounds only" if any(constant_of(value) is None for value in given) else ""


def _elu(node: ir.Node) -> str:
    """An alpha of 1."""
    return "has ELU with an alpha of 1 only" if node.attributes.get_float("alpha", 1.0) != 1.0 else ""


def _shift(node: ir.Node) -> str:
    """To the right, by less than the numbers have bits."""
    if node.attributes.get_string("direction", "") != "RIGHT":
        return "shifts to the right only"
    source, amount = node.inputs[:2]
    if source is None or amount is None or source.dtype is None:
        return ""
    array, producer = constant_of(amount), amount.producer()
    inside = array is not None and bool(((array >= 0) & (array < 8 * source.dtype.itemsize)).all())
    checked = producer is not None and producer.op_type in ("Where", "Cast")
    return "" if inside or checked else "shifts numbers by less than their bits only"


def _range(node: ir.Node) -> str:
    """From 0 by 1 to a number that is not negative."""
    start, limit, delta = node.inputs[:3]
    producer = limit.producer() if limit is not None else None
    counted = scalar_of(start) == 0 and scalar_of(delta) == 1 and producer is not None and producer.op_type == "Max"
    return "" if counted else "counts from 0 by 1 to what is not negative only"


def _lstm(node: ir.Node) -> str:
    """Norms in one direction; last cells beside a projection are not given."""
    parts = directions_of("LSTM", node.inputs)
    if len(parts) > 1 and any(norm is not None for part in parts for norm in part.norms):
        return "normalises the gates of one direction only"
    projected = any(part.projection[0] is not None for part in parts)
    return "does not give the last cells beside a projection" if projected and _is_read(node, 1) else ""


_FILLED = frozenset(["bool", "int8", "int16", "int32", "int64", "float32"])


def _fill(node: ir.Node) -> str:
    """Not with unsigned integers."""
    value = node.outputs[0].dtype
    return "" if value is None or value.numpy().name in _FILLED else f"does not fill with {value.numpy().name}"


def _cast(node: ir.Node) -> str:
    """Between uint64 and int64 alone, and between all others."""
    source, target = node.inputs[0], node.outputs[0]
    if source is None or source.dtype is target.dtype or ir.DataType.UINT64 not in (source.dtype, target.dtype):
        return ""
    return "" if ir.DataType.INT64 in (source.dtype, target.dtype) else "casts uint64 from and to int64 only"


def _arg(node: ir.Node) -> str:
    """The first of equal values."""
    return "finds the first of equal values only" if node.attributes.get_int("select_last_index", 0) else ""


def _top_k(node: ir.Node) -> str:
    """The largest, along the last axis; a constant number of them."""
    rank, attributes = _rank(node.inputs[0]), node.attributes
    if rank is not None and attributes.get_int("axis", -1) % rank != rank - 1:
        return "finds the largest along the last axis only"
    return _constants(1)(node) if attributes.get_int("largest", 1) else "finds the largest only"


def _lp_normalization(node: ir.Node) -> str:
    """The L2 norm."""
    return "normalises by the L2 norm only" if node.attributes.get_int("p", 2) != 2 else ""


def _pad(node: ir.Node) -> str:
    """By a number, or reflecting; by constant amounts that are not negative."""
    mode, amounts = node.attributes.get_string("mode", "constant"), constant_of(node.inputs[1])
    if mode not in ("constant", "reflect"):
        return f"does not pad with mode {mode!r}"
    if amounts is None or _input(node, 3) is not None:
        return "pads all axes by constant amounts only"
    return "pads by no negative amounts" if (amounts < 0).any() else ""


def _scatter(node: ir.Node) -> str:
    """Sums over zeros."""
    zeros = constant_of(node.inputs[0])
    summed = node.attributes.get_string("reduction", "none") == "add"
    return "" if summed and zeros is not None and not zeros.any() else "scatters sums over zeros only"


def _non_max_suppression(node: ir.Node) -> str:
    """Boxes by their corners, a constant number of them, up to 1024 lists."""
    most, shape = constant_of(_input(node, 2)), dims(_input(node, 1))
    if node.attributes.get_int("center_point_box", 0):
        return "takes boxes by their corners only"
    if _input(node, 2) is None or (most is not None and most.max(initial=0) <= 0):
        return "selects at least one box"
    if most is None or shape is None:
        return "selects a constant number of boxes of a constant number"
    lists = shape[0] * shape[1]
    if min(shape) < 1 or lists > MOST_LISTS:
        return f"suppresses one list of boxes at a time, and these are {lists} of at most {MOST_LISTS}"
    overlap = constant_of(_input(node, 3))
    return "suppresses nothing at an overlap above 1" if overlap is not None and overlap.max(initial=0) >= 1 else ""


def _quantize(node: ir.Node) -> str:
    """Constant scales, for the tensor or along an axis."""
    if constant_of(node.inputs[1]) is None:
        return "quantises by constant scales only"
    blocks = node.attributes.get_int("block_size", 0) and tensor_of(node.inputs[0]) is None
    return "has no scales by blocks of what is computed" if blocks else ""


def _magnitude(node: ir.Node) -> str:
    """A power of two of points, in rows of their own."""
    shape = dims(node.inputs[0])
    fits = shape is not None and len(shape) > 1 and shape[-2] == 1 and shape[-1].bit_count() == 1
    return "" if fits else "transforms a power of two of points, in rows of their own, only"


def _kept(node: ir.Node) -> str:
    """Where it is asked for: --keep-custom."""
    return "" if node.attributes.get_int(KEEP, 0) else "keeps operators of a file's own making on request only"


_PLAIN = """
    Abs Neg Exp Log Sqrt Sin Cos Floor Ceil Round Sign Sigmoid Tanh Relu Not HardSwish Add Sub Mul Div Equal Greater
    GreaterOrEqual Less LessOrEqual And Or BitwiseXor LeakyRelu PRelu Gelu CumSum Concat Split Gather
    NonZero SpaceToDepth
"""
_FORMS: dict[str, Fits] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "Resize": _resize,
    "DepthToSpace": _depth_to_space,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Max": _two,
    "Min": _two,
    "Pow": _pow,
    "Mod": _mod,
    "Clip": _clip,
    "Elu": _elu,
    "BitShift": _shift,
    "Range": _range,
    "ConstantOfShape": _fill,
    "ArgMax": _arg,
    "ArgMin": _arg,
    "TopK": _top_k,
    "Pad": _pad,
    "ScatterND": _scatter,
    "NonMaxSuppression": _non_max_suppression,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _quantize,
    **dict.fromkeys(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"], _constants(1)),
    **dict.fromkeys(_PLAIN.split(), fits_all),
}
_ALONG_THE_LAST: dict[str, Fits] = {
    "Softmax": fits_all,
    "LogSoftmax": fits_all,
    "LpNormalization": _lp_normalization,
}
_MOVING: dict[str, Fits] = {
    "Cast": _cast,
    "Slice": _constants(1, 2, 3, 4),
    "Tile": _constants(1),
    **dict.fromkeys(["Reshape", "Identity"], _reshape),
    **dict.fromkeys(["Transpose", "Expand"], fits_all),
    "narrowcast::If": branches,
    "narrowcast::Loop": loop,
    **{f"narrowcast::{name}": _kept for name in KEPT},
    "narrowcast::Magnitude": _magnitude,
    **dict.fromkeys(["narrowcast::BitCast", "narrowcast::RNN", "narrowcast::SVDF"], fits_all),
    "narrowcast::LSTM": _lstm,
}
"""Their kernels copy bytes of any size."""

_WORDS = "int32 int64"
_INTEGERS: dict[str, frozenset[str]] = {
    name: frozenset(types.split())
    for names, types in (
        ("Abs", "int16 int32"),
        ("Neg", "int8 int16 int32 int64"),
        ("Sign", "int32"),
        ("Add", "int16 int32 int64"),
        ("Sub CumSum ReduceSum ReduceMean ReduceProd", _WORDS),
        ("Mul", "int16 int32 uint32 int64"),
        ("Div", "int32"),
        ("Max Min", "int8 uint8 int16 int32 int64"),
        ("Mod", "int8 int16 int32 int64"),
        ("Equal", "bool int16 int32 int64"),
        ("Greater GreaterOrEqual Less LessOrEqual", "int16 int32 int64"),
        ("ReduceMax ReduceMin", "int8 uint8 int32 int64"),
        ("ArgMax ArgMin", "int8 uint8 int32"),
        ("Concat", "bool int8 uint8 int16 int32 uint32 int64"),
        ("Gather Pad", "bool int8 uint8 int16 int32 int64"),
        ("BitwiseXor BitShift", "int8 uint8 int16 uint16 int32 uint32"),
        ("Split", "int8 uint8 int16 int32 int64"),
        ("TopK", "int8 uint8 int32 int64"),
        ("Pow", "int32"),
    )
    for name in names.split()
}
"""The integer types, not quantised, in which kernels compute; the others take what they take, uint64 excepted."""
_ALL_BUT_UINT64 = frozenset(["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])

_RANKS = dict.fromkeys(["Concat", "Pad", "MatMul", "Softmax"], 6)
"""The highest ranks, with XNNPACK, where they are below 8; above that, arithmetic that broadcasts ends the process."""

KERNELS: dict[str, Kernel] = {
    **{name: Kernel(fits, _INTEGERS.get(name, _ALL_BUT_UINT64), _RANKS.get(name)) for name, fits in _FORMS.items()},
    **{name: Kernel(fits, _ALL_BUT_UINT64, _RANKS.get(name), last_axis=True) for name, fits in _ALONG_THE_LAST.items()},
    "Where": Kernel(),
    **{name: Kernel(fits, moves=True) for name, fits in _MOVING.items()},
}
