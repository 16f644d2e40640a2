"""If and Loop: IF and WHILE, whose branches, condition and body are graphs of their own.

Kernels: tflite/kernels/if.cc and while.cc of google-ai-edge/LiteRT. WHILE hands its operands to the body, and what that
gives to the body again, as long as the condition's graph says so; so what does not change is handed on, too. The
outputs of a body are copied to its inputs one after the other, so none may be the tensor of another one's input: the
layout pass has an Identity there.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.dialect.control import bodies_of, captured_from, runs_always
from narrowcast.model import NARROWCAST
from narrowcast.writers.tflite.container import Container
from narrowcast.writers.tflite.lowering import Lowering
from narrowcast.writers.tflite.site import Site, lowers
from narrowcast.writers.tflite.tables import Tensor, options

OPEN = -1
"""A dimension that the run decides."""
_INT64, _BOOL = np.dtype(np.int64), np.dtype(np.bool_)


@lowers("If", domain=NARROWCAST)
def if_(site: Site) -> None:
    """IF."""
    inputs = [site.input(index) for index in range(len(site.node.inputs))]
    then_branch, else_branch = (
        site.lowering.inner(body, f"{site.node.name}/{name}")[0] for name, body in bodies_of(site.node).items()
    )
    outputs = [site.output(index) for index in range(len(site.node.outputs))]
    indices = {"thenSubgraphIndex": then_branch, "elseSubgraphIndex": else_branch}
    site.emit("IF", inputs, outputs, "IfOptions", **indices)


@lowers("Loop", domain=NARROWCAST)
def loop(site: Site) -> None:
    """WHILE over (step, condition, *states, *captured, *rows, trips).

    Rows are written into tensors of full length; where only the run tells how many there are, they are appended.
    """
    node = site.node
    states = captured_from(node) - 2
    growing = constant_of(node.inputs[0]) is None or not runs_always(node)
    index, body = site.lowering.inner(bodies_of(node)["body"], f"{node.name}/body")
    trips = None if node.inputs[0] is None else site.input(0)
    begun = site.lowering.constant(np.zeros((), _INT64), "step")
    going = site.input(1) if node.inputs[1] is not None else site.lowering.constant(np.array(True), "going")
    rows = list(range(states, len(node.outputs)))
    inputs = [_scalar(site, begun), _scalar(site, going), *(site.input(i) for i in range(2, len(node.inputs)))]
    inputs += [_nothing(site, row) if growing else _blank(site, row) for row in rows]
    inputs += [] if trips is None else [_scalar(site, trips)]
    _finish_body(site, body, states, len(inputs), growing=growing)
    outputs = [_like(site, tensor) for tensor in inputs]
    outputs[2 : 2 + states] = [site.output(i) for i in range(states)]
    first = len(node.inputs)
    outputs[first : first + len(rows)] = [site.output(row) for row in rows]
    condition = _condition(site, body.container, counted=trips is not None)
    indices = {"condSubgraphIndex": condition, "bodySubgraphIndex": index}
    site.emit("WHILE", inputs, outputs, "WhileOptions", **indices)


def _like(site: Site, tensor: int) -> int:
    found = site.lowering.container.tensors[tensor]
    return site.temporary(found.shape, found.dtype)


def _scalar(site: Site, tensor: int) -> int:
    """A tensor of one element, as it is or without its axes."""
    found = site.lowering.container.tensors[tensor]
    if not found.shape:
        return tensor
    made = site.temporary((), found.dtype)
    site.emit("RESHAPE", [tensor, site.ints(np.zeros(0, np.int32))], [made], "ReshapeOptions", newShape=[])
    return made


def _blank(site: Site, row: int) -> int:
    """Zeros in the shape of an output."""
    shape, value = site.output_shape(row), site.node.outputs[row]
    dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
    made = site.temporary(shape, dtype)
    zero = site.lowering.constant(np.zeros((), dtype), "zero")
    site.emit("BROADCAST_TO", [zero, site.ints(shape)], [made], "BroadcastToOptions")
    return made


def _nothing(site: Site, row: int) -> int:
    """No rows yet."""
    shape, value = site.output_shape(row)[1:], site.node.outputs[row]
    dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
    made = site.temporary((OPEN, *shape), dtype)
    site.emit(
        "FILL", [site.ints([0, *shape]), site.lowering.constant(np.zeros((), dtype), "zero")], [made], "FillOptions"
    )
    return made


def _finish_body(site: Site, body: Lowering, states: int, count: int, *, growing: bool) -> None:
    """Adds to a body what WHILE asks for beyond ONNX's: the next step, captured values, rows, the number of trips."""
    made = body.container
    formals, given = [index for _, index in made.inputs], [index for _, index in made.outputs]
    step = formals[0]
    following = made.tensor(Tensor(body.unique("step/next"), (), _INT64))
    one = body.constant(np.ones((), _INT64), "one")
    made.operator("ADD", [step, one], [following], options("AddOptions"))
    outputs = [following, *given[: 1 + states], *formals[2 + states :]]
    for row, value in enumerate(given[1 + states :]):
        shape, dtype = site.output_shape(states + row), made.tensors[value].dtype
        shape = (OPEN, *shape[1:]) if growing else shape
        before = made.tensor(Tensor(body.unique("rows"), shape, dtype))
        after = made.tensor(Tensor(body.unique("rows/next"), shape, dtype))
        made.inputs.append(("", before))
        if growing:
            made.operator(
                "CONCATENATION", [before, _wide(body, value)], [after], options("ConcatenationOptions", axis=0)
            )
        else:
            operands = [before, _wide(body, value), _place(body, step, len(shape))]
            made.operator("DYNAMIC_UPDATE_SLICE", operands, [after])
        outputs.append(after)
    if len(outputs) < count:
        trips = made.tensor(Tensor(body.unique("trips"), (), _INT64))
        made.inputs.append(("", trips))
        outputs.append(trips)
    made.outputs[:] = [("", index) for index in outputs]


