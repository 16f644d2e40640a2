"""Old spellings: each graph computes on ONNX Runtime what it computed before it was upgraded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from narrowcast.errors import UnsupportedOpError
from narrowcast.model import OPSET
from narrowcast.readers.formats import read
from narrowcast.readers.onnx.upgrade import UPGRADES
from narrowcast.readers.onnx.upgrade.registry import changed
from tests.readers.onnx.run import close, missing_shapes, random_feed, run_file, run_model, tidied, write_text


@dataclass(frozen=True)
class Case:
    """A graph of an old opset, and an operator that it becomes (itself where only its arguments move)."""

    name: str
    opset: int
    graph: str
    becomes: str


X = "(float[1,6,4,5] x) => (float[?,?,?,?] y)"
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

CASES = (
    Case("squeeze", 11, "(float[1,3,1,2] x) => (float[?,?] y) { y = Squeeze<axes=[0,-2]>(x) }", "Squeeze"),
    Case("squeeze all", 7, "(float[1,3,1,2] x) => (float[?,?] y) { y = Squeeze(x) }", "Squeeze"),
    Case("unsqueeze", 7, "(float[3,2] x) => (float[?,?,?,?] y) { y = Unsqueeze<axes=[0,2]>(x) }", "Unsqueeze"),
    *(
        Case(f"reduce {name}", 13, f"{X} {{ a = Abs(x) y = Reduce{name}{axes}(a) }}", f"Reduce{name}")
        for name in REDUCTIONS
        for axes in ("<axes=[2,-1]>", "<axes=[1],keepdims=1>", "")
        if name != "Sum"
    ),
    Case("reduce sum", 11, f"{X} {{ y = ReduceSum<axes=[2,3]>(x) }}", "ReduceSum"),
    Case("reduce all", 11, "(float[2,3] x) => (float y) { y = ReduceSum<keepdims=0>(x) }", "ReduceSum"),
    Case("split", 11, "(float[7,2] x) => (float[?,?] y, float[?,?] z) { y, z = Split<split=[3,4]>(x) }", "Split"),
    Case("even split", 11, "(float[2,6] x) => (float[?,?] y, float[?,?] z) { y, z = Split<axis=1>(x) }", "Split"),
    Case("uneven input", 13, "(float[2,6] x) => (float[?,?] y, float[?,?] z) { y, z = Split<axis=-1>(x) }", "Split"),
    Case("clip", 7, f"{X} {{ y = Clip<min=-0.5,max=0.25>(x) }}", "Clip"),
    Case("clip below", 10, f"{X} {{ y = Clip<min=0.0>(x) }}", "Clip"),
    Case("clip above", 9, f"{X} {{ y = Clip<max=0.1>(x) }}", "Clip"),
    Case("pad", 7, f"{X} {{ y = Pad<pads=[0,0,1,2,0,0,3,0],value=1.5>(x) }}", "Pad"),
    Case("pad reflected", 10, f'{X} {{ y = Pad<pads=[0,0,1,2,0,0,3,0],mode="reflect">(x) }}', "Pad"),
    Case("pad inwards", 10, f"{X} {{ y = Pad<pads=[0,0,-1,0,0,1,0,-2]>(x) }}", "Pad"),
    Case("slice", 7, f"{X} {{ y = Slice<starts=[1,-3],ends=[100,-1],axes=[1,3]>(x) }}", "Slice"),
    Case("slice first axes", 9, "(float[4,5] x) => (float[?,?] y) { y = Slice<starts=[1,0],ends=[3,9]>(x) }", "Slice"),
    Case("top k", 9, "(float[3,8] x) => (float[?,?] y, int64[?,?] i) { y, i = TopK<k=3,axis=1>(x) }", "TopK"),
    Case("dropout", 7, f"{X} {{ d = Dropout<ratio=0.3>(x) y = Relu(d) }}", "Dropout"),
    Case("dropout", 10, f"{X} {{ d = Dropout<ratio=0.3>(x) y = Relu(d) }}", "Dropout"),
    *(
        Case(f"{name} from {axis}", opset, f"{X} {{ y = {name}<axis={axis}>(x) }}", name)
        for name in ("Softmax", "LogSoftmax", "Hardmax")
        for opset, axis in ((7, 0), (8, 1), (11, 2), (12, 3), (11, -1), (11, -2))
    ),
    Case("softmax default", 9, f"{X} {{ y = Softmax(x) }}", "Softmax"),
    Case("softmax on ones", 9, "(float[2,9,1,1] x) => (float[?,?,?,?] y) { y = Softmax(x) }", "Softmax"),
    Case("argmax", 11, "(float[3,8] x) => (int64[?,?] y) { y = ArgMax<axis=1>(x) }", "ArgMax"),
    Case("upsample", 7, f'{X} {{ y = Upsample<mode="nearest",scales=[1.0,1.0,2.0,3.0]>(x) }}', "Resize"),
    Case("upsample", 8, f'{X} {{ y = Upsample<mode="linear",scales=[1.0,1.0,2.0,2.0]>(x) }}', "Resize"),
    Case(
        "upsample by an input",
        9,
        f"{X} <float[4] s = {{1.0, 1.0, 2.0, 1.5}}> {{ y = Upsample(x, s) }}",
        "Resize",
    ),
    *(
        Case(
            f"resize {mode} by {scales}",
            10,
            f'{X} <float[4] s = {{{scales}}}> {{ y = Resize<mode="{mode}">(x, s) }}',
            "Resize",
        )
        for mode in ("nearest", "linear")
        for scales in ("1.0, 1.0, 2.0, 2.5", "1.0, 1.0, 0.6, 0.5", "1.0, 1.0, 0.6, 2.0")
    ),
    Case(
        "resize by computed scales",
        10,
        "(float[1,1,6,8] x, float[1,1,3,16] z) => (float[?,?,?,?] y) { a = Shape(x) b = Shape(z) c = Cast<to=1>(a)"
        " d = Cast<to=1>(b) s = Div(d, c) y = Resize(x, s) }",
        "Resize",
    ),
    *(
        Case(
            f"resize of the middle, {rounding}",
            11,
            f"{X} <float[0] r = {{}}, float[4] s = {{1.0, 1.0, {scale}}}> {{ y = Resize<"
            f'coordinate_transformation_mode="tf_half_pixel_for_nn",nearest_mode="{rounding}">(x, r, s) }}',
            "Resize",
        )
        for rounding in ("floor", "round_prefer_floor")
        for scale in ("2.0, 3.0", "0.5, 0.7")
    ),
    Case(
        "resize to sizes",
        11,
        f"{X} <float[0] r = {{}}, float[0] s = {{}}, int64[4] t = {{1, 6, 9, 7}}> "
        '{ y = Resize<mode="cubic">(x, r, s, t) }',
        "Resize",
    ),
    Case(
        "scatter",
        9,
        "(float[3,3] x) => (float[?,?] y) <int64[1,2] i = {0, 2}, float[1,2] u = {1.5, 2.5}> "
        "{ y = Scatter<axis=1>(x, i, u) }",
        "ScatterElements",
    ),
    Case(
        "batch normalisation",
        7,
        f"{X} <float[6] s = {{1,2,3,4,5,6}}, float[6] b = {{0,1,0,1,0,1}}, float[6] m = {{0,1,2,3,4,5}}, "
        "float[6] v = {1,1,2,2,3,3}> { y = BatchNormalization<epsilon=0.01>(x, s, b, m, v) }",
        "BatchNormalization",
    ),
    Case(
        "group normalisation",
        18,
        f"{X} <float[3] s = {{1,2,3}}, float[3] b = {{0,1,0.5}}> {{ y = GroupNormalization<num_groups=3>(x, s, b) }}",
        "GroupNormalization",
    ),
    Case(
        "group normalisation of computed weights",
        18,
        "(float[1,6,4,5] x, float[3] s) => (float[?,?,?,?] y) <float[3] b = {0,1,0.5}> "
        "{ y = GroupNormalization<num_groups=3>(x, s, b) }",
        "GroupNormalization",
    ),
    Case(
        "grid sample",
        16,
        '(float[1,2,4,5] x, float[1,3,3,2] g) => (float[?,?,?,?] y) { y = GridSample<mode="bicubic">(x, g) }',
        "GridSample",
    ),
    Case("fourier", 17, "(float[1,8,3,1] x) => (float[?,?,?,?] y) { y = DFT(x) }", "DFT"),
    Case("fourier on an axis", 17, "(float[1,8,3,1] x) => (float[?,?,?,?] y) { y = DFT<axis=2>(x) }", "DFT"),
    Case(
        "constants",
        12,
        "(float[2] x) => (float[?] y) { a = Constant<value_floats=[1.0, 2.0]>() b = Constant<value_float=3.0>() "
        "c = Mul(x, a) y = Add(c, b) }",
        "Add",
    ),
    Case(
        "in a branch",
        10,
        "(float[2,3] x, bool c) => (float[?,?] y) { y = If(c) <"
        "then_branch = g () => (float[?,?] t) { t = Clip<min=0.0>(x) },"
        "else_branch = h () => (float[?,?] e) { u = Unsqueeze<axes=[0]>(x) v = Squeeze<axes=[0]>(u) e = Neg(v) }> }",
        "If",
    ),
    Case("swish", 24, f"{X} {{ y = Swish<alpha=1.5>(x) }}", "Sigmoid"),
    Case("product along an axis", 26, f"{X} <int64 a = {{1}}> {{ y = CumProd<exclusive=1>(x, a) }}", "Pad"),
    Case(
        "product along a computed axis",
        26,
        "(float[3,4,2] x, int64 a) => (float[3,4,2] y) { y = CumProd<reverse=1>(x, a) }",
        "Where",
    ),
    Case(
        "scan over batches",
        8,
        "(float[3,2] a, float[3,5,2] x) => (float[?,?] y, float[?,?,?] z) { y, z = Scan<num_scan_inputs=1,"
        "directions=[1],body = b (float[2] s, float[2] n) => (float[2] t, float[2] r) { t = Add(s, n) r = Neg(t) }>"
        "(, a, x) }",
        "Scan",
    ),
    Case("bits of integers", 26, "(int8[3] x) => (uint8[3] y) { y = BitCast<to=2>(x) }", "Cast"),
    Case(
        "circular cache",
        24,
        "(float[2,4,3] x, float[2,2,3] u) => (float[2,4,3] y) <int64[2] i = {3,1}> "
        '{ y = TensorScatter<mode="circular">(x, u, i) }',
        "ScatterElements",
    ),
    Case("cast with a rounding", 24, '(float[3] x) => (float16[?] y) { y = Cast<to=10,round_mode="up">(x) }', "Cast"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.opset} {case.name}")
def test_computes_the_same(case: Case, tmp_path: Path) -> None:
    path = write_text(tmp_path / "old.onnx", f'<ir_version: 8, opset_import: ["": {case.opset}]> g {case.graph}')
    before = read(path)
    model = tidied(path)
    feed = random_feed(model)
    expected = run_file(path, feed)
    assert case.becomes in {node.op_type for node in before.graph}
    assert model.graph.opset_imports[""] == OPSET
    for got in (run_model(before, feed), run_model(model, feed)):
        assert all(close(mine, theirs) for mine, theirs in zip(got, expected, strict=True))
    assert not missing_shapes(model)
    assert [spec.name for spec in model.outputs] == [value.name for value in before.graph.outputs]


def test_swish_is_what_its_definition_says(tmp_path: Path) -> None:
    import numpy as np

    path = write_text(
        tmp_path / "s.onnx", f'<ir_version: 10, opset_import: ["": 24]> g {X} {{ y = Swish<alpha=1.5>(x) }}'
    )
    model = read(path)
    feed = random_feed(model)
    (got,) = run_model(model, feed)
    assert close(got, feed["x"] / (1 + np.exp(-1.5 * feed["x"])))


BODIES = (
    (28, '(float[1,2,4,4] x) => (float[1,8,2,2] y) { y = SpaceToDepth<blocksize=2,mode="CRD">(x) }'),
    (28, "(float[2,6] x, float[2,6] z) => (float[2,6] y) { y = SwiGLU<alpha=1.5>(x, z) }"),
    (
        25,
        "(float[1,2,4,8] x, float[1,2,6,8] k, float[1,2,6,8] v) => (float[1,2,4,8] y, float[?,?,?,?] s) "
        "{ y, , , s = Attention<is_causal=1,left_window_size=2,qk_matmul_output_mode=3>(x, k, v) }",
    ),
    (
        25,
        "(float[1,2,4,8] x, bool c) => (float[1,2,4,8] y) { y = If(c) <"
        "then_branch = g () => (float[1,2,4,8] t) { t = Attention<left_window_size=1>(x, x, x) },"
        "else_branch = h () => (float[1,2,4,8] e) { e = Neg(x) }> }",
    ),
)


@pytest.mark.parametrize(("opset", "graph"), BODIES)
def test_newer_operators_become_what_defines_them(opset: int, graph: str, tmp_path: Path) -> None:
    """ONNX Runtime does not know them yet: ONNX's reference does."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    path = write_text(tmp_path / "new.onnx", f'<ir_version: 10, opset_import: ["": {opset}]> g {graph}')
    model = tidied(path)
    feed = random_feed(model)
    expected = ReferenceEvaluator(onnx.load(path)).run(None, feed)
    assert all(close(mine, theirs) for mine, theirs in zip(run_model(model, feed), expected, strict=True))
    assert [spec.name for spec in model.outputs] == [value.name for value in onnx.load(path).graph.output]


