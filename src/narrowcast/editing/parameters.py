"""A network's weights as .npy files with an index, and back: what differs becomes edits of the network.

Weights are the constants that a network computes with: floats, and integers that stand for floats or are looked up.
Arguments of operators (shapes, axes, bounds of slices) are none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from narrowcast._files import atomic_path, inside, readable_file
from narrowcast.dialect.build import dims, input_of, tensor_of
from narrowcast.editing.select import nothing, operator_of
from narrowcast.errors import BadInputError, DataError, UsageError
from narrowcast.evaluation.arrays import open_array
from narrowcast.model import OPSET, Array, Model, ir
from narrowcast.readers.check.structure import schema

__all__ = ["INDEX", "Extraction", "Parameter", "changed", "extract", "is_stored", "parameters"]

INDEX = "index.json"
SCHEMA = "narrowcast/parameters/1"
LARGEST_INDEX = 1 << 26
LONGEST_FILE_NAME = 100


@dataclass(frozen=True, slots=True)
class Parameter:
    """One weight.

    Attributes:
        name: of the constant, as the source has it.
        file: in the folder.
        node: the first that reads it, and its `operator`.
        role: what it is to that node: "weight", "bias", "scale", ...
        shape: of the array.
        dtype: numpy's name.
        axes: what each axis counts; empty where that depends on the network.
        scale, zero_point: of integers that stand for floats, the names of these parameters; empty for others.
        axis: of such integers, along which there are several scales; None for one.
    """

    name: str
    file: str
    node: str
    operator: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str, ...] = ()
    scale: str = ""
    zero_point: str = ""
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Extraction:
    """Weights that lie in a folder.

    Attributes:
        path: the folder.
        bytes: of the arrays.
        parameters: one for each file.
    """

    path: Path
    bytes: int
    parameters: tuple[Parameter, ...]


_NORM = {"scale": ("scale", "channel"), "B": ("bias", "channel"), "bias": ("bias", "channel")}
_MOMENTS = {"input_mean": ("mean", "channel"), "input_var": ("variance", "channel")}
_CONV = {"W": ("weight", "out in/group ..."), "B": ("bias", "out")}
_RECURRENT = {
    "W": ("weight", "direction gate*hidden in"),
    "R": ("recurrent weight", "direction gate*hidden hidden"),
    "B": ("bias", "direction gate*hidden(W,R)"),
    "P": ("peephole weight", "direction gate*hidden"),
    "initial_h": ("initial state", "direction batch hidden"),
    "initial_c": ("initial cell", "direction batch hidden"),
}
ELEMENTWISE = ("Add", "Mul", "Div")
"""Operators that also do arithmetic of shapes and positions, whose integers are no weights."""
_FACTOR = {"A": ("factor", ""), "B": ("factor", "")}
_QLINEAR = {
    **{f"{port}_{kind}": (f"{kind} of {port}", "") for port in "xwyab" for kind in ("scale", "zero_point")},
    "B": ("bias", "out"),
}
ROLES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Conv": _CONV,
    "ConvTranspose": {**_CONV, "W": ("weight", "in out/group ...")},
    "DeformConv": _CONV,
    "ConvInteger": {"w": ("weight", "out in/group ...")},
    "QLinearConv": {**_QLINEAR, "w": ("weight", "out in/group ...")},
    "MatMul": {"B": ("weight", "in out")},
    "MatMulInteger": {"B": ("weight", "in out")},
    "QLinearMatMul": {**_QLINEAR, "b": ("weight", "in out")},
    "Gemm": {"B": ("weight", "in out"), "C": ("bias", "out")},
    "BatchNormalization": {**_NORM, **_MOMENTS},
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), _NORM),
    "LayerNormalization": {"Scale": ("scale", "channel"), "B": ("bias", "channel")},
    "RMSNormalization": {"scale": ("scale", "channel")},
    **dict.fromkeys(ELEMENTWISE, _FACTOR),
    "PRelu": {"slope": ("slope", "")},
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _RECURRENT),
    "Gather": {"data": ("table", "entry ...")},
    "DequantizeLinear": {"x": ("stored integers", ""), "x_scale": ("scale", ""), "x_zero_point": ("zero point", "")},
    "QuantizeLinear": {"x": ("operand", ""), "y_scale": ("scale", ""), "y_zero_point": ("zero point", "")},
}
"""By operator and ONNX's name of the input: the role, and what its axes count; "..." stands for any number."""

