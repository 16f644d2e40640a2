"""Optional and heavy imports: loaded on first use, with the line that installs what is missing."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from narrowcast.errors import MissingExtraError

__all__ = ["defer_sympy", "modules_of", "on_first_use", "require"]


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


def modules_of(package: ModuleType) -> list[ModuleType]:
    """The modules of a package in alphabetical order, imported: so they register what they have."""
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


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


def on_first_use(namespace: dict[str, Any], homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A package's `__getattr__` (PEP 562) that imports the module of a name when the name is first asked for.

    Args:
        namespace: the package's globals, in which a name stands from then on.
        homes: the names that each module has.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def resolve(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
        namespace[name] = getattr(importlib.import_module(home[name]), name)
        return namespace[name]

    return resolve