@pytest.mark.parametrize("operator", ["Clip<min=-0.5,max=0.5>", "Pad<pads=[1,0,0,0],value=2.0>"])
def test_arguments_take_the_type_of_what_they_bound(operator: str, tmp_path: Path) -> None:
    graph = f"(double[3,4] x) => (double[?,?] y) {{ y = {operator}(x) }}"
    path = write_text(tmp_path / "old.onnx", f'<ir_version: 8, opset_import: ["": 7]> g {graph}')
    (node,) = read(path).graph
    assert [value.dtype.name for value in node.inputs if value.name.endswith(("min", "max", "value"))] in (
        ["DOUBLE", "DOUBLE"],
        ["DOUBLE"],
    )


def test_regions_keep_their_coordinates(tmp_path: Path) -> None:
    """ONNX Runtime has no RoiAlign of opset 22, so the attribute is looked at."""
    graph = "(float[1,6,4,5] x, float[2,4] r, int64[2] i) => (float[?,?,?,?] y) { y = RoiAlign(x, r, i) }"
    path = write_text(tmp_path / "old.onnx", f'<ir_version: 8, opset_import: ["": 10]> g {graph}')
    (node,) = read(path).graph
    assert node.attributes.get_string("coordinate_transformation_mode") == "output_half_pixel"


