"""ONNX's own node tests, all of them: most come out right, none comes out wrong, none takes the process down."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.onnx_suite.collect import collect
from tests.onnx_suite.outcome import outcomes

RIGHT = 1080
"""Of the 1,191 of onnx 1.23.2, of which ONNX Runtime 1.31.1 itself passes 986."""


@pytest.mark.timeout(600)
def test_right_or_refused(tmp_path):
    names = collect(tmp_path)
    found = {name: (status, reason) for name, status, reason in outcomes(tmp_path, names)}
    assert set(found) == set(names)
    strange = {name: outcome for name, outcome in found.items() if outcome[0] not in ("right", "refused")}
    assert not strange
    counts = Counter(status for status, _ in found.values())
    assert counts["right"] >= RIGHT, counts
