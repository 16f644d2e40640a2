"""LiteRT: runs .tflite files, and says what its default delegate (XNNPACK) takes of them."""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from narrowcast._archives import is_within
from narrowcast._files import map_file
from narrowcast.errors import DataError, ModelFileError, UsageError
from narrowcast.model import Array, Feed, TensorSpec

__all__ = ["LiteRT", "open", "open_layers"]

LONGEST = 240
"""Letters of LiteRT's reasons that are told; it names every tensor."""

HINTS: Mapping[str, str] = {
    "edgetpu-custom-op": "it is machine code for an Edge TPU: give the .tflite file that was compiled",
    "quantized_dimension must be in range": "convert writes what LiteRT takes: narrowcast convert SRC -o DST.tflite",
}
"""What to do about a refusal, by words in it."""

_MEMORY_ONLY = frozenset({"DELEGATE"})


@contextmanager
def _quiet() -> Iterator[None]:
    """LiteRT writes warnings to the process's standard error from C++; they are not for our users."""
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(null)
        os.close(saved)


class LiteRT:
    """A .tflite file in LiteRT's interpreter, which several threads use one after the other; see `Layered`.

    Args:
        path: the file.
        threads: how many.
        signature: the key of the graph to run, in a file of several; empty for the first.
        own_kernels: whether to do without the default delegate.
        keep: whether every tensor outlives the run, so that `tensor` gives it.
    """

    def __init__(
        self, path: Path, threads: int = 1, signature: str = "", *, own_kernels: bool = False, keep: bool = False
    ) -> None:
        self._path, self._lock = path, Lock()
        self._signature: Any = None
        with _quiet():
            from ai_edge_litert.interpreter import Interpreter, OpResolverType

            kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if own_kernels else OpResolverType.AUTO

            with self._refusals(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._interpreter: Any = Interpreter(
                    **_content(path),
                    num_threads=threads,
                    experimental_op_resolver_type=kernels,
                    experimental_preserve_all_tensors=keep,
                )
                self._interpreter.allocate_tensors()
        self.name = f"LiteRT {version('ai-edge-litert')}" + (", own kernels" if own_kernels else "")
        if signature:
            if signature not in self._interpreter.get_signature_list():
                raise UsageError(f"no signature {signature!r}", where=str(path), hint="inspect lists them")
            with _quiet(), self._refusals():
                self._signature = self._interpreter.get_signature_runner(signature)
        inputs, outputs = self._ports()
        self._inputs: dict[str, Any] = inputs
        self._outputs: dict[str, Any] = outputs
        self.inputs = tuple(_spec(name, detail) for name, detail in inputs.items())
        self.outputs = tuple(_spec(name, detail) for name, detail in outputs.items())

    def _ports(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Tensors by signature name, or by their own where the file has no signature."""
        if self._signature is not None:
            return self._signature.get_input_details(), self._signature.get_output_details()
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        signatures = self._interpreter.get_signature_list()
        if signatures:
            runner = self._interpreter.get_signature_runner(next(iter(signatures)))
            named_in, named_out = runner.get_input_details(), runner.get_output_details()
            by_index = {detail["index"]: name for name, detail in named_in.items()}
            ordered = {by_index[detail["index"]]: detail for detail in inputs if detail["index"] in by_index}
            if len(ordered) == len(inputs):
                return ordered, dict(named_out)
        return {detail["name"]: detail for detail in inputs}, {detail["name"]: detail for detail in outputs}

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `Runner`; variables that last from one inference to the next begin anew.

        Raises:
            DataError: the feed does not fit the inputs.
            ModelFileError: a kernel refuses what it is given, as some do only now.
        """
        if self._signature is not None:
            self._interpreter.reset_all_variables()
            return self._called(feed)
        with self._lock:
            self._feed(feed)
            self._interpreter.reset_all_variables()
            self._invoke()
            return {name: self._array(detail) for name, detail in self._outputs.items()}

    def _called(self, feed: Feed) -> dict[str, Array]:
        """Runs a graph by its signature."""
        arrays = self._arguments(feed)
        with self._refusals():
            found: dict[str, Array] = self._signature(**arrays)
        return found

    def _arguments(self, feed: Feed) -> dict[str, Array]:
        """What a signature is called with."""
        if missing := [name for name in self._inputs if name not in feed]:
            raise DataError(f"no data for the input {missing[0]!r}", hint=f"the data has {', '.join(map(repr, feed))}")
        return {name: np.asarray(feed[name], detail["dtype"]) for name, detail in self._inputs.items()}

    def _array(self, detail: dict[str, Any]) -> Array:
        """What an output holds; LiteRT does not hand out one that became empty behind a larger one."""
        with self._refusals():
            try:
                found: Array = self._interpreter.get_tensor(detail["index"])
            except ValueError:
                shapes = {now["index"]: now["shape"] for now in self._interpreter.get_output_details()}
                if 0 not in shapes[detail["index"]]:
                    raise
                return np.zeros(shapes[detail["index"]], detail["dtype"])
            return found

    def tensor(self, index: int) -> Array:
        """See `Layered`."""
        with self._refusals():
            graph = 0 if self._signature is None else self._signature._subgraph_index
            array: Array = self._interpreter.get_tensor(index, graph)
        return array

    def _feed(self, feed: Feed) -> None:
        resized = False
        for name, detail in self._inputs.items():
            if name not in feed:
                raise DataError(f"no data for the input {name!r}", hint=f"the data has {', '.join(map(repr, feed))}")
            array = np.asarray(feed[name])
            if tuple(array.shape) != tuple(detail["shape"]):
                open_ = [
                    want == -1 or want == have
                    for want, have in zip(detail["shape_signature"], array.shape, strict=False)
                ]
                if array.ndim != len(detail["shape"]) or not all(open_):
                    want = "x".join(str(dim) for dim in detail["shape_signature"])
                    raise DataError(
                        f"the input {name!r} wants shape {want}, the data has {'x'.join(map(str, array.shape))}"
                    )
                self._interpreter.resize_tensor_input(detail["index"], array.shape)
                detail["shape"] = np.array(array.shape)
                resized = True
        if resized:
            with _quiet(), self._refusals():
                self._interpreter.allocate_tensors()
        for name, detail in self._inputs.items():
            array = np.ascontiguousarray(np.asarray(feed[name]), detail["dtype"]).reshape(np.asarray(feed[name]).shape)
            self._interpreter.set_tensor(detail["index"], array)

    def stopwatch(self, feed: Feed) -> Callable[[], None]:
        """See `Runner`. A graph that is called by its signature is timed with the copies of inputs and outputs."""
        if self._signature is not None:
            self._called(feed)
            call, arrays = self._signature, self._arguments(feed)

            def invoke_signature() -> None:
                call(**arrays)

            return invoke_signature
        self._feed(feed)
        self._invoke()
        invoke: Callable[[], None] = self._interpreter.invoke
        return invoke

    def _invoke(self) -> None:
        with self._refusals():
            self._interpreter.invoke()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What LiteRT raises is the file's fault."""
        try:
            yield
        except (RuntimeError, ValueError) as error:
            said = _first_line(error)
            hint = next((hint for words, hint in HINTS.items() if words in said), "")
            what = said if len(said) <= LONGEST else f"{said[:LONGEST]}…"
            raise ModelFileError(f"LiteRT refuses the file: {what}", where=str(self._path), hint=hint) from error

    def operators(self) -> tuple[Counter[str], int | None]:
        """The operators by name, and how many the delegate leaves to LiteRT's own kernels (None if it does not say).

        A delegated part of the graph shows as a node DELEGATE behind the operators that it replaces.
        """
        listing = getattr(self._interpreter, "_get_ops_details", None)
        if listing is None:
            return Counter(), None
        rows = listing()
        names = Counter(row["op_name"] for row in rows if row["op_name"] not in _MEMORY_ONLY)
        delegated = [row for row in rows if row["op_name"] == "DELEGATE"]
        return names, self._undelegated(rows, delegated)

    def _undelegated(self, rows: list[Any], delegated: list[Any]) -> int | None:
        """Operators reachable backwards from the outputs without crossing a delegate's inside."""
        producers: dict[int, list[Any]] = {}
        for row in rows:
            for index in row["outputs"]:
                producers.setdefault(int(index), []).append(row)
        pending = [detail["index"] for detail in self._interpreter.get_output_details()]
        seen: set[int] = set()
        left = 0
        done: set[int] = set()
        while pending:
            index = int(pending.pop())
            if index in seen:
                continue
            seen.add(index)
            makers = producers.get(index, [])
            maker = next((row for row in makers if row["op_name"] == "DELEGATE"), makers[0] if makers else None)
            if maker is None or maker["index"] in done:
                continue
            done.add(maker["index"])
            left += maker["op_name"] != "DELEGATE"
            pending.extend(int(i) for i in maker["inputs"] if i >= 0)
        return left if delegated or left else None

    def close(self) -> None:
        """See `Runner`."""
        self._interpreter = None


def _content(path: Path) -> dict[str, Any]:
    """What the interpreter is given: a path, which it maps, or the bytes of an entry in an archive."""
    return {"model_content": bytes(map_file(path))} if is_within(path) else {"model_path": str(path)}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["unknown reason"])[0]


def _spec(name: str, detail: Any) -> TensorSpec:
    shape = detail.get("shape_signature", detail["shape"])
    if len(shape) != len(detail["shape"]):
        shape = detail["shape"]
    return TensorSpec(name, tuple(None if dim < 0 else int(dim) for dim in shape), np.dtype(detail["dtype"]))


def open(path: Path, threads: int = 1, signature: str = "") -> LiteRT:
    """Opens a .tflite file, or the graph of one of its signatures."""
    return LiteRT(path, threads, signature)


def open_layers(path: Path, threads: int = 1, signature: str = "", *, own_kernels: bool = True) -> LiteRT:
    """Opens a .tflite file so that all its tensors can be asked for; on LiteRT's own kernels, or with its delegate."""
    return LiteRT(path, threads, signature, own_kernels=own_kernels, keep=True)
