"""RoiAlign and DeformConv, with their edges, against ONNX's reference."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.decompose.against import check, model

RANDOM = np.random.default_rng(0)


def array(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (RANDOM.normal(size=shape) * scale).astype(np.float32)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("constant", [True, False])
def test_roi_align(mode, coordinates, constant, tmp_path):
    """Regions of two images, of which one reaches far outside and one is empty."""
    x = array(2, 3, 6, 8)
    regions = np.array([[1, 1, 9, 7], [-9, -8, 30, 22], [4, 4, 4, 4], [2.5, 0.25, 11, 5]], np.float32)
    images = {"images": np.array([0, 1, 1, 0], np.int64)}
    attributes = {"output_height": 3, "output_width": 2, "sampling_ratio": 2, "spatial_scale": 0.5, "mode": mode}
    feeds = {"x": x, "regions": regions} | ({} if constant else images)
    proto = model(
        "RoiAlign", feeds, images if constant else {}, coordinate_transformation_mode=coordinates, **attributes
    )
    check(proto, feeds, tmp_path)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 1], "pads": [1, 0, 2, 1]},
        {"dilations": [1, 2], "pads": [1, 1, 1, 1]},
        {"group": 2, "offset_group": 1},
        {"group": 1, "offset_group": 2, "pads": [1, 1, 1, 1]},
        {"group": 2, "offset_group": 4},
    ],
    ids=str,
)
def test_deformable(attributes, tmp_path):
    x, kernel = array(2, 4, 5, 6), (3, 2)
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    pads = attributes.get("pads", [0, 0, 0, 0])
    out = [
        (size + pads[i] + pads[2 + i] - (k - 1) * d - 1) // s + 1
        for i, (size, k, d, s) in enumerate(zip(x.shape[2:], kernel, dilations, strides, strict=True))
    ]
    taps = attributes.get("offset_group", 1) * 6
    feeds = {"x": x}
    rest = {
        "weights": array(6, 4 // attributes.get("group", 1), *kernel),
        "offset": array(2, taps * 2, *out, scale=1.5),
        "bias": array(6),
        "mask": np.abs(array(2, taps, *out)),
    }
    feeds |= {name: rest[name] for name in ("weights", "offset", "bias", "mask")}
    check(model("DeformConv", feeds, kernel_shape=list(kernel), **attributes), feeds, tmp_path)
