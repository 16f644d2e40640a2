"""Options of custom operators that .tflite files hold, as attributes of the dialect's operators, and back.

MediaPipe's are structs of tflite/core/c/builtin_op_data.h (TfLitePoolParams, TfLiteTransposeConvParams), as
mediapipe/util/tflite/operations reads them; those of TFLite_Detection_PostProcess are a flexbuffer
(tflite/kernels/detection_postprocess.cc).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.schemas.flexbuffer import parse_map

__all__ = ["KEPT", "Kept"]

Attributes: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True)
class Kept:
    """A custom operator.

    Attributes:
        name: its own name in a file.
        decode: attributes of bytes; raises ModelFileError where these are none.
        encode: and back.
    """

    name: str
    decode: Callable[[bytes], Attributes]
    encode: Callable[[Mapping[str, Any]], bytes]


_PADDING = {1: "SAME", 2: "VALID"}
_POOL = struct.Struct("<6i")
_REST_OF_POOL = struct.pack("<2i", -1, -1)
"""Amounts of padding, which the kernel works out."""
_TRANSPOSED = struct.Struct("<3i")


def _numbers(layout: struct.Struct, content: bytes) -> tuple[int, ...]:
    if len(content) < layout.size:
        raise ModelFileError(f"its options take {layout.size} bytes, and there are {len(content)}")
    found: tuple[int, ...] = layout.unpack_from(content)
    if found[0] not in _PADDING or any(not 1 <= number < 1 << 16 for number in found[1:5]):
        raise ModelFileError(f"its options are {list(found)}")
    return found


def _pool(content: bytes) -> Attributes:
    padding, width, height, kernel_width, kernel_height, activation = _numbers(_POOL, content)
    if activation:
        raise UnsupportedOpError("it has an activation, which no converter gives it")
    kernel, strides = [kernel_height, kernel_width], [height, width]
    return {"kernel_shape": kernel, "strides": strides, "padding": _PADDING[padding]}


def _pool_bytes(attributes: Mapping[str, Any]) -> bytes:
    padding = 1 if attributes["padding"] == "SAME" else 2
    numbers = (*reversed(attributes["strides"]), *reversed(attributes["kernel_shape"]))
    return _POOL.pack(padding, *numbers, 0) + _REST_OF_POOL


def _transposed(content: bytes) -> Attributes:
    padding, width, height = _numbers(_TRANSPOSED, content)
    return {"strides": [height, width], "padding": _PADDING[padding]}


def _transposed_bytes(attributes: Mapping[str, Any]) -> bytes:
    return _TRANSPOSED.pack(1 if attributes["padding"] == "SAME" else 2, *reversed(attributes["strides"]))


_DETECTION: dict[str, tuple[type, Any]] = {
    "max_detections": (int, None),
    "max_classes_per_detection": (int, None),
    "detections_per_class": (int, 100),
    "use_regular_nms": (int, 0),
    "nms_score_threshold": (float, None),
    "nms_iou_threshold": (float, None),
    "num_classes": (int, None),
    "y_scale": (float, None),
    "x_scale": (float, None),
    "h_scale": (float, None),
    "w_scale": (float, None),
}
"""Their types, and what stands for one that is left out; None where it must be there."""


def _detection(content: bytes) -> Attributes:
    given, found = parse_map(content), {}
    for name, (kind, standard) in _DETECTION.items():
        value = given.get(name, standard)
        if value is None or isinstance(value, str):
            raise ModelFileError(f"its options have no number {name!r}")
        found[name] = kind(value)
    sizes = [found[name] for name in ("max_detections", "max_classes_per_detection", "num_classes")]
    if any(not 1 <= size < 1 << 20 for size in sizes) or not 0 < found["nms_iou_threshold"] <= 1:
        raise ModelFileError(f"its options are {found}")
    if any(not found[f"{axis}_scale"] for axis in "yxhw"):
        raise ModelFileError("a scale of its boxes is 0")
    return found


def _detection_bytes(attributes: Mapping[str, Any]) -> bytes:
    from flatbuffers import flexbuffers

    values = {name: kind(attributes[name]) for name, (kind, _) in _DETECTION.items()}
    return bytes(flexbuffers.Dumps({**values, "use_regular_nms": bool(values["use_regular_nms"])}))


KEPT: Mapping[str, Kept] = {
    "MaxPoolWithArgmax": Kept("MaxPoolingWithArgmax2D", _pool, _pool_bytes),
    "MaxUnpool": Kept("MaxUnpooling2D", _pool, _pool_bytes),
    "ConvTransposeBias": Kept("Convolution2DTransposeBias", _transposed, _transposed_bytes),
    "DetectionPostProcess": Kept("TFLite_Detection_PostProcess", _detection, _detection_bytes),
}
"""By the name of the dialect's operator, of domain `narrowcast`."""