PRODUCTS = ("MatMul", "Conv", "ConvTranspose")
"""Operators behind which an Add is that of a bias."""

_SPATIAL = {1: ("width",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def parameters(model: Model) -> list[Parameter]:
    """The weights of a model as its reader gives it, in the order in which it has them."""
    files: set[str] = set()
    return [parameter for value in model.graph.initializers.values() for parameter in _described(value, files)]


def _described(value: ir.Value, files: set[str]) -> Iterator[Parameter]:
    tensor, uses = tensor_of(value), sorted(value.uses(), key=lambda use: (use.node.name or "", use.idx))
    if tensor is None or not uses or tensor.dtype in (ir.DataType.STRING, ir.DataType.BOOL):
        return
    node, index = uses[0].node, uses[0].idx
    is_argument = node.op_type in ELEMENTWISE or _known(node, index) is None
    if is_argument and not tensor.dtype.is_floating_point():
        return
    step = node if node.op_type == "DequantizeLinear" and index == 0 and not node.domain else None
    reader = None if step is None else next(iter(step.outputs[0].uses()), None)
    if reader is not None:  # the integers are to it what their floats would be
        node, index = reader.node, reader.idx
    role, axes = _known(node, index) or ("operand", "")
    shape = tuple(tensor.shape.numpy())
    yield Parameter(
        name=value.name or "",
        file=_file(value.name or "", files),
        node=node.name or "",
        operator=operator_of(node),
        role=role,
        shape=shape,
        dtype=tensor.dtype.numpy().name,
        axes=_axes(_transposed(node, axes), len(shape)),
        scale=_name(step, 1),
        zero_point=_name(step, 2),
        axis=_axis(step),
    )


def _axis(step: ir.Node | None) -> int | None:
    """The axis along which a DequantizeLinear has several scales."""
    if step is None or dims(step.inputs[1]) in ((), (1,)):
        return None
    axis: int = step.attributes.get_int("axis", 1)
    return axis


def is_stored(value: ir.Value) -> bool:
    """Whether a constant is integers that stand for floats, or that a product of integers takes as a weight."""
    return any(
        (use.node.op_type == "DequantizeLinear" and use.idx == 0) or (_known(use.node, use.idx) or ("",))[0] == "weight"
        for use in value.uses()
    )


def _name(step: ir.Node | None, index: int) -> str:
    """What an input is called; empty where there is none."""
    value = None if step is None else input_of(step, index)
    return "" if value is None else value.name or ""


def _known(node: ir.Node, index: int) -> tuple[str, str] | None:
    """What an input of a node is, where that is known."""
    found = None if node.domain else schema(node.op_type, OPSET)
    if found is None or not found.formals or node.op_type not in ROLES:
        return None
    if node.op_type == "Add":
        other = node.inputs[1 - index]
        producer = None if other is None else other.producer()
        return ("bias", "out") if producer is not None and producer.op_type in PRODUCTS else ("offset", "")
    name = found.formals[min(index, len(found.formals) - 1)][0]
    return ROLES[node.op_type].get(name)


def _transposed(node: ir.Node, axes: str) -> str:
    """Gemm may take its weight the other way round."""
    turned = node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0)) and axes == "in out"
    return "out in" if turned else axes


def _axes(words: str, rank: int) -> tuple[str, ...]:
    """One word for each axis; none where they do not fit."""
    named = words.split()
    if named[-1:] == ["..."]:
        rest = rank - len(named) + 1
        named[-1:] = _SPATIAL.get(rest, ()) if named[0] != "entry" else ["element"] * rest
    if words == "in out" and rank > 2:
        named = [*["batch"] * (rank - 2), *named]
    return tuple(named) if len(named) == rank else ()


