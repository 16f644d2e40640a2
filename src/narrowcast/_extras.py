"""Optional and heavy imports: loaded on first use, with the line that installs what is missing."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from narrowcast.errors import MissingExtraError

__all__ = ["defer_sympy", "require"]


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Imports `module`, or raises `MissingExtraError` with the install line of `extra`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise MissingExtraError(
            f"{purpose} needs the package {name}, which is not installed",
            hint=f"pip install 'narrowcast[{extra}]'",
        ) from error


class _DeferredModule(ModuleType):
    """Stands for a module until an attribute is really used.

    While `armed`, attributes are handed out as callables that import the module when called; after that the
    real attributes are returned.
    """

    armed = True

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        name = self.__name__

        def resolve() -> Any:
            return getattr(importlib.import_module(name), attribute)

        if not self.armed:
            return resolve()
        return lambda *args, **kwargs: resolve()(*args, **kwargs)


def defer_sympy() -> None:
    """Imports onnx_ir without sympy, which it needs only for arithmetic on symbolic dimensions.

    sympy is two thirds of onnx_ir's import time (0.35 of 0.5 s). It is imported as usual as soon as
    onnx_ir, or anybody else, really uses it.
    """
    if "sympy" in sys.modules or "onnx_ir" in sys.modules:
        return
    deferred = _DeferredModule("sympy")
    sys.modules["sympy"] = deferred
    try:
        import onnx_ir  # noqa: F401
    finally:
        deferred.armed = False
        if sys.modules.get("sympy") is deferred:
            del sys.modules["sympy"]
