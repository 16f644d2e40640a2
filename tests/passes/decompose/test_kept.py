"""Custom operators of .tflite files, which only they keep; tests/readers/tflite/test_custom.py has their numbers."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "a pool and where its maxima were",
        """(float[1,4,4,2] x) => (float[1,2,2,2] y, float[1,2,2,2] p) {
            y, p = narrowcast.MaxPoolWithArgmax<kernel_shape=[2,2], strides=[2,2], padding="VALID">(x) }""",
        "Transpose MaxPool Transpose Slice Equal Where Slice Equal Where Slice Equal Where",
    ),
    Case(
        "a pool alone",
        """(float[1,5,5,2] x) => (float[1,3,3,2] y) {
            y, p = narrowcast.MaxPoolWithArgmax<kernel_shape=[2,2], strides=[2,2], padding="SAME">(x) }""",
        "Transpose MaxPool(pads=[0,0,1,1]) Transpose",
    ),
    Case(
        "numbers at their places",
        """(float[1,2,2,3] x, float[1,2,2,3] p) => (float[1,4,6,3] y) {
            y = narrowcast.MaxUnpool<kernel_shape=[2,3], strides=[2,3], padding="SAME">(x, p) }""",
        "Reshape Cast Equal Reshape Where Reshape",
        span=(0.0, 5.0),
    ),
    Case(
        "a transposed convolution",
        """(float[1,4,4,2] x) => (float[1,8,8,3] y) <float[2,3,3,3] w, float[3] b> {
            y = narrowcast.ConvTransposeBias<strides=[2,2], padding="SAME">(x, w, b) }""",
        "Transpose ConvTranspose(pads=[0,0,1,1]) Transpose",
    ),
    Case(
        "detections by their best class",
        """(float[1,9,4] c, float[1,9,3] s) => (float[1,4,4] b, float[1,4] l, float[1,4] v, float[1] n) <float[9,4] a> {
            b, l, v, n = narrowcast.DetectionPostProcess<max_detections=4, max_classes_per_detection=1,
                detections_per_class=9, use_regular_nms=0, nms_score_threshold=0.1, nms_iou_threshold=0.5,
                num_classes=2, y_scale=10.0, x_scale=10.0, h_scale=5.0, w_scale=5.0>(c, s, a) }""",
        "...",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
