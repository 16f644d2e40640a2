"""Control flow that stays: IF and WHILE in LiteRT, against ONNX Runtime on the source, several runs of one file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from narrowcast import api, runtimes
from narrowcast.dialect.check import violations
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import Feed
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.decompose import decompose
from narrowcast.reference import Reference

HEADER = '<ir_version: 10, opset_import: ["" : 21]>'
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(4, 3)).astype(np.float32)
IMAGE = RANDOM.normal(size=(1, 3, 8, 8)).astype(np.float32)
LONG = RANDOM.normal(size=(5, 2500)).astype(np.float32)


def feeds(*numbers: float, dtype=np.int64, x=X, **more) -> list[Feed]:
    return [{"x": x, "n": np.array(number, dtype), **more} for number in numbers]


CASES: dict[str, tuple[str, list[Feed], dict[str, int]]] = {
    "a computed number of steps": (
        """g (float[4, 3] x, int64 n) => (float[4, 3] y) <bool always = {1}> {
        y = Loop (n, always, x) <body = b (int64 i, bool c, float[4, 3] a) => (bool d, float[4, 3] s) {
            d = Identity (c)
            s = Sin (a)
        }> }""",
        feeds(0, 1, 5, 100, 0),
        {"WHILE": 1, "SIN": 1},
    ),
    "a condition on the data": (
        """g (float[4, 3] x, float n) => (float[4, 3] y, float total) <bool always = {1}, float zero = {0}> {
        y, total = Loop ("", always, x, zero) <body = b (int64 i, bool c, float[4, 3] a, float t)
                => (bool d, float[4, 3] s, float u) {
            h = Mul (a, a)
            m = ReduceSum <keepdims = 0> (h)
            u = Add (t, m)
            d = Less (u, n)
            s = Tanh (a)
        }> }""",
        feeds(-1, 20, 60, dtype=np.float32),
        {"WHILE": 1, "TANH": 1},
    ),
    "both, and a condition that is false from the beginning": (
        """g (float[4, 3] x, bool n) => (float[4, 3] y) <int64 most = {7}, float two = {2}> {
        y = Loop (most, n, x) <body = b (int64 i, bool c, float[4, 3] a) => (bool d, float[4, 3] s) {
            s = Mul (a, two)
            m = ReduceMax <keepdims = 0> (s)
            d = Less (m, two)
        }> }""",
        feeds(0, 1, dtype=np.bool_),
        {"WHILE": 1},
    ),
    "rows of unknown number": (
        """g (float[4, 3] x, int64 n) => (float[4, 3] y, float[k, 4, 3] rows) <bool always = {1}> {
        y, rows = Loop (n, always, x) <body = b (int64 i, bool c, float[4, 3] a)
                => (bool d, float[4, 3] s, float[4, 3] r) {
            d = Identity (c)
            s = Sin (a)
            r = Neg (s)
        }> }""",
        feeds(0, 1, 5, 0, 2),
        {"WHILE": 1, "CONCATENATION": 1},
    ),
    "rows of three steps or none": (
        """g (float[4, 3] x, bool n) => (float[4, 3] y, float[k, 3] rows) <int64 three = {3}, int64[1] first = {0}> {
        y, rows = Loop (three, n, x) <body = b (int64 i, bool c, float[4, 3] a)
                => (bool d, float[4, 3] s, float[3] r) {
            d = Identity (c)
            s = Cos (a)
            r = ReduceMean <keepdims = 0> (a, first)
        }> }""",
        feeds(0, 1, 1, 0, dtype=np.bool_),
        {"WHILE": 1, "CONCATENATION": 1},
    ),
    "states that change places": (
        """g (float[4, 3] x, int64 n) => (float[4, 3] y, float[4, 3] z, float[4, 3] w, int64 last)
        <bool always = {1}, int64 none = {0}> {
        e = Exp (x)
        f = Neg (x)
        y, z, w, last = Loop (n, always, x, e, f, none) <body = b (int64 i, bool c, float[4, 3] a, float[4, 3] k,
                float[4, 3] v, int64 was) => (bool d, float[4, 3] p, float[4, 3] q, float[4, 3] r, int64 now) {
            d = Identity (c)
            p = Identity (k)
            q = Identity (a)
            r = Identity (v)
            now = Identity (i)
        }> }""",
        feeds(0, 1, 2, 3),
        {"WHILE": 1},
    ),
    "captured values, of the graph and of a loop around": (
        """g (float[4, 3] x, int64 n) => (float[4, 3] y) <bool always = {1}, float tenth = {0.1}> {
        e = Cos (x)
        y = Loop (n, always, x) <body = b (int64 i, bool c, float[4, 3] a) => (bool d, float[4, 3] s) {
            d = Identity (c)
            j = Add (i, i)
            h = Mul (e, tenth)
            s = Loop (j, c, a) <body = inner (int64 k, bool l, float[4, 3] m) => (bool o, float[4, 3] p) {
                o = Identity (l)
                q = Cast <to = 1> (i)
                r = Mul (q, h)
                t = Sub (m, r)
                p = Add (t, x)
            }>
        }> }""",
        feeds(0, 1, 4),
        {"WHILE": 2},
    ),
    "an If within a loop within an If": (
        """g (float[4, 3] x, int64 n) => (float[4, 3] y)
        <int64 two = {2}, bool always = {1}, float[3, 3] w = {1, 2, 3, -1, 0.5, 1, 0.25, -1, 2}, float half = {0.5}> {
        e = Cos (x)
        many = Greater (n, two)
        y = If (many) <
            then_branch = then () => (float[4, 3] t) {
                t = Loop (n, always, e) <body = b (int64 i, bool c, float[4, 3] a) => (bool d, float[4, 3] s) {
                    d = Identity (c)
                    early = Less (i, two)
                    s = If (early) <then_branch = p () => (float[4, 3] f) { k = MatMul (a, w)  f = Sin (k) },
                                    else_branch = q () => (float[4, 3] h) { l = Mul (a, half)  h = Add (l, x) }>
                }> },
            else_branch = other () => (float[4, 3] o) { o = MatMul (x, w) }> }""",
        feeds(0, 2, 3, 9),
        {"IF": 2, "WHILE": 1, "FULLY_CONNECTED": 2},
    ),
    "rows of too many steps": (
        """g (float[4, 3] x, float n) => (float[4, 3] y, float[k, 4, 3] rows, int64[k] numbers)
        <int64 most = {3000}, bool always = {1}> {
        y, rows, numbers = Loop (most, always, x) <body = b (int64 i, bool c, float[4, 3] a)
                => (bool d, float[4, 3] s, float[4, 3] r, int64 j) {
            d = Identity (c)
            h = Add (a, n)
            s = Sin (h)
            r = Neg (s)
            j = Mul (i, i)
        }> }""",
        feeds(0.5, -1.0, dtype=np.float32),
        {"WHILE": 1, "DYNAMIC_UPDATE_SLICE": 2},
    ),
    "a long scan, backwards and over other axes": (
        """g (float[2, 2500] x, float[2500, 3] n) => (float[2] last, float[2, 2500] y, float[3, 2500] z)
        <float[2] start = {0, 1}> {
        last, y, z = Scan (start, x, n) <num_scan_inputs = 2, scan_input_axes = [1, 0], scan_input_directions = [1, 0],
            scan_output_axes = [1, 1], scan_output_directions = [0, 1],
            body = b (float[2] a, float[2] c, float[3] k) => (float[2] s, float[2] r, float[3] t) {
            h = Add (a, c)
            s = Tanh (h)
            r = Neg (s)
            t = Mul (k, k)
        }> }""",
        [
            {
                "x": RANDOM.normal(size=(2, 2500)).astype(np.float32),
                "n": RANDOM.normal(size=(2500, 3)).astype(np.float32),
            }
        ],
        {"WHILE": 1},
    ),
    "a choice of convolutions": (
        """g (float[1, 3, 8, 8] x, bool n) => (float[1, 2, 8, 8] y, float[1, 2] z)
        <float[2, 3, 1, 1] v = {1, 2, 3, -1, 0.5, 0.25}, float[2, 3, 1, 1] w = {-1, 0, 1, 2, 1, 0.5},
         float[2] b = {1, -1}, int64[2] axes = {2, 3}> {
        r = Relu (x)
        y, z = If (n) <
            then_branch = then () => (float[1, 2, 8, 8] p, float[1, 2] q) {
                p = Conv (r, v, b)
                q = ReduceMean <keepdims = 0> (p, axes) },
            else_branch = other () => (float[1, 2, 8, 8] s, float[1, 2] t) {
                u = Conv (x, w)
                s = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (u)
                t = ReduceMax <keepdims = 0> (s, axes) }>
        }""",
        feeds(0, 1, dtype=np.bool_, x=IMAGE),
        {"IF": 1, "CONV_2D": 2, "MAX_POOL_2D": 1},
    ),
    "a branch that would fail on what the other one is for": (
        """g (float[4, 3] x, int64 n) => (float[3] y) <int64 four = {4}, int64 zero = {0}> {
        fits = Less (n, four)
        y = If (fits) <then_branch = then () => (float[3] a) { a = Gather <axis = 0> (x, n) },
                       else_branch = other () => (float[3] b) { b = Gather <axis = 0> (x, zero) }> }""",
        feeds(2, 7),
        {"IF": 1},
    ),
}


def converted(text: str, folder: Path) -> tuple[onnx.ModelProto, Path]:
    proto = onnx.parser.parse_model(HEADER + text)
    onnx.save(proto, folder / "m.onnx")
    api.save(api.load(folder / "m.onnx"), folder / "m.tflite", io_layout="source", verify=False)
    return proto, folder / "m.tflite"


def operators(path: Path) -> Counter[str]:
    """How often each operator stands in the graphs of a file."""
    return Counter(dict(api.inspect(path).operators.by_type))


@pytest.mark.parametrize("name", CASES)
def test_it_computes_the_same(name, tmp_path):
    text, fed, counts = CASES[name]
    proto, path = converted(text, tmp_path)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    runner = runtimes.open(path, "litert")
    for feed in fed:
        expected = session.run(None, feed)
        found = runner.run(feed)
        for output, wanted in zip(session.get_outputs(), expected, strict=True):
            np.testing.assert_allclose(found[output.name], wanted, rtol=1e-4, atol=1e-5, err_msg=str(feed["n"]))
    seen = operators(path)
    assert {kind: seen[kind] for kind in counts} == counts


def at_each_step(text: str) -> str:
    """A loop of `n` steps over `a` of the shape [4, 3]."""
    return f"""g (float[4, 3] x, int64 n) => (float[k, m] y) <bool always = {{1}}> {{
        y = Loop (n, always, x) <body = b (int64 i, bool c, float[p, q] a) => (bool d, float[r, s] z) {{
            d = Identity (c)
            {text}
        }}> }}"""


REFUSED = {
    "a state that grows": (at_each_step("z = Concat <axis = 0> (a, a)"), "a.*from float 4x3 to float 8x3"),
    "rows until a condition fails": (
        """g (float[4, 3] x, float n) => (float[4, 3] y, float[k, 4, 3] rows) <bool always = {1}, int64 most = {9}> {
        y, rows = Loop (most, always, x) <body = b (int64 i, bool c, float[4, 3] a)
                => (bool d, float[4, 3] s, float[4, 3] r) {
            s = Mul (a, a)
            m = ReduceMax <keepdims = 0> (s)
            d = Greater (m, n)
            r = Identity (a)
        }> }""",
        "rows its output 'rows' has",
    ),
    "a loop without end": (
        at_each_step("z = Sin (a)").replace("Loop (n, ", 'Loop ("", '),
        "hardly come to an end",
    ),
    "a loop of very many steps": (
        at_each_step("z = Sin (a)").replace("{1}>", "{1}, int64 k = {1000000000000}>").replace("Loop (n", "Loop (k"),
        "hardly come to an end",
    ),
    "branches of different shapes": (
        """g (float[4, 3] x, bool n) => (float[k, 3] y) {
        y = If (n) <then_branch = t () => (float[8, 3] a) { a = Concat <axis = 0> (x, x) },
                    else_branch = e () => (float[4, 3] b) { b = Neg (x) }> }""",
        "float 8x3 and float 4x3 for 'y'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_static_shapes_is_refused_by_name(name, tmp_path):
    text, message = REFUSED[name]
    with pytest.raises(UnsupportedOpError, match=message) as caught:
        converted(text, tmp_path)
    assert any(kind in str(caught.value) for kind in ("Loop", "If"))


def test_a_state_that_grows_is_unrolled(tmp_path):
    text = at_each_step("z = Concat <axis = 0> (a, a)").replace(", int64 n", "").replace("{1}>", "{1}, int64 n = {3}>")
    proto, path = converted(text, tmp_path)
    (expected,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": X})
    np.testing.assert_array_equal(runtimes.open(path, "litert").run({"x": X})["y"], expected)


@pytest.mark.parametrize("name", CASES)
def test_the_canonical_graph_runs_on_onnx_runtime(name, tmp_path):
    """Opened up again, before and after its decomposition; both passes a second time change nothing."""
    text, fed, _ = CASES[name]
    proto = onnx.parser.parse_model(HEADER + text)
    onnx.save(proto, tmp_path / "m.onnx")
    model = api.load(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    for prepare in (lambda: None, lambda: decompose(model, "litert"), lambda: canonicalize(model)):
        prepare()
        assert not violations(model)
        for feed in fed:
            found = Reference(model).run(feed)
            for output, wanted in zip(session.get_outputs(), session.run(None, feed), strict=True):
                np.testing.assert_allclose(found[output.name], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scheme", ["float16", "dynamic_range", "int8", "full_int8", "int16x8"])
def test_control_flow_is_an_island_of_floats(scheme, tmp_path):
    text, _, counts = CASES["a choice of convolutions"]
    onnx.save(onnx.parser.parse_model(HEADER + text), tmp_path / "m.onnx")
    np.savez(tmp_path / "data.npz", x=np.concatenate([IMAGE, IMAGE]), n=np.array([0, 1], np.bool_))
    model = api.load(tmp_path / "m.onnx")
    data = tmp_path / "data.npz" if scheme.startswith(("int", "full")) else None
    api.save(api.quantize(model, scheme, data=data), tmp_path / "q.tflite", io_layout="source")
    assert {kind: operators(tmp_path / "q.tflite")[kind] for kind in counts} == counts
