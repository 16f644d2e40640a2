"""What a room may not know: no pass names a runtime, since what a target lacks stands on its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import narrowcast

ROOT = Path(narrowcast.__file__).parent
RUNTIME = re.compile("litert|tflite|xnnpack", re.IGNORECASE)


@pytest.mark.parametrize("room", ["dialect", "evaluation", "passes", "quantization", "report"])
def test_no_runtime_is_named(room):
    lines = (
        f"{path.relative_to(ROOT)}:{number}: {line}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
    )
    assert [line for line in lines if RUNTIME.search(line)] == []
