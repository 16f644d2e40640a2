"""ONNX Runtime without its optimisations: .onnx files made for other runtimes, whose QDQ its fusions do not expect."""

from __future__ import annotations

from pathlib import Path

from narrowcast.runtimes.onnxruntime import OnnxRuntime

__all__ = ["open"]


def open(path: Path, threads: int = 1) -> OnnxRuntime:
    """Opens an .onnx file."""
    return OnnxRuntime(path, threads, optimize=False)