IN_PLACE = (
    *("Abs", "Ceil", "Clip", "Dropout", "Elu", "Exp", "Floor", "HardSigmoid", "LeakyRelu", "Neg", "Reciprocal", "Relu"),
    *("Sigmoid", "Tanh"),
)
EARLY = (
    *((1, f"y = {name}<consumed_inputs=[0]>(x)", f"y = {name}(x)") for name in IN_PLACE),
    *((1, f"a = Abs(x) y = {name}<consumed_inputs=[0]>(a)", f"a = Abs(x) y = {name}(a)") for name in ("Log", "Sqrt")),
    *((5, f"y = {name}<consumed_inputs=[0]>(x, x)", f"y = {name}(x, x)") for name in ("Max", "Min", "Mean", "Sum")),
    (1, "y = Selu<consumed_inputs=[0]>(x)", "y = Selu<alpha=1.6732,gamma=1.0507>(x)"),
    (1, "y = Clip<min=-0.5,max=0.25,consumed_inputs=[0]>(x)", "a = Clip(x, low, high) y = Identity(a)"),
    (1, 'a = Cast<to="int32">(x) y = Cast<to="FLOAT">(a)', "a = Cast<to=6>(x) y = Cast<to=1>(a)"),
    (5, "y = Tile(x, three, two)", "y = Concat<axis=2>(x, x, x)"),
    (4, "y = Reshape<shape=[1,0,-1,2],consumed_inputs=[0]>(x)", "y = Reshape(x, shape)"),
    (3, "y = Concat(x, x)", "y = Concat<axis=1>(x, x)"),
    (1, "y = Pad<paddings=[0,0,1,2,0,0,3,0],value=1.5>(x)", "y = Pad(x, pads, number)"),
    (1, "a, b = Split<axis=1,split=[2,4]>(x) y = Neg(b)", "a, b = Split<axis=1>(x, parts) y = Neg(b)"),
    (1, "a, b = Split<axis=1>(x, parts) y = Neg(b)", "a, b = Split<axis=1>(x, parts) y = Neg(b)"),
    (1, "y = LpPool<p=1.0,kernel_shape=[2,2]>(x)", "y = LpPool<p=1,kernel_shape=[2,2]>(x)"),
    (
        6,
        "y = AveragePool<kernel_shape=[2,2],pads=[1,1,0,0]>(x)",
        "y = AveragePool<kernel_shape=[2,2],pads=[1,1,0,0]>(x)",
    ),
    (5, "y = Upsample<height_scale=2.0,width_scale=3.0>(x)", 'y = Resize<mode = "nearest">(x, , scales)'),
    *(
        (opset, f"y = {name}<broadcast=1,axis=1>(x, s)", f"y = {name}(x, column)")
        for name in ("Add", "Div", "Mul", "Pow", "Sub")
        for opset in (1, 6)
    ),
    (6, "y = Add<broadcast=1>(x, row)", "y = Add(x, row)"),
    (6, "y = Add<broadcast=1,axis=-3>(x, s)", "y = Add(x, column)"),
    (
        3,
        "p = Relu(x) n = Neg(s) a = Add<broadcast=1,axis=1>(p, n) y = Add(a, x)",
        "p = Relu(x) n = Neg(column) a = Add(p, n) y = Add(a, x)",
    ),
    *(
        (6, f"t = {name}<broadcast=1,axis=1>(x, s) y = Cast<to=1>(t)", f"t = {name}(x, column) y = Cast<to=1>(t)")
        for name in ("Greater", "Less")
    ),
    *(
        (
            6,
            f"g = Greater(x, x) h = Less<broadcast=1,axis=1>(x, s) t = {name}(g, h) y = Cast<to=1>(t)",
            f"g = Greater(x, x) h = Less(x, column) t = {name}(g, h) y = Cast<to=1>(t)",
        )
        for name in ("And", "Or", "Xor")
    ),
    (
        6,
        "i = Cast<to=6>(x) t = Equal<broadcast=0>(i, i) y = Cast<to=1>(t)",
        "i = Cast<to=6>(x) t = Equal(i, i) y = Cast<to=1>(t)",
    ),
    (6, "y = PRelu(x, s)", "y = PRelu(x, column)"),
    (5, "y = PRelu<consumed_inputs=[0]>(x, one)", "y = PRelu(x, one)"),
    (
        1,
        "y = BatchNormalization<consumed_inputs=[0,0,0,1,1],is_test=1>(x, s, s, s, s)",
        "y = BatchNormalization(x, s, s, s, s)",
    ),
    (6, "y = BatchNormalization<is_test=1>(x, s, s, s, s)", "y = BatchNormalization(x, s, s, s, s)"),
    (6, "y = Dropout<is_test=1,ratio=0.4>(x)", "y = Identity(x)"),
    (5, "y = InstanceNormalization<consumed_inputs=[0]>(x, s, s)", "y = InstanceNormalization(x, s, s)"),
    (
        6,
        "f = Flatten<axis=3>(x) y = Gemm<broadcast=1,transB=1>(f, f, one)",
        "f = Flatten<axis=3>(x) y = Gemm<transB=1>(f, f, one)",
    ),
    *(
        (
            opset,
            f"q = Squeeze<axes=[0]>(x) y, h = {name}<hidden_size=2,output_sequence=1>(q, {weights})",
            f"q = Squeeze(x, zero) y, h = {name}<hidden_size=2>(q, {weights})",
        )
        for name, weights in (("RNN", "w, r"), ("GRU", "w3, r3"), ("LSTM", "w4, r4"))
        for opset in (1, 6)
    ),
)
EARLY_CONSTANTS = (
    "float[6] s = {1,2,3,1,2,0.5}, float[1,6,1,1] column = {1,2,3,1,2,0.5}, float[5] row = {1,2,3,4,5}, "
    "float low = {-0.5}, float high = {0.25}, int64 three = {3}, int64 two = {2}, int64[4] shape = {1,0,-1,2}, "
    "int64[8] pads = {0,0,1,2,0,0,3,0}, float number = {1.5}, int64[2] parts = {2,4}, float[4] scales = {1,1,2,3}, "
    "float[1] one = {0.5}, int64[1] zero = {0}, "
    "float[1,2,5] w = {1,2,3,4,5,5,4,3,2,1}, float[1,2,2] r = {0.5,1,-1,0.5}, "
    + ", ".join(
        f"float[1,{2 * gates},{width}] {name}{gates} = {{{','.join(f'0.{i % 7}' for i in range(2 * gates * width))}}}"
        for gates in (3, 4)
        for name, width in (("w", 5), ("r", 2))
    )
)