def _file(name: str, taken: set[str]) -> str:
    """A name for a file, which no other has, whatever the file system makes of capitals."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:LONGEST_FILE_NAME] or "constant"
    found, count = stem, 0
    while found.lower() in taken:
        count += 1
        found = f"{stem}_{count}"
    taken.add(found.lower())
    return f"{found}.npy"


def extract(model: Model, folder: Path) -> Extraction:
    """Writes every weight of a model as a .npy file, with an index; all or nothing.

    Args:
        model: as its reader gives it.
        folder: made, or replaced where it holds an index and nothing that the new one does not.

    Raises:
        OutputError: the folder cannot be written.
    """
    found, written = parameters(model), 0
    with atomic_path(folder, INDEX) as place:
        place.mkdir()
        for parameter in found:
            tensor = tensor_of(model.graph.initializers[parameter.name])
            assert tensor is not None
            np.save(place / parameter.file, tensor.numpy(), allow_pickle=False)
            written += tensor.nbytes
        index = {"schema": SCHEMA, "format": model.provenance.format, "parameters": [asdict(item) for item in found]}
        (place / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return Extraction(folder, written, tuple(found))


def changed(model: Model, folder: Path) -> dict[str, Array]:
    """The arrays of a folder that are not the model's own, by the names of the constants.

    Args:
        model: as its reader gives it.
        folder: of `extract`; the index may have fewer rows than the model has weights.

    Raises:
        DataError: the index is none, or an array is missing, damaged, or of another shape or type; it names the file.
        UsageError: the model has no constant of a name.
    """
    constants = model.graph.initializers
    found = {}
    for name, file in _rows(folder):
        tensor = tensor_of(constants.get(name))
        if tensor is None:
            raise nothing("constant", name, list(constants), str(folder / INDEX))
        array = _array(folder, file, name, tensor)
        if not np.array_equal(_bits(array), _bits(tensor.numpy())):
            found[name] = array
    return found


def _rows(folder: Path) -> Iterator[tuple[str, str]]:
    """Names of constants and of files."""
    path = folder / INDEX
    if not folder.is_dir():
        raise UsageError("no such folder", where=str(folder), hint="params extract makes one")
    if readable_file(path).stat().st_size > LARGEST_INDEX:
        raise DataError("larger than any index", where=str(path))
    try:
        index = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"not a JSON document: {error}", where=str(path)) from error
    if not isinstance(index, dict) or index.get("schema") != SCHEMA or not isinstance(index.get("parameters"), list):
        raise DataError(f"no index of the schema {SCHEMA}", where=str(path), hint="params extract makes one")
    for number, row in enumerate(index["parameters"]):
        name, file = (row.get("name"), row.get("file")) if isinstance(row, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(file, str) or "\0" in file:
            raise DataError("a parameter has a name and a file", where=f"{path}: parameters[{number}]")
        yield name, file


def _array(folder: Path, file: str, name: str, tensor: ir.TensorProtocol) -> Array:
    """The array of a file, which fits the constant."""
    where, wanted = str(folder / file), tensor.dtype.numpy()
    try:
        array = open_array(readable_file(inside(folder, file)))
    except BadInputError as error:
        raise DataError(error.what, where=where, hint=error.hint) from error
    if array.dtype.kind == "V" and array.dtype.itemsize == wanted.itemsize:
        array = array.view(wanted)  # numpy saves what it does not know as bytes
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if array.dtype != wanted:
        raise DataError(f"the array is {array.dtype}, {name!r} is {wanted}", where=where, hint=f"save it as {wanted}")
    if array.shape != tuple(tensor.shape.numpy()):
        shapes = [_text(array.shape), _text(tensor.shape.numpy())]
        raise DataError(f"the array is {shapes[0]}, {name!r} is {shapes[1]}", where=where)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise DataError("it holds NaN", where=where)
    return array


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _bits(array: Array) -> Array:
    """What an array holds, NaNs and zeros of both signs told apart."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
