"""Pools of opsets before 22 that round their size up: a last window that would start in the padding is left out.

ONNX says so in every opset, and runtimes do so, but its shape inference counts that window before opset 22.
"""

from __future__ import annotations

from narrowcast.errors import UnsupportedOpError, at
from narrowcast.model import Model, ir
from narrowcast.passes.infer import infer_shapes
from narrowcast.readers.check.structure import where

__all__ = ["infer_anew", "leave_out_windows"]

POOLS = ("MaxPool", "AveragePool", "LpPool")
RIGHT_SINCE = 22


def leave_out_windows(model: Model, opset: int) -> None:
    """Makes such pools round down, or pad less where that concerns one axis alone; infers the shapes behind them anew.

    Args:
        model: with shapes inferred.
        opset: the model's own.

    Raises:
        UnsupportedOpError: such a window is left out along one axis while another is rounded up.
    """
    if opset >= RIGHT_SINCE:
        return
    pools = [node for node in model.graph if node.op_type in POOLS and node.attributes.get_int("ceil_mode", 0) != 0]
    for pool in pools:
        with at(where(pool)):
            changed = _round_down(pool)
        if changed:
            infer_anew(model)


def infer_anew(model: Model) -> None:
    """Forgets the shapes of all computed values, and infers them."""
    for node in model.graph:
        for output in node.outputs:
            output.shape = None
    infer_shapes(model)


def _round_down(node: ir.Node) -> bool:
    source = node.inputs[0]
    kernel = node.attributes.get_ints("kernel_shape", ())
    rank = len(kernel)
    automatic = node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET"
    if automatic or source is None or source.shape is None or len(source.shape) != rank + 2:
        return False
    strides, dilations = (node.attributes.get_ints(name, (1,) * rank) for name in ("strides", "dilations"))
    pads = node.attributes.get_ints("pads", (0,) * (2 * rank))
    hanging, rounded, trimmed = False, False, list(pads)
    for axis, size in enumerate(source.shape[2:]):
        if not isinstance(size, int):
            return False
        begin, end, stride = pads[axis], pads[rank + axis], strides[axis]
        steps, rest = divmod(size + begin + end - (kernel[axis] - 1) * dilations[axis] - 1, stride)
        outside = rest != 0 and (steps + 1) * stride >= size + begin
        hanging |= outside
        rounded |= rest != 0 and not outside
        trimmed[rank + axis] -= rest if outside else 0
    if hanging and not rounded:
        del node.attributes["ceil_mode"]
    elif hanging and min(trimmed) < 0:
        raise UnsupportedOpError("its last window is left out along one axis alone", hint="export it with ceil_mode=0")
    elif hanging:
        node.attributes["pads"] = ir.AttrInt64s("pads", trimmed)
    return hanging
