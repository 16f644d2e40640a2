"""What the page of LiteRT says of nodes, and that it says something of everything that the writer lowers."""

from __future__ import annotations

import onnx
import onnx.parser
import pytest

import narrowcast
from narrowcast.model import CHANNELS_LAST, Model, ir
from narrowcast.passes.infer import infer_shapes
from narrowcast.targets.litert import LITERT
from narrowcast.targets.litert.kernels import KERNELS
from narrowcast.targets.rules import lacks, lacks_form, lacks_kernel, lacks_type
from narrowcast.writers.tflite.site import LOWERINGS, load_operators


def node_of(text: str) -> ir.Node:
    """The last node of a graph in ONNX's text form."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 23]>\ng {text}')
    model = Model(ir.from_proto(proto))
    infer_shapes(model)
    return model.graph[-1]


IMAGE = "(float[1,4,8,8] x{}) => ({} y) {} {{ y = {} }}"


def image(call: str, more: str = "", out: str = "float[1,4,8,8]", constants: str = "") -> str:
    """A node on an image of 8 x 8."""
    return IMAGE.format(more, out, constants, call)


FITS = [
    image("MaxPool<kernel_shape=[2,2], strides=[2,2], dilations=[1,1]>(x)", out="float[1,4,4,4]"),
    image("MaxPool<kernel_shape=[1,1], strides=[1,1], dilations=[2,2]>(x)"),
    image("AveragePool<kernel_shape=[3,3], strides=[1,1], pads=[1,1,1,1]>(x)"),
    image("AveragePool<kernel_shape=[2,2], count_include_pad=1, pads=[1,1,1,1]>(x)", out="float[1,4,9,9]"),
    image("Conv<kernel_shape=[1,1], group=4>(x, w)", ", float[4,1,1,1] w"),
    image("ConvTranspose<kernel_shape=[2,2], strides=[2,2]>(x, w)", ", float[4,4,2,2] w", out="float[1,4,16,16]"),
    image("Resize(x, , , s)", constants="<int64[4] s = {1, 4, 16, 16}>", out="float[1,4,16,16]"),
    image("Resize(x, , s)", constants="<float[4] s = {1, 1, 2, 2}>", out="float[1,4,16,16]"),
    image(
        'Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , , s)',
        constants="<int64[4] s = {1, 4, 5, 5}>",
        out="float[1,4,5,5]",
    ),
    image("Elu(x)"),
    image("Clip(x, , high)", constants="<float high = {3}>"),
    image('Pad<mode="reflect">(x, p)', constants="<int64[8] p = {0,0,1,1,0,0,1,1}>", out="float[1,4,10,10]"),
    "(int32[4] x) => (int32[4] y) { y = Add(x, x) }",
    '(uint8[4] x) => (uint8[4] y) <uint8 by = {7}> { y = BitShift<direction="RIGHT">(x, by) }',
    "(float16[2,3] x) => (float16[3,2] y) { y = Transpose(x) }",
    "(int64[4] x) => (uint64[4] y) { y = Cast<to=13>(x) }",
]
LACKS = [
    (image("Mish(x)"), "has no operator for Mish"),
    ("(float[1,4,8] x, float[4,4,3] w) => (float[1,4,6] y) { y = Conv(x, w) }", "two or three spatial axes"),
    (
        "(float[1,4,5,5,5] x, float[4,2,1,1,1] w) => (float[1,4,5,5,5] y) { y = Conv<group=2>(x, w) }",
        "no groups in three dimensions",
    ),
    (
        image("ConvTranspose<kernel_shape=[3,3], pads=[1,0,1,0]>(x, w)", ", float[4,4,3,3] w", out="float[1,4,8,10]"),
        "SAME or VALID",
    ),
    (image("ConvTranspose<group=2>(x, w)", ", float[4,2,1,1] w"), "without groups and dilations"),
    (image("MaxPool<kernel_shape=[3,3], dilations=[2,2]>(x)", out="float[1,4,4,4]"), "without dilations"),
    (
        image("AveragePool<kernel_shape=[3,3], pads=[2,2,0,0], strides=[1,1]>(x)"),
        "leaves out of an average no padding but that of SAME",
    ),
    (
        image(
            "AveragePool<kernel_shape=[3,3], count_include_pad=1, ceil_mode=1, strides=[3,3], pads=[0,0,0,0]>(x)",
            out="float[1,4,3,3]",
        ),
        "beyond their padding",
    ),
    (image("Resize(x, , , s)", ", int64[4] s", out="float[1,4,a,b]"), "constant sizes only"),
    (
        image('Resize<mode="cubic">(x, , , s)', constants="<int64[4] s = {1, 4, 16, 16}>", out="float[1,4,16,16]"),
        "nearest or linear",
    ),
    (
        image('Resize<nearest_mode="ceil">(x, , , s)', constants="<int64[4] s = {1,4,16,16}>", out="float[1,4,16,16]"),
        "half_pixel coordinates and ceil",
    ),
    (
        image("Resize<axes=[2,3]>(x, , , s)", constants="<int64[2] s = {16, 16}>", out="float[1,4,16,16]"),
        "sizes of all axes",
    ),
    (image("Elu<alpha=0.5>(x)"), "an alpha of 1"),
    (image("Clip(x, low)", ", float low"), "constant bounds"),
    (image("Max(x, x, x)"), "two operands"),
    (image('Pad<mode="edge">(x, p)', constants="<int64[8] p = {0,0,1,1,0,0,1,1}>", out="float[1,4,10,10]"), "edge"),
    (image("Pad(x, p)", constants="<int64[8] p = {0,0,-1,0,0,0,0,0}>", out="float[1,4,7,8]"), "no negative"),
    (image("LpNormalization<p=1>(x)"), "L2 norm"),
    (image("ArgMax<select_last_index=1>(x)", out="int64[1,4,8,8]"), "first of equal"),
    (image('DepthToSpace<blocksize=2, mode="CRD">(x)', out="float[1,1,16,16]"), "DCR"),
    ("(float[3] x, float[3,2] w) => (float[2] y) { y = MatMul(x, w) }", "no vectors"),
    ("(float[4] x, int32[4] n) => (float[4] y) { y = Pow(x, n) }", "of one type"),
    ("(float[4] x) => (float[4] y) { y = Mod<fmod=1>(x, x) }", "dividend's sign"),
    ('(uint8[4] x, uint8[4] by) => (uint8[4] y) { y = BitShift<direction="RIGHT">(x, by) }', "less than their bits"),
    ('(uint8[4] x, uint8[4] by) => (uint8[4] y) { y = BitShift<direction="LEFT">(x, by) }', "to the right only"),
    ("(uint64[4] x) => (float[4] y) { y = Cast<to=1>(x) }", "uint64 from and to int64"),
    (
        "(float[2,8] x) => (float[2,3] v, int64[2,3] y) <int64[1] k = {3}> { v, y = TopK<largest=0>(x, k) }",
        "largest only",
    ),
    ("(float[5] x, int64[2,1] i, float[2] u) => (float[5] y) { y = ScatterND(x, i, u) }", "sums over zeros"),
]
TYPES = [
    ("(float16[4] x) => (float16[4] y) { y = Exp(x) }", "does not compute Exp in float16"),
    ("(double[4] x) => (double[4] y) { y = Add(x, x) }", "does not compute Add in float64"),
    ("(uint8[4] x) => (uint8[4] y) { y = Add(x, x) }", "does not compute Add in uint8"),
    ("(int64[4] x) => (int64[4] y) { y = Div(x, x) }", "does not compute Div in int64"),
    ("(uint64[4] x) => (uint64[4] y) { y = Clip(x) }", "does not compute Clip in uint64"),
]


RANKS = [
    ("(float[1,1,1,1,1,1,1,1,2] x) => (float[1,1,1,1,1,1,1,1,2] y) { y = Relu(x) }", "at most 8 axes, not 9"),
    ("(float[1,1,1,1,1,1,2] x) => (float[1,1,1,1,1,1,2] y) { y = Softmax(x) }", "at most 6 axes, not 7"),
]


@pytest.mark.parametrize("text", FITS)
def test_what_its_kernels_run(text):
    assert lacks(node_of(text), LITERT) == ""


@pytest.mark.parametrize(("text", "why"), LACKS)
def test_what_is_beyond_their_form(text, why):
    node = node_of(text)
    assert why in lacks_form(node, LITERT)
    assert why in lacks(node, LITERT)


@pytest.mark.parametrize(("text", "why"), TYPES)
def test_what_is_beyond_their_types(text, why):
    node = node_of(text)
    assert lacks_form(node, LITERT) == ""
    assert lacks(node, LITERT) == lacks_type(node, LITERT) == why


@pytest.mark.parametrize(("text", "why"), RANKS)
def test_what_is_beyond_their_rank(text, why):
    """No rule is tried for that."""
    assert why in lacks(node_of(text), LITERT)
    assert lacks_kernel(node_of(text), LITERT) == ""


@pytest.mark.parametrize(
    "call",
    ["Add(x, z)", "Pow(x, z)", 'BitShift<direction="RIGHT">(n, n)', "TopK(x, k)", 'Pad<mode="reflect">(x, p)'],
)
def test_a_rank_that_no_kernel_has_is_refused(call, tmp_path):
    """LiteRT itself would end the process over some of them."""
    dims = ",".join(["1"] * 8 + ["2"])
    outputs = "y, i" if "TopK" in call else "y"
    text = f"""g (float[{dims}] x, float[{dims}] z, uint8[{dims}] n) => ({outputs})
        <int64[1] k = {{1}}, int64[18] p = {{{",".join(["0"] * 17 + ["1"])}}}> {{ {outputs} = {call} }}"""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')
    onnx.save(onnx.shape_inference.infer_shapes(model), tmp_path / "m.onnx")
    with pytest.raises(narrowcast.UnsupportedError, match="axes, not 9"):
        narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")


@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [2, 2, 0, 0]])
def test_spatial_nodes_are_asked_about_in_either_order(pads):
    """Channels last, whose axes stand elsewhere in the shapes."""
    sides = ("float[1,4,8,6]", "float[1,4,8,6]"), ("float[1,8,6,4]", "float[1,8,6,4]")
    attributes = f"kernel_shape=[3,3], strides=[1,1], dilations=[1,1], pads={pads}"
    texts = [f"({a} x) => ({b} y) {{ y = AveragePool<{attributes}>(x) }}" for a, b in sides]
    first, last = node_of(texts[0]), node_of(texts[0])
    last.domain = CHANNELS_LAST
    for value, shape in ((last.inputs[0], [1, 8, 6, 4]), (last.outputs[0], [1, 8, 6, 4])):
        value.shape = ir.Shape(shape)
    assert lacks(first, LITERT) == lacks(last, LITERT)
    assert bool(lacks(first, LITERT)) == (pads[0] == 2)


def test_the_page_knows_what_the_writer_lowers():
    load_operators()
    lowered = {name if domain in ("", CHANNELS_LAST) else f"{domain}::{name}" for domain, name in LOWERINGS}
    assert lowered | {"QuantizeLinear", "DequantizeLinear"} == set(KERNELS)


def test_each_limit_is_told():
    assert all(kernel.fits.__doc__ for kernel in KERNELS.values())
