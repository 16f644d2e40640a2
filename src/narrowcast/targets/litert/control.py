"""What LiteRT's IF and WHILE run: graphs whose outputs have one shape, and loops that end."""

from __future__ import annotations

from narrowcast.dialect.build import constant_of
from narrowcast.dialect.control import bodies_of, captured_from, goes_on, keeps_shapes, runs_always
from narrowcast.model import ir

__all__ = ["branches", "loop"]

LONGEST = 10**7
"""Steps of a loop that nothing ends earlier; more of them are a damaged number, and would not come to an end."""


def branches(node: ir.Node) -> str:
    """Branches that give the same shapes."""
    given = [body.outputs for body in bodies_of(node).values()]
    for one, other, output in zip(*given, node.outputs, strict=True):
        if one.shape != other.shape or one.dtype is not other.dtype:
            return (
                f"wants branches of one shape, and these give {_type(one)} and {_type(other)} for {output.name!r}: "
                "make them alike, or the condition constant (--freeze name=number)"
            )
    return ""


def loop(node: ir.Node) -> str:
    """States that keep their shapes, and an end."""
    body, states = bodies_of(node)["body"], captured_from(node) - 2
    if not keeps_shapes(node):
        pairs = zip(body.inputs[2 : 2 + states], body.outputs[1 : 1 + states], strict=True)
        grown = [
            f"{before.name!r} from {_type(before)} to {_type(after)}"
            for before, after in pairs
            if before.shape != after.shape or before.dtype is not after.dtype
        ]
        return f"keeps the shapes of a loop's states, and these change ({'; '.join(grown)}): make its steps constant"
    trips, counted = constant_of(node.inputs[0]), runs_always(node)
    if counted and (trips is None if node.inputs[0] is None else trips is not None and trips.item() > LONGEST):
        return f"would hardly come to an end: give it a condition, or at most {LONGEST} steps"
    if len(node.outputs) > states and not goes_on(node):
        name = node.outputs[states].name
        return f"does not know how many rows its output {name!r} has, which a condition decides: give it a number"
    shapes = [output.shape for output in node.outputs[states:]]
    known = all(shape is not None and all(isinstance(dim, int) for dim in list(shape)[1:]) for shape in shapes)
    return "" if known else "appends rows of known shapes only: fix the batch (--batch 1)"


def _type(value: ir.Value) -> str:
    shape = "x".join("?" if not isinstance(dim, int) else str(dim) for dim in value.shape or ()) or "one number"
    return f"{value.dtype.name.lower() if value.dtype is not None else 'something'} {shape}"
