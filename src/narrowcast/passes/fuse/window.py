"""Windows of convolutions and pools are said in full, and zero padding before them is theirs.

1. `auto_pad` becomes `pads`: SAME_UPPER puts the odd pixel at the end, SAME_LOWER at the beginning.
2. `kernel_shape`, `strides`, `dilations`, `pads` are always there.
3. Pad by zeros, of spatial axes only -> the `pads` of the Conv after it. A MaxPool takes a Pad by the lowest value
   only; an AveragePool keeps its Pad, since no target counts padding in an average.
4. A pool over the whole map is a reduction, unless roundings count.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.dialect.windows import halves, same_pads
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, need, producer_of, require, scalar_of

RULES = RuleSet()


@RULES.rule("Conv", "ConvTranspose", "MaxPool", "AveragePool")
def explicit(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 1 and 2."""
    shape = need(need(node.inputs[0]).shape, "the input's shape is unknown")
    sizes = [dim if isinstance(dim, int) else 1 for dim in shape[2:]]
    attributes, ones = node.attributes, (1,) * len(sizes)
    kernel = (
        tuple(attributes.get_ints("kernel_shape", ()))
        or need(dims(node.inputs[1]), "the kernel's shape is unknown")[2:]
    )
    strides, dilations = (tuple(attributes.get_ints(name, ones)) for name in ("strides", "dilations"))
    auto_pad = attributes.get_string("auto_pad", "NOTSET")
    pads, lower = attributes.get_ints("pads", (0,) * (2 * len(sizes))), auto_pad == "SAME_LOWER"
    if auto_pad == "VALID":
        pads = (0,) * (2 * len(sizes))
    elif auto_pad.startswith("SAME") and node.op_type == "ConvTranspose":
        spans = zip(kernel, dilations, strides, attributes.get_ints("output_padding", (0,) * len(sizes)), strict=True)
        pads = halves([(k - 1) * d + 1 + extra - stride for k, d, stride, extra in spans], lower=lower)
    elif auto_pad.startswith("SAME"):
        known = all(isinstance(dim, int) for dim in shape[2:]) or max(strides) == 1
        require(known, "its padding depends on a size that is open")
        pads = same_pads(sizes, kernel, strides, dilations, lower=lower)
    full = {"kernel_shape": kernel, "pads": pads, "strides": strides, "dilations": dilations}
    wanted = {name: value for name, value in full.items() if name not in attributes or auto_pad != "NOTSET"}
    attributes.pop("auto_pad", None)
    attributes.update({name: ir.AttrInt64s(name, list(value)) for name, value in wanted.items()})
    return bool(wanted)


@RULES.rule("Conv", "MaxPool")
def pad_before(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    pad, own = need(producer_of(node.inputs[0], "Pad")), need(node.attributes.get_ints("pads", None))
    amounts = need(constant_of(pad.inputs[1]), _COMPUTED)
    value = 0.0 if input_of(pad, 2) is None else need(scalar_of(pad.inputs[2]), _COMPUTED)
    require(pad.attributes.get_string("mode", "constant") == "constant", _COMPUTED)
    require(input_of(pad, 3) is None, "the Pad before it names its axes")
    begins, ends = amounts.reshape(2, -1).tolist()
    spatial = not any(begins[:2]) and not any(ends[:2]) and min(*begins, *ends) >= 0
    require(spatial, "the Pad before it is not of spatial axes")
    if node.op_type == "MaxPool":
        require(value <= np.finfo(np.float32).min, "the Pad before it is not by the lowest value")
    else:
        require(value == 0.0, "the Pad before it is not by zeros")
    half = len(own) // 2
    merged = [a + b for a, b in zip((*begins[2:], *ends[2:]), (*own[:half], *own[half:]), strict=True)]
    node.attributes["pads"] = ir.AttrInt64s("pads", merged)
    rewriter.set_input(node, 0, pad.inputs[0])
    return True


_COMPUTED = "the Pad before it is not by a constant"


@RULES.rule("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    return _reduce(node, "ReduceMean" if node.op_type == "GlobalAveragePool" else "ReduceMax", rewriter)


@RULES.rule("AveragePool")
def whole_map(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    require(not rewriter.exact, "a pool rounds in its own way")
    kernel = node.attributes.get_ints("kernel_shape", ())
    require(not any(node.attributes.get_ints("pads", (1,))))
    require(need(need(node.inputs[0]).shape)[2:] == tuple(kernel))
    require(all(dim == 1 for dim in need(node.outputs[0].shape)[2:]))
    return _reduce(node, "ReduceMean", rewriter)


def _reduce(node: ir.Node, op_type: str, rewriter: Rewriter) -> bool:
    source, output = need(node.inputs[0]), node.outputs[0]
    axes = rewriter.at(node).constant(np.arange(2, len(need(source.shape))), "axes")
    return rewriter.replace(output, rewriter.op(op_type, source, axes, like=output, keepdims=1))