@pytest.mark.parametrize(("opset", "early", "modern"), EARLY, ids=lambda value: str(value)[:60])
def test_early_opsets_mean_what_is_said_otherwise_now(opset: int, early: str, modern: str, tmp_path: Path) -> None:
    """ONNX Runtime begins with opset 7: the same in newer words."""
    graph = f"(float[1,6,4,5] x) => (float[N] y) <{EARLY_CONSTANTS}> {{ %s }}"
    path = write_text(tmp_path / "old.onnx", f'<ir_version: 3, opset_import: ["": {opset}]> g {graph % early}')
    new = write_text(tmp_path / "new.onnx", f'<ir_version: 8, opset_import: ["": 17]> g {graph % modern}')
    model = tidied(path)
    feed = random_feed(model)
    assert not missing_shapes(model)
    for got, wanted in zip(run_model(model, feed), run_file(new, feed), strict=True):
        assert close(got, wanted)


REFUSED = (
    (
        8,
        f"{X} <float[6] s = {{1,2,3,4,5,6}}> {{ y = BatchNormalization<spatial=0>(x, s, s, s, s) }}",
        UnsupportedOpError,
        "spatial=0",
    ),
    (
        9,
        "(float[1,6,4] x) => (float[1,6,4] y, float[6] m, float[6] v, float[6] n, float[6] w) "
        "<float[6] s = {1,2,3,4,5,6}> "
        "{ y, m, v, n, w = BatchNormalization(x, s, s, s, s) }",
        UnsupportedOpError,
        "training",
    ),
    (
        17,
        f"{X} <float ratio = {{0.5}}, bool training = {{1}}> {{ y = Dropout(x, ratio, training) }}",
        UnsupportedOpError,
        "model.eval",
    ),
    (
        17,
        f"{X} <float[6] s = {{1,2,3,4,5,6}}> {{ y, m, v = BatchNormalization<training_mode=1>(x, s, s, s, s) }}",
        UnsupportedOpError,
        "training mode",
    ),
    (13, f"{X} {{ y = Undreamt(x) }}", UnsupportedOpError, "no operator Undreamt"),
    (
        11,
        f"{X} <float[0] r = {{}}, float[4] s = {{1.0,1.0,2.0,2.0}}> {{ y = Resize<"
        'coordinate_transformation_mode="tf_half_pixel_for_nn",nearest_mode="ceil">(x, r, s) }',
        UnsupportedOpError,
        "tf_half_pixel_for_nn",
    ),
)


@pytest.mark.parametrize(("opset", "graph", "error", "words"), REFUSED, ids=[row[3] for row in REFUSED])
def test_says_what_it_cannot_upgrade(
    opset: int, graph: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    path = write_text(tmp_path / "old.onnx", f'<ir_version: 8, opset_import: ["": {opset}]> g {graph}')
    with pytest.raises(error, match=words):
        read(path)


def test_every_upgrade_is_tested() -> None:
    texts = [case.graph for case in CASES] + [early for _, early, _ in EARLY]
    covered = {operator for text in texts for operator in UPGRADES if f"{operator}<" in text or f"{operator}(" in text}
    assert set(UPGRADES) - covered == {"GlobalLpPool", "RoiAlign"}, "add a case"


def test_a_change_is_registered_once() -> None:
    with pytest.raises(ValueError, match="already"):
        changed(13, "Squeeze")(lambda node, build: None)