def _wide(body: Lowering, value: int) -> int:
    """A row with its axis in front."""
    made = body.container
    shape = (1, *made.tensors[value].shape)
    wide = made.tensor(Tensor(body.unique("row"), shape, made.tensors[value].dtype))
    made.operator("RESHAPE", [value, body.ints(shape)], [wide], options("ReshapeOptions", newShape=list(shape)))
    return wide


def _place(body: Lowering, step: int, rank: int) -> int:
    """Where a row begins: (step, 0, 0, ...)."""
    made = body.container
    number = made.tensor(Tensor(body.unique("step/wide"), (1,), _INT64))
    made.operator("RESHAPE", [step, body.ints([1])], [number], options("ReshapeOptions", newShape=[1]))
    if rank == 1:
        return number
    place = made.tensor(Tensor(body.unique("place"), (rank,), _INT64))
    zeros = body.constant(np.zeros(rank - 1, _INT64), "zeros")
    made.operator("CONCATENATION", [number, zeros], [place], options("ConcatenationOptions", axis=0))
    return place


def _condition(site: Site, body: Container, *, counted: bool) -> int:
    """The graph that says whether to go on: step < trips, and what the body said."""
    index, made = site.lowering.container.graph(site.lowering.unique(f"{site.node.name}/condition"))
    for _, tensor in body.inputs:
        found = body.tensors[tensor]
        made.inputs.append(("", made.tensor(Tensor(found.name, found.shape, found.dtype))))
    going = made.inputs[1][1]
    if counted:
        early, both = (made.tensor(Tensor(name, (), _BOOL)) for name in ("early", "both"))
        made.operator("LESS", [made.inputs[0][1], made.inputs[-1][1]], [early], options("LessOptions"))
        made.operator("LOGICAL_AND", [early, going], [both], options("LogicalAndOptions"))
        going = both
    made.outputs.append(("", going))
    return index
