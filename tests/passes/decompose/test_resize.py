"""Resizes against ONNX's reference: modes, coordinates, roundings, anti-aliasing, regions, axes, aspect ratios."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import narrowcast
from narrowcast import runtimes
from tests.passes.decompose.against import converted

TRANSFORMS = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
X = np.random.default_rng(0).normal(size=(1, 2, 5, 7)).astype(np.float32)


def model(shape=X.shape, *, scales=None, sizes=None, roi=None, **attributes):
    arguments = {"roi": roi, "scales": scales, "sizes": sizes}
    weights = [
        numpy_helper.from_array(np.array(value, np.int64 if name == "sizes" else np.float32), name)
        for name, value in arguments.items()
        if value is not None
    ]
    names = ["x", *(name if arguments[name] is not None else "" for name in arguments)]
    graph = helper.make_graph(
        [helper.make_node("Resize", names, ["y"], **attributes)],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def reference(proto, x):
    """ONNX's own; ONNX Runtime where that goes by the specification and the reference does not.

    By scales that give no whole sizes, the reference takes the wrong neighbour of symmetric half pixels where it
    rounds, and aligns corners with a size before rounding.
    """
    scales = [numpy_helper.to_array(weight) for weight in proto.graph.initializer if weight.name == "scales"]
    special = any(name in str(proto.graph.node[0]) for name in ("half_pixel_symmetric", "align_corners"))
    if special and scales and (scales[0] % 1).any():
        (expected,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    else:
        (expected,) = ReferenceEvaluator(proto).run(None, {"x": x})
    return expected


def check(proto, tmp_path, x=X):
    onnx.save(proto, tmp_path / "m.onnx")
    written = narrowcast.save(
        narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite", io_layout="source", verify=False
    )
    (found,) = runtimes.open(written.path, "litert").run({"x": x}).values()
    expected = reference(proto, x)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("antialias", [0, 1])
@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 0.6, 0.5), (1, 1, 1.7, 0.8), (1, 2, 1, 3)])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_interpolation(mode, transform, scales, antialias, tmp_path):
    check(model(scales=scales, mode=mode, coordinate_transformation_mode=transform, antialias=antialias), tmp_path)


def test_one_pixel_of_pytorch(tmp_path):
    """The specification and ONNX Runtime take the first, ONNX's reference what lies half a pixel before it."""
    proto = model(sizes=(1, 2, 1, 14), mode="cubic", coordinate_transformation_mode="pytorch_half_pixel")
    onnx.save(proto, tmp_path / "m.onnx")
    file = narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")
    assert file.parity.sqnr_db > 100


@pytest.mark.parametrize("sizes", [(1, 2, 10, 14), (1, 2, 3, 4), (1, 2, 7, 3)])
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_nearest(transform, rounding, sizes, tmp_path):
    check(model(sizes=sizes, coordinate_transformation_mode=transform, nearest_mode=rounding), tmp_path)


@pytest.mark.parametrize("outside", [0, 1])
def test_cubic_coefficient_and_outside(outside, tmp_path):
    check(model(scales=(1, 1, 1.5, 0.7), mode="cubic", cubic_coeff_a=-0.5, exclude_outside=outside), tmp_path)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_regions_reach_over_the_edge(mode, tmp_path):
    region = (0, 0, 0.2, -0.25, 1, 1, 0.9, 1.25)
    options = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 10.0}
    check(model(roi=region, sizes=(1, 2, 4, 6), mode=mode, **options), tmp_path)


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_axes_and_policies(policy, tmp_path):
    check(model(sizes=(12, 9), axes=[3, 2], mode="linear", keep_aspect_ratio_policy=policy), tmp_path)


@pytest.mark.parametrize("shape", [(1, 2, 9), (1, 2, 3, 4, 5), (6,)])
def test_other_ranks(shape, tmp_path):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    scales = (*(1,) * (len(shape) - 1), 2.5)
    check(model(shape, scales=scales, mode="linear"), tmp_path, x)


@pytest.mark.parametrize(("size", "scale"), [(8, 0.6), (12, 0.7), (7, 1.7), (7, 3.3), (5, 1.4), (10, 0.7)])
@pytest.mark.parametrize("transform", ["asymmetric", "half_pixel"])
def test_nearest_positions_are_computed_in_float32(transform, size, scale, tmp_path):
    """3 / 0.6 is 5 in float32 and less in float64, 5 * 1.4 is 7; so are sizes."""
    x = np.arange(size, dtype=np.float32).reshape(1, 1, 1, size)
    options = {"coordinate_transformation_mode": transform, "nearest_mode": "floor"}
    proto = model(x.shape, scales=(1, 1, 1, scale), **options)
    onnx.save(proto, tmp_path / "m.onnx")
    file = narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")
    assert file.parity.sqnr_db == np.inf


COMPUTED = [
    *({"mode": "linear", "coordinate_transformation_mode": transform} for transform in TRANSFORMS),
    {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5},
    *({"mode": mode, "antialias": 1} for mode in ("linear", "cubic")),
    *({"nearest_mode": name} for name in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")),
]


@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 0.6, 0.5), (1, 1, 1.7, 0.8)])
@pytest.mark.parametrize("attributes", COMPUTED, ids=str)
def test_computed_scales(attributes, scales, tmp_path):
    """The same as with constant ones, on the runtime itself; of aligned corners whole sizes alone."""
    if attributes.get("coordinate_transformation_mode") == "align_corners" and scales[2] != 2:
        pytest.skip("ONNX and its runtime differ")
    check_computed(model(scales=scales, **attributes), {"scales": np.array(scales, np.float32)}, tmp_path)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("axes", [None, [3, 2]])
def test_computed_regions(axes, mode, tmp_path):
    region = (0.2, -0.25, 0.9, 1.25) if axes else (0, 0, 0.2, -0.25, 1, 1, 0.9, 1.25)
    options = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 10.0, "mode": mode}
    options |= {"axes": axes} if axes else {}
    proto = model(roi=region, sizes=(6, 1) if axes else (1, 2, 4, 6), **options)
    check_computed(proto, {"roi": np.array(region, np.float32)}, tmp_path)


def check_computed(proto, feeds, tmp_path):
    """Fed with what was constant, the output's shape declared."""
    runtime = onnxruntime.InferenceSession(proto.SerializeToString())
    (expected,) = runtime.run(None, {"x": X})
    kept = [weight for weight in proto.graph.initializer if weight.name not in feeds]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    for name, array in feeds.items():
        proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, expected.shape))
    found = converted(proto, {"x": X, **feeds}, tmp_path)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
