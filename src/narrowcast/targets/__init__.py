"""What runs the written files: a page for each, `find` by its name, and the questions that are asked of them."""

from __future__ import annotations

import importlib

from narrowcast.errors import UsageError
from narrowcast.targets.rules import Target

__all__ = ["NAMES", "find"]

NAMES = ("litert", "onnxruntime", "tensorrt")
"""Each is a module of this room, whose row bears its name in capitals."""


def find(name: str, opset: int | None = None) -> Target:
    """The target of a name, as it is at an opset where one is given.

    Raises:
        UsageError: there is none, or it has no such opset.
    """
    if name not in NAMES:
        raise UsageError(f"unknown target {name!r}", hint=f"targets: {', '.join(NAMES)}")
    found = getattr(importlib.import_module(f"{__name__}.{name}"), name.upper())
    assert isinstance(found, Target)
    if opset is None:
        return found
    from narrowcast.targets.onnxruntime import at_opset

    return at_opset(found, opset)
