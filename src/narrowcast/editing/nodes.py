"""Actions on operators and constants: attributes, constants, connections; operators come, go, and change places."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from narrowcast.dialect.build import dims, tensor_of
from narrowcast.dialect.ops import KINDS, Kind, kind_of
from narrowcast.editing import fields
from narrowcast.editing.action import Site, action
from narrowcast.editing.constants import Constant
from narrowcast.editing.fields import Parser, Place, optional, required
from narrowcast.editing.select import Selector, nothing, operator_of
from narrowcast.errors import UsageError, did_you_mean
from narrowcast.model import OPSET, ir
from narrowcast.readers.check.structure import WEIGHTED, where
from narrowcast.readers.check.structure import schema as schema_of

LARGEST_FLOAT = float(np.finfo(np.float32).max)
HERE = re.compile(r"@(\d+)?")
"""Among operands: the tensor at hand, or one of the inputs that a node had."""

Attributes = dict[str, tuple[Any, Place]]
Operands = Sequence[str | Constant | None]


def _tensor(value: Any, place: Place) -> ir.TensorProtocol:
    return ir.Tensor(fields.constant(value, place).of_type(None))


def _code(value: Any, place: Place) -> int:
    """A whole number, or the code of a type of elements by its name."""
    if isinstance(value, str):
        return int(ir.DataType.from_numpy(fields.dtype(value, place)))
    return fields.whole(value, place)


def _single(value: Any, place: Place) -> float:
    found = fields.number(value, place)
    if abs(found) > LARGEST_FLOAT:
        raise place.error("it is beyond float32")
    return found


def _singles(value: Any, place: Place) -> list[float]:
    found = [] if value == [] else fields.numbers(value, place)
    return [_single(number, place.at(index)) for index, number in enumerate(found)]


_KINDS: dict[str, tuple[Callable[..., ir.Attr], Parser[Any]]] = {
    "INT": (ir.AttrInt64, _code),
    "INTS": (ir.AttrInt64s, fields.wholes),
    "FLOAT": (ir.AttrFloat32, _single),
    "FLOATS": (ir.AttrFloat32s, _singles),
    "STRING": (ir.AttrString, fields.text),
    "STRINGS": (ir.AttrStrings, fields.names),
    "TENSOR": (ir.AttrTensor, _tensor),
}
"""For each type of attribute what makes one, and what reads its value."""


def _set(node: ir.Node, given: Attributes) -> None:
    """Gives a node attributes, as its operator has them; null takes one away, so that its default holds.

    Raises:
        DataError: the operator has no such attribute, or it is of another type.
    """
    known = {name: attribute.type.name for name, attribute in node.attributes.items()}
    found = None if node.domain else schema_of(node.op_type, OPSET)
    known.update({} if found is None else found.attributes)
    for name, (value, place) in given.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"it has {', '.join(known) or 'none'}"
            raise place.error(f"{operator_of(node)} has no attribute {name!r}", hint)
        if value is None:
            node.attributes.pop(name, None)
            continue
        if known[name] not in _KINDS:
            raise place.error(f"an attribute of the type {known[name]} cannot be set")
        make, parse = _KINDS[known[name]]
        node.attributes[name] = make(name, parse(value, place))


@action("set_attributes", nodes=required(fields.selector), attributes=required(fields.attributes))
def set_attributes(site: Site, *, nodes: Selector, attributes: Attributes) -> None:
    """Changes attributes of nodes; null takes one away, so that its default holds."""
    for node in nodes.nodes(site.model):
        _set(node, attributes)
        site.touched.add(node)


@action(
    "set_constant",
    tensors=optional(fields.selector),
    nodes=optional(fields.selector),
    input=optional(fields.whole),
    value=required(fields.constant),
)
def set_constant(
    site: Site, *, tensors: Selector | None, nodes: Selector | None, input: int | None, value: Constant
) -> None:
    """Changes constants: those of some names, wherever they are read, or those that some nodes read, for these alone.

    Without `input` a node is meant that has one constant.
    """
    if (tensors is None) == (nodes is None):
        raise site.error("a constant is chosen either by 'tensors' or by 'nodes'")
    initializers = site.graph.initializers
    if tensors is not None:
        for name in tensors.tensors(list(initializers)):
            _overwrite(site, initializers[name], value)
        return
    assert nodes is not None
    for node in nodes.nodes(site.model):
        index = _constant_of(site, node) if input is None else _place_of(site, node, input)
        old = node.inputs[index]
        tensor = tensor_of(old)
        if old is None:
            node.replace_input_with(index, _constant(site, value, node, index, node.inputs[0]))
            site.touched.add(node)
            continue
        if tensor is None:
            what = f"input {index} of {where(node)} is computed, or fed, not a constant"
            raise site.error(what, "use connect, or insert", field="input")
        if len(old.uses()) == 1 and not old.is_graph_output():
            _overwrite(site, old, value)
        else:
            array = value.of_type(tensor.dtype.numpy())
            own = site.builder.constant(array, old.name or "const")
            node.replace_input_with(index, own)
            site.touched.add(node)


def _overwrite(site: Site, value: ir.Value, constant: Constant) -> None:
    assert value.const_value is not None
    array, before = constant.of_type(value.const_value.dtype.numpy()), (value.dtype, dims(value))
    value.const_value = ir.Tensor(array, name=value.name)
    value.shape, value.dtype = ir.Shape(array.shape), value.const_value.dtype
    is_weight = all(kind_of(use.node) is Kind.ELEMENTWISE or use.node.op_type in WEIGHTED for use in value.uses())
    if not is_weight or before != (value.dtype, array.shape):  # numbers that no shape depends on
        site.read_by(value)


def _constant_of(site: Site, node: ir.Node) -> int:
    found = [index for index, value in enumerate(node.inputs) if tensor_of(value) is not None]
    if len(found) != 1:
        named = ", ".join(f"{index} ({node.inputs[index].name!r})" for index in found)  # type: ignore[union-attr]
        hint = f"say which: {named}" if found else "use connect, or insert"
        raise site.error(f"{where(node)} has {len(found) or 'no'} constants", hint, field="input")
    return found[0]


def _place_of(site: Site, node: ir.Node, index: int) -> int:
    """The place of an input, made where the operator takes one there and the node has none yet.

    Raises:
        UsageError: the operator takes none there.
    """
    found = None if node.domain else schema_of(node.op_type, OPSET)
    if found is not None and len(node.inputs) <= index < min(found.inputs[1], len(found.formals)):
        node.resize_inputs(index + 1)
    if not 0 <= index < len(node.inputs):
        names = ", ".join(f"{place} ({value.name!r})" for place, value in enumerate(node.inputs) if value is not None)
        raise site.error(f"{where(node)} has no input {index}", f"it has {names or 'none'}", field="input")
    return index


@action("connect", nodes=required(fields.selector), input=required(fields.whole), tensor=required(fields.text))
def connect(site: Site, *, nodes: Selector, input: int, tensor: str) -> None:
    """Lets nodes read another tensor."""
    value = site.tensor(tensor, "tensor")
    for node in nodes.nodes(site.model):
        node.replace_input_with(_place_of(site, node, input), value)
        site.touched.add(node)


@action(
    "insert",
    after=required(fields.selector),
    op=required(fields.text),
    inputs=optional(fields.operands, ("@",)),
    attributes=optional(fields.attributes, {}),
    name=optional(fields.text, ""),
    nodes=optional(fields.selector),
)
def insert(
    site: Site,
    *,
    after: Selector,
    op: str,
    inputs: Operands,
    attributes: Attributes,
    name: str,
    nodes: Selector | None,
) -> None:
    """Puts an operator behind tensors: whatever read one reads the operator's output; "@" is the tensor itself.

    Where `nodes` are selected, these alone do.
    """
    values, readers = site.values(), None if nodes is None else set(nodes.nodes(site.model))
    for tensor in after.tensors(list(values)):
        old = values[tensor]
        domain, op_type = _identified(site, op)
        new = site.add(op_type, domain=domain, name=name or f"{tensor}/{op_type}")
        node = site.made_by(new)
        _read(site, node, inputs, [old])
        _set(node, attributes)
        if readers is None:
            site.replace(old, new, node)
        elif not site.reconnect(old, new, readers):
            raise site.error(f"none of these nodes reads {tensor!r}", field="nodes")


@action("remove", nodes=required(fields.selector), input=optional(fields.whole, 0))
def remove(site: Site, *, nodes: Selector, input: int) -> None:
    """Takes nodes away: whatever read the output of one reads its input."""
    for node in nodes.nodes(site.model):
        read = [value for value in node.outputs if value.uses() or value.is_graph_output()]
        if read and read != [node.outputs[0]]:
            raise site.error(f"{where(node)} has other outputs than its first that are read", "cut the network instead")
        value = node.inputs[_place_of(site, node, input)]
        if value is None:
            raise site.error(f"input {input} of {where(node)} is left out", field="input")
        site.replace(node.outputs[0], value)
        site.graph.remove(node, safe=True)
        site.touched.discard(node)


@action(
    "swap",
    nodes=required(fields.selector),
    op=required(fields.text),
    inputs=optional(fields.operands),
    attributes=optional(fields.attributes, {}),
)
def swap(site: Site, *, nodes: Selector, op: str, inputs: Operands | None, attributes: Attributes) -> None:
    """Makes nodes another operator, with its own attributes; "@0", "@1", ... are the inputs that a node had."""
    for node in nodes.nodes(site.model):
        node.domain, node.op_type = _identified(site, op)
        node.attributes.clear()
        if inputs is not None:
            had = list(node.inputs)
            _read(site, node, inputs, had)
        _set(node, attributes)
        site.touched.add(node)


def _read(site: Site, node: ir.Node, inputs: Operands, had: Sequence[ir.Value | None]) -> None:
    """Gives a node its inputs: names of tensors, constants, and those that there were."""
    found: list[ir.Value | Constant | None] = []
    for index, item in enumerate(inputs):
        field = f"inputs[{index}]"
        if isinstance(item, str) and (here := HERE.fullmatch(item)):
            number = int(here[1] or 0)
            if number >= len(had):
                raise site.error(f"there is no input {item}", f"{where(node)} had {len(had)}", field=field)
            found.append(had[number])
        else:
            found.append(site.tensor(item, field) if isinstance(item, str) else item)
    like = next((value for value in found if isinstance(value, ir.Value)), None)
    node.resize_inputs(len(found))
    for index, value in enumerate(found):
        if isinstance(value, Constant):
            value = _constant(site, value, node, index, like)
        node.replace_input_with(index, value)


def _constant(site: Site, constant: Constant, node: ir.Node, index: int, like: ir.Value | None) -> ir.Value:
    """A new constant for an input of a node, of the type of another input where the operator wants them alike."""
    return site.constant(constant, like if _is_alike(node, index) else None, f"{node.name}/constant")


def _is_alike(node: ir.Node, index: int) -> bool:
    """Whether an input of a node has the type of its first."""
    found = None if node.domain else schema_of(node.op_type, OPSET)
    types = [kind for _, kind in found.formals] if found is not None else []
    return not types or types[min(index, len(types) - 1)] == types[0]


def _identified(site: Site, op: str) -> tuple[str, str]:
    """Domain and name of an operator.

    Raises:
        UsageError: there is none of that name.
    """
    domain, _, name = op.rpartition("::")
    if (domain, name) in KINDS if domain else schema_of(name, OPSET) is not None:
        return domain, name
    raise unknown_operator(op, f"{site.place}.op")


def unknown_operator(op: str, place: str) -> UsageError:
    """The error for an operator that there is not."""
    from onnx import defs

    known = sorted({schema.name for schema in defs.get_all_schemas() if not schema.domain and not schema.deprecated})
    error = nothing("operator", op, known, place)
    return UsageError(f"ONNX opset {OPSET} has no operator {op!r}", where=place, hint=error.hint.partition("? ")[0])
