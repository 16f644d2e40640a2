"""Arithmetic in types that a target's kernels lack: cast to one that they have, computed there, cast back.

1. Integers and booleans: to the narrowest type that the kernel has and that holds all values; sums and products wrap
   as they do in the narrow type, because the cast back keeps the low bits.
   uint64 goes by int64 with the same bits; where the order of numbers matters, 2^63 is taken off before.
2. float16 and float64: to float32, whatever the operator. float64 thereby keeps float32's range and 24 bits.
   What was cast to float16 or float64 before is taken as it was, and what is cast straight back is not cast at all.
3. uint64 is cast by way of int64; between these two the bits are taken as they are.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import attributes_of, constant_of, input_of
from narrowcast.dialect.ops import KINDS
from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, dtype_of, is_read, need, producer_of, require
from narrowcast.targets.rules import lacks_type

RULES = RuleSet()

_WIDER = {
    "bool": ("int8", "int32"),
    "int8": ("int16", "int32"),
    "uint8": ("int16", "int32"),
    "int16": ("int32",),
    "uint16": ("int32",),
    "uint32": ("int64",),
    "uint64": ("int64",),
}
_ORDERED = frozenset({"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "TopK"}) | {
    f"{kind}{end}" for kind in ("Reduce", "Arg") for end in ("Max", "Min")
}
_NOT_BY_BITS = frozenset({"Div", "Mod", "ReduceMean"})
"""Where int64 would not give the bits that uint64 does."""
_TOP_BIT = np.iinfo(np.int64).min
_PAST_INT64 = 2.0**63
_MAKERS = frozenset(
    {"Cast", "ConstantOfShape", "EyeLike", "If", "Loop", "Range", "RandomNormal", "RandomUniform", "Scan"}
)
"""They have their type from an attribute, or from the graphs inside."""
_COMPUTING = [name for domain, name in KINDS if not domain and name not in _MAKERS]
_OTHER_FLOATS = (ir.DataType.FLOAT16, ir.DataType.DOUBLE)
SMALL = 1024
"""Constants of more elements stay as they are stored, behind a Cast."""
_DATA = {
    "Pad": (0, 2),
    "Gather": (0,),
    "Split": (0,),
    "Expand": (0,),
    "CumSum": (0,),
    "TopK": (0,),
    "Resize": (0,),
    "ScatterND": (0, 2),
}
"""Which inputs hold what is computed on, where the others are arguments of their own type."""


def _data(node: ir.Node) -> list[int]:
    if node.op_type.startswith(("Reduce", "Arg")):
        return [0]
    return [i for i in _DATA.get(node.op_type, range(len(node.inputs))) if i < len(node.inputs)]


@RULES.rule(*_COMPUTING, asks=lacks_type)
def widen_integers(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    source, kernel = need(input_of(node, 0)), need(need(rewriter.target).kernels.get(node.op_type))
    narrow, types = dtype_of(source), need(kernel.types)
    require(not need(source.dtype).is_floating_point() and narrow.name not in types)
    require(narrow.kind != "b" or 0 not in (dims(source) or ()))
    wide = next((name for name in _WIDER.get(narrow.name, ()) if name in types), None)
    wide = None if narrow == np.uint64 and node.op_type in _NOT_BY_BITS else wide
    return _computed_in(
        node, rewriter, narrow, np.dtype(need(wide, f"there is no kernel for {narrow.name}")), _data(node)
    )


@RULES.rule(*_COMPUTING, asks=lacks_type)
def to_float32(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.dtype in _OTHER_FLOATS:
            wide = np.dtype(np.float32)
            return _computed_in(node, rewriter, value.dtype.numpy(), wide, list(range(len(node.inputs))))
    return False


@RULES.rule("Cast")
def through_int64(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    source, target, f = need(node.inputs[0]), need(node.outputs[0].dtype), Formula(node, rewriter)
    given = need(source.dtype)
    require(ir.DataType.UINT64 in (given, target))
    if target is ir.DataType.UINT64 and given.is_floating_point():
        number = f.cast(source, np.float32)
        large = f.cast(f("Sub", number, _PAST_INT64), np.int64)
        bits = f("Where", f("GreaterOrEqual", number, _PAST_INT64), f("Add", large, _TOP_BIT), f.cast(source, np.int64))
        return f.becomes(f.cast(bits, np.uint64))
    bits = f.cast(source, np.int64)
    if target.is_floating_point():
        number = f.cast(bits, np.float32)
        return f.becomes(f.cast(f("Where", f("Less", bits, 0), f("Add", number, 2.0**64), number), target.numpy()))
    return f.becomes(f.cast(bits, target.numpy()))


def _computed_in(node: ir.Node, rewriter: Rewriter, narrow: np.dtype, wide: np.dtype, inputs: list[int]) -> bool:
    """The node in another type, between casts."""
    before, after = ir.DataType.from_numpy(narrow), ir.DataType.from_numpy(wide)
    turned = narrow == np.uint64 and node.op_type in _ORDERED
    f = Formula(node, rewriter)
    values = list(node.inputs)
    for index in inputs:
        value = values[index]
        if value is not None and value.dtype is before:
            values[index] = _in_order(f, _cast(rewriter, value, after)) if turned else _cast(rewriter, value, after)
    attributes = attributes_of(node)
    if len(node.outputs) == 1:
        made = [rewriter.op(node.op_type, *values, **attributes)]
    else:
        made = list(rewriter.ops(node.op_type, *values, outputs=len(node.outputs), **attributes))
    for old, new in zip(node.outputs, made, strict=True):
        new.shape, new.type = old.shape, ir.TensorType(after) if old.dtype is before else old.type
    for old, new in zip(tuple(node.outputs), made, strict=True):
        if before in _OTHER_FLOATS and old.dtype is before:
            _straight_back(rewriter, old, new)
        if is_read(old):
            same = old.dtype is not before
            rewriter.replace(old, new if same else _cast(rewriter, _in_order(f, new) if turned else new, before))
    return True


def _straight_back(rewriter: Rewriter, narrow: ir.Value, wide: ir.Value) -> None:
    """Where a value is cast to the type that it was computed in, it is taken as it was."""
    for node in [use.node for use in narrow.uses()]:
        if node.op_type == "Cast" and not node.domain and node.outputs[0].dtype is wide.dtype:
            rewriter.replace(node.outputs[0], wide)


def _in_order(f: Formula, bits: ir.Value) -> ir.Value:
    """Adds 2^63, there and back: int64 then has the order that the bits have in uint64."""
    return f("Add", bits, _TOP_BIT)


def _cast(rewriter: Rewriter, value: ir.Value, dtype: ir.DataType) -> ir.Value:
    array = constant_of(value)
    if array is not None and array.size <= SMALL:
        return rewriter.constant(array.astype(dtype.numpy()), value.name or "const")
    before = producer_of(value, "Cast") if value.dtype in _OTHER_FLOATS else None
    if before is not None and before.inputs[0] is not None and before.inputs[0].dtype is dtype:
        return before.inputs[0]
    return rewriter.op("Cast", value, shape=value.shape, dtype=dtype.numpy(), to=int(dtype))
