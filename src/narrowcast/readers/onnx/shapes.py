"""Pins what a file leaves open: symbolic dimensions of inputs get their sizes from the user, or from the batch."""

from __future__ import annotations

from collections.abc import Mapping

from narrowcast.errors import ModelFileError, UnsupportedError, UsageError
from narrowcast.model import ir
from narrowcast.readers.formats import ReadOptions
from narrowcast.readers.open_shapes import BATCH, OPEN, check_inputs, fill, left_open, shape_text
from narrowcast.schemas.onnx_file import HIGHEST_RANK, LARGEST_SIZE

__all__ = ["pin"]

Dims = list[int | str | None]


def pin(graph: ir.Graph, options: ReadOptions) -> None:
    """Gives every input a static shape (but for a dynamic batch), and forgets the shapes of computed values.

    A symbol has one size wherever it stands: what a given shape says of it holds for the other inputs too. An open
    first dimension of which nothing is said is the batch.

    Raises:
        UsageError: `options` contradict the file, or leave a dimension open.
        ModelFileError: an input has no type.
        UnsupportedError: an input is no tensor.
    """
    inputs = {value.name or "": value for value in graph.inputs}
    for name in options.input_shapes:
        if name not in inputs:
            raise UsageError(f"no input {name!r}", hint=f"the inputs are {', '.join(inputs)}")
    declared = {name: _declared(value) for name, value in inputs.items()}
    symbols: dict[str, int | str] = {}
    for name, given in options.input_shapes.items():
        declared[name] = _unify(name, declared[name], given, symbols)
    batch = BATCH if options.batch == "dynamic" else options.batch
    for dims in declared.values():
        if dims and isinstance(dims[0], str):
            symbols.setdefault(dims[0], batch)
    shapes = {name: _resolve(dims, symbols, batch) for name, dims in declared.items()}
    _check_batch(declared, options)
    filled, sizes = left_open(shapes) if options.leave_open else fill(shapes, options.sizes)
    symbols.update(sizes)
    check_inputs(filled)
    for name, value in inputs.items():
        value.shape = ir.Shape(filled[name] or ())
    _forget(graph, symbols)


def _declared(value: ir.Value) -> Dims | None:
    """The dimensions as the file has them: a size, a symbol, or None; a negative size is an open one."""
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        raise UnsupportedError(f"input {value.name!r} is no tensor but {value.type}")
    if value.dtype is None or value.dtype is ir.DataType.UNDEFINED:
        raise ModelFileError(f"input {value.name!r} has no type")
    if value.dtype.name.startswith("COMPLEX"):
        raise UnsupportedError(f"input {value.name!r} is complex", hint="split it into its real and imaginary parts")
    if value.shape is None:
        return None
    if len(value.shape) > HIGHEST_RANK or any(isinstance(dim, int) and dim > LARGEST_SIZE for dim in value.shape):
        raise ModelFileError(f"input {value.name!r} has an impossible shape: {list(value.shape)}")
    return [dim.value or None if isinstance(dim, ir.SymbolicDim) else dim if dim >= 0 else None for dim in value.shape]


def _unify(name: str, dims: Dims | None, given: tuple[int | None, ...], symbols: dict[str, int | str]) -> Dims:
    """The given shape, after a comparison with the declared one; binds its symbols, to names where they stay open."""
    if any(size is not None and size < 1 for size in given):
        raise UsageError(f"input {name!r} cannot have the shape {shape_text(given)}")
    if dims is None:
        return [f"{OPEN}{name}.{axis}" if size is None else size for axis, size in enumerate(given)]
    if len(given) != len(dims):
        raise UsageError(f"input {name!r} has {len(dims)} dimensions ({shape_text(dims)}), not {len(given)}")
    found: Dims = []
    for axis, (dim, asked) in enumerate(zip(dims, given, strict=True)):
        size = f"{OPEN}{dim if isinstance(dim, str) else f'{name}.{axis}'}" if asked is None else asked
        found.append(size)
        known = symbols.setdefault(dim, size) if isinstance(dim, str) else dim
        if known is not None and known != size:
            raise UsageError(
                f"input {name!r} is {shape_text(dims)} and cannot be {shape_text(given)}: {dim} is {known}"
            )
    return found


def _resolve(dims: Dims | None, symbols: Mapping[str, int | str], batch: int | str) -> Dims | None:
    if dims is None:
        return None
    first: Dims = [batch if dims[0] is None else dims[0]] if dims else []
    return [symbols.get(dim, dim) if isinstance(dim, str) else dim for dim in first + dims[1:]]


def _check_batch(declared: Mapping[str, Dims | None], options: ReadOptions) -> None:
    """A batch that was asked for must be possible."""
    first = [dims[0] for dims in declared.values() if dims]
    if options.batch == 1 or not first or any(not isinstance(dim, int) for dim in first) or options.batch in first:
        return
    raise UsageError(f"the batch is fixed to {first[0]} in this file and cannot be {options.batch}")


def _forget(graph: ir.Graph, symbols: Mapping[str, int | str]) -> None:
    """Shapes that the exporter recorded were of the open graph, and are inferred anew.

    Those of foreign operators and of outputs stay where the symbols' sizes make them static: inference may not find
    them.
    """
    for value in graph.outputs:
        if value.shape is not None:
            value.shape = ir.Shape(
                [symbols.get(dim.value or "", dim) if isinstance(dim, ir.SymbolicDim) else dim for dim in value.shape]
            )
    for node in graph.all_nodes():
        foreign = node.domain not in ("", "ai.onnx")
        for output in node.outputs:
            if output.shape is None or not ((foreign or output.is_graph_output()) and _is_plain(output.shape)):
                output.shape = None


def _is_plain(shape: ir.Shape) -> bool:
    return all(isinstance(dim, int) and dim >= 0 for dim in shape)
