"""Arithmetic in types that LiteRT's kernels lack: cast to one that they have, computed there, cast back.

1. Integers and booleans: to the narrowest type that the kernel has and that holds all values; sums and products wrap
   as they do in the narrow type, because the cast back keeps the low bits.
2. float16 and float64: to float32, whatever the operator. float64 thereby keeps float32's range and 24 bits.
3. A float value that was cast to float16 or float64 and straight back is taken as it was.

Not done: uint64, which LiteRT cannot cast; 64-bit division.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.dialect.ops import KINDS
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, producer_of
from narrowcast.targets.litert import KERNEL_INTEGERS

RULES = RuleSet()

_WIDER = {
    "bool": ("int8", "int32"),
    "int8": ("int16", "int32"),
    "uint8": ("int16", "int32"),
    "int16": ("int32",),
    "uint16": ("int32",),
    "uint32": ("int64",),
}
_MOVERS = frozenset({"Cast", "Reshape", "Transpose", "Slice", "Tile", "Expand", "Identity"})
"""Their kernels copy bytes of any size."""
_MAKERS = frozenset({"ConstantOfShape", "EyeLike", "If", "Loop", "Range", "RandomNormal", "RandomUniform", "Scan"})
"""They have their type from an attribute, or from the graphs inside."""
_OTHER_FLOATS = (ir.DataType.FLOAT16, ir.DataType.DOUBLE)
SMALL = 1024
"""Constants of more elements stay as they are stored, behind a Cast."""
_DATA = {"Pad": (0, 2), "Gather": (0,), "Split": (0,), "Expand": (0,), "CumSum": (0,)}
"""Which inputs hold what is computed on, where the others are arguments of their own type."""


def _data(node: ir.Node) -> list[int]:
    if node.op_type.startswith(("Reduce", "Arg")):
        return [0]
    return [i for i in _DATA.get(node.op_type, range(len(node.inputs))) if i < len(node.inputs)]


@RULES.rule(*KERNEL_INTEGERS)
def widen_integers(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Case 1."""
    source = node.inputs[0]
    if source is None or source.dtype is None or source.dtype.is_floating_point():
        return False
    narrow = source.dtype.numpy()
    kernels = KERNEL_INTEGERS[node.op_type]
    if narrow.name in kernels or (narrow.kind == "b" and 0 in (dims(source) or ())):
        return False
    wide = next((name for name in _WIDER.get(narrow.name, ()) if name in kernels), None)
    if wide is None:
        return f"LiteRT has no kernel for {narrow.name}"
    return _computed_in(node, rewriter, narrow, np.dtype(wide), _data(node))


@RULES.rule(*(name for domain, name in KINDS if not domain and name not in _MOVERS | _MAKERS))
def to_float32(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.dtype in _OTHER_FLOATS:
            wide = np.dtype(np.float32)
            return _computed_in(node, rewriter, value.dtype.numpy(), wide, list(range(len(node.inputs))))
    return False


@RULES.rule("Cast")
def there_and_back(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    before = producer_of(node.inputs[0], "Cast")
    if before is None or before.inputs[0] is None or node.outputs[0].dtype is not ir.DataType.FLOAT:
        return False
    source = before.inputs[0]
    through = before.outputs[0].dtype
    return source.dtype is ir.DataType.FLOAT and through in _OTHER_FLOATS and rewriter.replace(node.outputs[0], source)


def _computed_in(node: ir.Node, rewriter: Rewriter, narrow: np.dtype, wide: np.dtype, inputs: list[int]) -> bool:
    """The node in another type, between casts."""
    before, after = ir.DataType.from_numpy(narrow), ir.DataType.from_numpy(wide)
    rewriter.at(node)
    values = list(node.inputs)
    for index in inputs:
        value = values[index]
        if value is not None and value.dtype is before:
            values[index] = _cast(rewriter, value, after)
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    if len(node.outputs) == 1:
        made = [rewriter.op(node.op_type, *values, **attributes)]
    else:
        made = list(rewriter.ops(node.op_type, *values, outputs=len(node.outputs), **attributes))
    for old, new in zip(node.outputs, made, strict=True):
        new.shape, new.type = old.shape, ir.TensorType(after) if old.dtype is before else old.type
    for old, new in zip(tuple(node.outputs), made, strict=True):
        if old.uses() or old.is_graph_output():
            rewriter.replace(old, _cast(rewriter, new, before) if old.dtype is before else new)
    return True


def _cast(rewriter: Rewriter, value: ir.Value, dtype: ir.DataType) -> ir.Value:
    array = constant_of(value)
    if array is not None and array.size <= SMALL:
        return rewriter.constant(array.astype(dtype.numpy()), value.name or "const")
    return rewriter.op("Cast", value, shape=value.shape, dtype=dtype.numpy(), to=int(dtype))
