"""Custom operators: a plain statement in numpy, LiteRT's kernel, and the graph that is read, kept or in others."""

from __future__ import annotations

import math
import struct
from itertools import product
from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers

import narrowcast
from narrowcast import runtimes
from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.prepare import adapt
from narrowcast.readers import formats
from narrowcast.targets import find
from tests.readers.tflite.cases import real, truth, whole
from tests.readers.tflite.single import Single, T, build, compare, const, feeds, read, run_graph, run_litert

SAME, VALID = 1, 2
F32 = "float32"


def pool_with_places(x, padding, stride, kernel):
    """Each window by itself: its maximum, the first column's of equal ones, and where that is in the window."""
    pads, outs = [0, 0], []
    for axis in range(2):
        size = x.shape[1 + axis]
        outs.append(-(-size // stride[axis]) if padding == SAME else (size - kernel[axis]) // stride[axis] + 1)
        if padding == SAME:
            pads[axis] = max((outs[axis] - 1) * stride[axis] + kernel[axis] - size, 0) // 2
    shape = (x.shape[0], *outs, x.shape[3])
    highest, places = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.float32)
    for row, column, z, y in product(range(outs[0]), range(outs[1]), range(kernel[1]), range(kernel[0])):
        at = row * stride[0] - pads[0] + y, column * stride[1] - pads[1] + z
        if not (0 <= at[0] < x.shape[1] and 0 <= at[1] < x.shape[2]):
            continue
        found = x[:, at[0], at[1]]
        better = found > highest[:, row, column]
        highest[:, row, column] = np.where(better, found, highest[:, row, column])
        places[:, row, column] = np.where(better, y * kernel[1] + z + np.float32(0.1), places[:, row, column])
    return highest, places


def unpool(x, places, kernel):
    """Each number at its place in a window of zeros."""
    batch, height, width, channels = x.shape
    made = np.zeros((batch, height * kernel[0], width * kernel[1], channels), np.float32)
    for index in np.ndindex(x.shape):
        image, row, column, channel = index
        down, right = divmod(int(places[index]), kernel[1])
        made[image, row * kernel[0] + down, column * kernel[1] + right, channel] = x[index]
    return made


def transposed(x, kernel, bias, padding, stride):
    """Each pixel adds the kernel, times itself, to the output, of which the borders are cut off."""
    out, high, wide, _ = kernel.shape
    sizes = [(x.shape[1 + a] - 1) * stride[a] + (high, wide)[a] for a in range(2)]
    made = np.zeros((x.shape[0], *sizes, out), np.float32)
    for row, column in product(range(x.shape[1]), range(x.shape[2])):
        part = np.einsum("ni,ohwi->nhwo", x[:, row, column], kernel)
        made[:, row * stride[0] : row * stride[0] + high, column * stride[1] : column * stride[1] + wide] += part
    begins, ends = [0, 0], sizes
    if padding == SAME:
        less = [max((high, wide)[a] - (x.shape[1 + a] - 1) % stride[a] - 1, 0) for a in range(2)]
        begins = [total // 2 for total in less]
        ends = [size - total + begin for size, total, begin in zip(sizes, less, begins, strict=True)]
    return made[:, begins[0] : ends[0], begins[1] : ends[1]] + bias


def overlap(one, other):
    """The intersection of two boxes over their union."""
    areas = [max(0.0, (box[2] - box[0]) * (box[3] - box[1])) for box in (one, other)]
    height = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    width = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    return height * width / (sum(areas) - height * width) if min(areas) > 0 else 0.0


def suppressed(boxes, scores, options, most):
    """The boxes that are left, from the highest score on."""
    left: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if len(left) == most or scores[index] < options["nms_score_threshold"]:
            break
        if all(overlap(boxes[index], boxes[other]) <= options["nms_iou_threshold"] for other in left):
            left.append(int(index))
    return left


def detections(codes, scores, anchors, options):
    """(box, class, score) of what is found."""
    y, x, height, width = (codes[0, :, place] / options[f"{axis}_scale"] for place, axis in enumerate("yxhw"))
    centre = np.stack([y, x], 1) * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(np.stack([height, width], 1)) * anchors[:, 2:] / 2
    boxes, classes = np.concatenate([centre - half, centre + half], 1), options["num_classes"]
    own = scores[0, :, scores.shape[2] - classes :]
    if options.get("use_regular_nms"):
        rows = [
            (own[index, label], boxes[index], label)
            for label in range(classes)
            for index in suppressed(boxes, own[:, label], options, options.get("detections_per_class", 100))
        ]
        rows.sort(key=lambda row: -row[0])
        return [(box, label, score) for score, box, label in rows[: options["max_detections"]]]
    each = min(options["max_classes_per_detection"], classes)
    return [
        (boxes[index], label, own[index, label])
        for index in suppressed(boxes, own.max(1), options, options["max_detections"])
        for label in np.argsort(-own[index], kind="stable")[:each]
    ]


def pool_options(padding, stride, kernel):
    return struct.pack("<8i", padding, *reversed(stride), *reversed(kernel), 0, -1, -1)


def _case(name, inputs, statement, options, title):
    """XNNPACK, whose kernels these are, wants to know the shapes of the outputs."""
    return Single(name, inputs, [T(array) for array in statement], options=options, title=str(title)), statement


def _cases():
    windows = ((SAME, (2, 2), (2, 2)), (VALID, (2, 2), (2, 2)), (SAME, (3, 2), (3, 2)), (VALID, (2, 3), (2, 3)))
    for padding, stride, kernel in windows:
        x = real(2, 5, 6, 3).round()
        statement = pool_with_places(x, padding, stride, kernel)
        options = pool_options(padding, stride, kernel)
        yield _case("MaxPoolingWithArgmax2D", [x], statement, options, (padding, stride, kernel))
    for kernel in ((2, 2), (3, 2)):
        places = whole(2, 3, 4, 3, low=0, high=math.prod(kernel) - 1) + np.float32(0.1)
        x, places = real(2, 3, 4, 3), places.astype(np.float32)
        options = pool_options(VALID, kernel, kernel)
        yield _case("MaxUnpooling2D", [x, places], (unpool(x, places, kernel),), options, kernel)
    windows = ((SAME, (2, 2), (3, 3)), (VALID, (2, 1), (3, 2)), (SAME, (2, 2), (2, 2)), (SAME, (1, 3), (4, 3)))
    for padding, stride, kernel in windows:
        x, weights, bias = real(2, 4, 5, 3), real(6, *kernel, 3), real(6)
        statement, options = transposed(x, weights, bias, padding, stride), struct.pack("<3i", padding, *stride[::-1])
        inputs = [x, const(weights), const(bias)]
        yield _case("Convolution2DTransposeBias", inputs, (statement,), options, (padding, stride, kernel))


CASES = list(_cases())


def _run(case, content, arrays):
    """XNNPACK's kernels: their places go column by column, and are bits of whole numbers where MediaPipe has floats."""
    rows, columns = (1, 1) if case.name.startswith("Conv") else struct.unpack("<8i", case.options)[4:2:-1]
    if case.name == "MaxUnpooling2D":
        down, right = np.divmod(arrays[1].astype(np.uint32), columns)
        arrays = [arrays[0], (right * rows + down).astype(np.uint32).view(np.float32)]
    found = run_litert(content, arrays, custom=True)
    if case.name == "MaxPoolingWithArgmax2D":
        right, down = np.divmod(found[1].view(np.uint32), rows)
        found[1] = (down * columns + right).astype(np.float32) + np.float32(0.1)
    return found


@pytest.mark.parametrize(("case", "statement"), CASES, ids=[str(case) for case, _ in CASES])
def test_operator(case, statement, tmp_path):
    content, arrays = build(case), feeds(case)
    compare(case, statement, _run(case, content, arrays))
    compare(case, statement, run_graph(read(content, tmp_path), arrays))
    model = formats.read(tmp_path / "one.tflite", formats.ReadOptions(keep_custom=True))
    canonicalize(model)
    adapt(model, find("litert"))
    assert [node.domain for node in model.graph] == ["narrowcast"]
    adapt(model, find("onnxruntime"))
    assert {node.domain for node in model.graph} == {""}
    compare(case, statement, run_graph(model, arrays))


@pytest.mark.parametrize(("case", "statement"), [CASES[0], CASES[4], CASES[6]], ids=lambda case: str(case)[:20])
def test_written_again(case, statement, tmp_path):
    content, arrays = build(case), feeds(case)
    source, written = tmp_path / "source.tflite", tmp_path / "written.tflite"
    source.write_bytes(content)
    narrowcast.save(narrowcast.load(source, keep_custom=True), written, verify=False)
    assert runtimes.open(written, "litert").operators()[0] == {case.name: 1}
    compare(case, statement, _run(case, written.read_bytes(), arrays))
    narrowcast.save(narrowcast.load(source), written, verify=False)
    assert case.name not in runtimes.open(written, "litert").operators()[0]
    compare(case, statement, run_litert(written.read_bytes(), arrays))


OPTIONS = {
    "max_detections": 8,
    "max_classes_per_detection": 1,
    "nms_score_threshold": 0.3,
    "nms_iou_threshold": 0.5,
    "num_classes": 4,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "fast": {},
    "fast, several classes": {"max_classes_per_detection": 3},
    "fast, few": {"max_detections": 2},
    "fast, none": {"nms_score_threshold": 2.0},
    "regular": {"use_regular_nms": True},
    "regular, one of each class": {"use_regular_nms": True, "detections_per_class": 1},
    "without background": {"num_classes": 5},
}


@pytest.mark.parametrize("stored", ["float32", "uint8"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_detection(variant, stored, tmp_path):
    options = {**OPTIONS, **VARIANTS[variant]}
    centres = real(30, 2, low=0.2, high=0.8)
    codes, scores = real(1, 30, 4), real(1, 30, 5, low=0.0, high=1.0)
    inputs: list[Any] = [codes, scores, const(np.concatenate([centres, real(30, 2, low=0.1, high=0.3)], 1))]
    real_ones = [codes, scores, inputs[2].array]
    if stored == "uint8":
        steps = ((0.025, 128), (1 / 256, 0), (1 / 256, 0))
        inputs = [
            T(np.clip(np.rint(array / scale) + zero, 0, 255).astype(np.uint8), place < 2, scale, zero)
            for place, (array, (scale, zero)) in enumerate(zip(real_ones, steps, strict=True))
        ]
        real_ones = [(item.array.astype(np.float32) - item.zero) * np.float32(item.scale) for item in inputs]
    content = bytes(flexbuffers.Dumps(options))
    case = Single("TFLite_Detection_PostProcess", inputs, [F32] * 4, options=content)
    statement = detections(*real_ones, options)
    file, arrays = build(case), feeds(case)
    for boxes, classes, values, count in (
        run_litert(file, arrays, custom=True),
        run_graph(read(file, tmp_path), arrays),
        _again(file, arrays, tmp_path),
    ):
        each = 1 if options.get("use_regular_nms") else options["max_classes_per_detection"]
        assert boxes.shape == (1, options["max_detections"] * options["max_classes_per_detection"], 4)
        assert count.tolist() == [len(statement) / each]
        for row, (box, label, score) in enumerate(statement):
            np.testing.assert_allclose(boxes[0, row], box, atol=1e-5)
            assert classes[0, row] == label
            assert values[0, row] == pytest.approx(score, abs=1e-6)


def _again(file, arrays, folder):
    """LiteRT on the file that is written of a file.

    It is not proven: LiteRT leaves what is behind the detections as it finds it, and drops some of those of regular
    suppression where it has two threads.
    """
    source, written = folder / "source.tflite", folder / "written.tflite"
    source.write_bytes(file)
    narrowcast.save(narrowcast.load(source, keep_custom=True), written, verify=False)
    assert runtimes.open(written, "litert").operators()[0]["TFLite_Detection_PostProcess"] == 1
    return run_litert(written.read_bytes(), arrays, custom=True)


FLEX = [
    Single("FlexAddV2", [real(2, 3), real(3)], reference=np.add),
    Single("FlexSub", [real(2, 3), real(3)], reference=np.subtract),
    Single("FlexMul", [real(2, 3), real(3)], reference=np.multiply),
    Single("FlexRealDiv", [real(9), real(9, low=1)], reference=np.divide),
    Single("FlexMaximum", [real(9), real(9)], reference=np.maximum),
    Single("FlexMinimum", [real(9), real(9)], reference=np.minimum),
    Single("FlexPow", [real(9, low=0.5), real(9)], reference=np.power),
    Single("FlexErf", [real(9)], reference=np.vectorize(math.erf, otypes=[np.float32])),
    Single("Erf", [real(9)], reference=np.vectorize(math.erf, otypes=[np.float32])),
    Single("FlexErfc", [real(9)], reference=np.vectorize(math.erfc, otypes=[np.float32])),
    Single("FlexSoftplus", [real(9)], reference=lambda x: np.log1p(np.exp(x))),
    Single("FlexSoftsign", [real(9)], reference=lambda x: x / (1 + np.abs(x))),
    Single(
        "FlexSelu",
        [real(9)],
        reference=lambda x: (
            np.float32(1.0507009873554805) * np.where(x > 0, x, np.float32(1.6732632423543772) * np.expm1(x))
        ),
    ),
    Single("FlexInv", [real(9, low=1)], reference=np.reciprocal),
    Single("FlexReciprocal", [real(9, low=1)], reference=np.reciprocal),
    Single("FlexRint", [real(9)], reference=np.rint),
    *(
        Single(f"Flex{name.title()}", [real(9, low=-0.9, high=0.9)], reference=getattr(np, numpy))
        for name, numpy in (
            ("tan", "tan"),
            ("asin", "arcsin"),
            ("acos", "arccos"),
            ("atan", "arctan"),
            ("sinh", "sinh"),
            ("cosh", "cosh"),
            ("asinh", "arcsinh"),
            ("atanh", "arctanh"),
            ("expm1", "expm1"),
        )
    ),
    Single("FlexLog1p", [real(9, low=0)], reference=np.log1p),
    Single("FlexAcosh", [real(9, low=1)], reference=np.arccosh),
    Single("FlexInvert", [whole(9)], ["int32"], reference=np.invert),
    Single("FlexBitwiseAnd", [whole(9), whole(9)], ["int32"], reference=np.bitwise_and),
    Single("FlexBitwiseOr", [whole(9), whole(9)], ["int32"], reference=np.bitwise_or),
    Single("FlexBitwiseXor", [whole(9), whole(9)], ["int32"], reference=np.bitwise_xor),
    Single("FlexIsNan", [np.float32([1, np.nan, np.inf])], ["bool"], reference=np.isnan),
    Single("FlexIsInf", [np.float32([1, np.nan, np.inf])], ["bool"], reference=np.isinf),
    Single("FlexIsFinite", [np.float32([1, np.nan, -np.inf])], ["bool"], reference=np.isfinite),
    Single("FlexLogicalXor", [truth(9), truth(9)], ["bool"], reference=np.logical_xor),
    Single(
        "FlexXlogy",
        [np.float32([0, 1, 2]), np.float32([0, 2, 3])],
        reference=lambda x, y: np.where(x == 0, 0, x * np.log(np.maximum(y, 1e-9))).astype(np.float32),
    ),
    Single(
        "FlexXdivy",
        [np.float32([0, 1, 2]), np.float32([0, 2, 3])],
        reference=lambda x, y: np.where(x == 0, 0, x / np.maximum(y, 1e-9)).astype(np.float32),
    ),
]


@pytest.mark.parametrize("case", FLEX, ids=str)
def test_tensorflow_operator(case, tmp_path):
    arrays = feeds(case)
    compare(case, [case.reference(*arrays)], run_graph(read(build(case), tmp_path), arrays))


def test_every_custom_operator_has_a_case():
    from narrowcast.readers.tflite.registry import CUSTOM

    tested = {case.name.removeprefix("Flex") for case in FLEX} | {case.name for case, _ in CASES}
    assert {name.removeprefix("Flex") for name in CUSTOM} == tested | {"TFLite_Detection_PostProcess"}


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("MaxPoolingWithArgmax2D", b"", ModelFileError),
        ("MaxPoolingWithArgmax2D", pool_options(7, (2, 2), (2, 2)), ModelFileError),
        ("MaxPoolingWithArgmax2D", pool_options(SAME, (0, 2), (2, 2)), ModelFileError),
        ("MaxUnpooling2D", struct.pack("<8i", 1, 2, 2, 2, 2, 1, -1, -1), UnsupportedOpError),
        ("TFLite_Detection_PostProcess", b"\0" * 40, ModelFileError),
        ("TFLite_Detection_PostProcess", bytes(flexbuffers.Dumps({**OPTIONS, "y_scale": 0.0})), ModelFileError),
        ("TFLite_Detection_PostProcess", bytes(flexbuffers.Dumps({**OPTIONS, "num_classes": 9})), ModelFileError),
        ("edgetpu-custom-op", b"", UnsupportedOpError),
        ("FlexUnheardOf", b"", UnsupportedOpError),
    ],
)
def test_what_is_wrong_is_named(name, content, error, tmp_path):
    inputs = {"Max": [real(1, 4, 4, 2), real(1, 4, 4, 2)]}.get(name[:3], [real(1, 9, 4), real(1, 9, 5), real(9, 4)])
    outputs = {"MaxP": 2, "MaxU": 1}.get(name[:4], 4)
    case = Single(name, inputs[: 1 if name.startswith("MaxPool") else None], [F32] * outputs, options=content)
    with pytest.raises(error, match=f"(?s){name}"):
        read(build(case), tmp_path)
