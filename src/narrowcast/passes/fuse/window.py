"""Windows of convolutions and pools are said in full, and zero padding before them is theirs.

1. `auto_pad` becomes `pads`: SAME_UPPER puts the odd pixel at the end, SAME_LOWER at the beginning.
2. `kernel_shape`, `strides`, `dilations`, `pads` are always there.
3. Pad by zeros, of spatial axes only -> the `pads` of the Conv after it. A MaxPool takes a Pad by the lowest value
   only; an AveragePool keeps its Pad, since no target counts padding in an average.
4. A pool over the whole map is a reduction.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.dialect.windows import same_pads
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, producer_of, scalar_of

RULES = RuleSet()


@RULES.rule("Conv", "ConvTranspose", "MaxPool", "AveragePool")
def explicit(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Cases 1 and 2."""
    source = node.inputs[0]
    shape = dims(source)
    if shape is None and source is not None and source.shape is not None:
        shape = tuple(dim if isinstance(dim, int) else 1 for dim in source.shape)
    if shape is None:
        return "the input's shape is unknown"
    spatial = len(shape) - 2
    attributes = node.attributes
    auto_pad = attributes.get_string("auto_pad", "NOTSET")
    wanted: dict[str, tuple[int, ...]] = {}
    kernel = tuple(attributes.get_ints("kernel_shape", ()))
    if not kernel:
        weights = node.inputs[1]
        if weights is None or weights.shape is None or not weights.shape.is_static():
            return "the kernel's shape is unknown"
        kernel = tuple(int(dim) for dim in weights.shape.dims[2:])  # type: ignore[arg-type]
        wanted["kernel_shape"] = kernel
    ones = (1,) * spatial
    strides = tuple(attributes.get_ints("strides", ones))
    dilations = tuple(attributes.get_ints("dilations", ones))
    if auto_pad in ("SAME_UPPER", "SAME_LOWER") and node.op_type != "ConvTranspose":
        wanted["pads"] = same_pads(shape[2:], kernel, strides, dilations, lower=auto_pad == "SAME_LOWER")
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        extra = attributes.get_ints("output_padding", (0,) * spatial)
        total = [max((k - 1) * d + 1 + e - s, 0) for k, d, s, e in zip(kernel, dilations, strides, extra, strict=True)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        wanted["pads"] = (*small, *large) if auto_pad == "SAME_UPPER" else (*large, *small)
    elif "pads" not in attributes or auto_pad == "VALID":
        wanted["pads"] = (0,) * (2 * spatial)
    defaults = {"strides": strides, "dilations": dilations}
    wanted.update({name: value for name, value in defaults.items() if name not in attributes})
    if "auto_pad" in attributes:
        del attributes["auto_pad"]
    for name, value in wanted.items():
        attributes[name] = ir.AttrInt64s(name, list(value))
    return bool(wanted)


@RULES.rule("Conv", "MaxPool")
def pad_before(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Case 3."""
    pad = producer_of(node.inputs[0], "Pad")
    if pad is None or "pads" not in node.attributes:
        return False
    amounts = constant_of(pad.inputs[1])
    value = scalar_of(pad.inputs[2]) if len(pad.inputs) > 2 and pad.inputs[2] is not None else 0.0
    if amounts is None or value is None or pad.attributes.get_string("mode", "constant") != "constant":
        return "the Pad before it is not by a constant"
    if len(pad.inputs) > 3 and pad.inputs[3] is not None:
        return "the Pad before it names its axes"
    begins, ends = amounts.reshape(2, -1).tolist()
    own = node.attributes.get_ints("pads", ())
    if any(begins[:2]) or any(ends[:2]) or min(*begins, *ends) < 0:
        return "the Pad before it is not of spatial axes"
    if node.op_type == "MaxPool" and value > np.finfo(np.float32).min:
        return "the Pad before it is not by the lowest value"
    if node.op_type != "MaxPool" and value != 0.0:
        return "the Pad before it is not by zeros"
    half = len(own) // 2
    merged = [a + b for a, b in zip((*begins[2:], *ends[2:]), (*own[:half], *own[half:]), strict=True)]
    node.attributes["pads"] = ir.AttrInt64s("pads", merged)
    rewriter.set_input(node, 0, pad.inputs[0])
    return True


@RULES.rule("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    source = node.inputs[0]
    if source is None or source.shape is None:
        return False
    return _reduce(node, source, "ReduceMean" if node.op_type == "GlobalAveragePool" else "ReduceMax", rewriter)


@RULES.rule("AveragePool")
def whole_map(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    source = node.inputs[0]
    output = node.outputs[0].shape
    if source is None or source.shape is None or output is None or any(node.attributes.get_ints("pads", (1,))):
        return False
    kernel = list(node.attributes.get_ints("kernel_shape", ()))
    if list(source.shape)[2:] != kernel or any(dim != 1 for dim in list(output)[2:]):
        return False
    return _reduce(node, source, "ReduceMean", rewriter)


def _reduce(node: ir.Node, source: ir.Value, op_type: str, rewriter: Rewriter) -> bool:
    rank = len(source.shape or ())
    axes = rewriter.at(node).constant(np.arange(2, rank), "axes")
    return rewriter.replace(node.outputs[0], rewriter.op(op_type, source, axes, like=node.outputs[0], keepdims=1))
