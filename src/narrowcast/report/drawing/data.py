"""What the page that draws a network holds, as JSON has it: boxes with their places, tensors with their routes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from narrowcast.evaluation.networks.records import Network, Operator, Quantization, Signature, Subgraph, Tensor, Weights
from narrowcast.report import networks
from narrowcast.report.drawing import placement
from narrowcast.report.drawing.kinds import KINDS, kind_of
from narrowcast.report.svg import text_width
from narrowcast.report.text import byte_size, plural, printable

__all__ = ["HEAD", "LEVELS", "LINE", "data"]

LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
"""One character for each height of a histogram's bar, the lowest first."""

HEAD, LINE, FOOT = 24.0, 16.0, 7.0
"""Heights in a box: the operator's type, each line below it, and what is left free under the lines."""
LABEL = 15.0
"""Height of one line of a tensor's label, below the box that it comes from."""
TYPE_SIZE, LINE_SIZE = 12.5, 11.0
NARROWEST, LONGEST_NAME, MOST_LINES, MOST_LABELS = 64.0, 28, 5, 6
LONGEST_VALUE = 2000
"""Characters of an attribute."""
FEW = 4
"""Elements of a constant that are told in a box."""
MOST_ENDS = 16
"""Connections for each box, on average."""
MOST_PORTS = 24
"""Of one side of a box that are given room."""


def data(*shown: Network) -> dict[str, Any]:
    """Everything that the script needs of one or more networks, their graphs one after the other."""
    sides: list[dict[str, Any]] = []
    graphs: list[dict[str, Any]] = []
    for network in shown:
        sides.append({**_side(network), "graph": len(graphs)})
        holders, first = _holders(network), len(graphs)
        for number, graph in enumerate(network.graphs):
            inside = holders.get(number)
            drawn = _graph(graph, number, first)
            called = [_signature(row, graph) for row in network.signatures if row.graph == number]
            graphs.append({**drawn, "inside": inside and (first + inside[0], inside[1]), "signatures": called})
    return {"sides": sides, "graphs": graphs, "kinds": KINDS, "levels": LEVELS, "head": HEAD, "line": LINE}


def _side(network: Network) -> dict[str, Any]:
    """A network at large."""
    count = sum(len(graph.operators) for graph in network.graphs)
    constants = (tensor.bytes or 0 for graph in network.graphs for tensor in graph.tensors)
    producer = [("written by", printable(network.producer))] if network.producer else []
    return {
        "title": printable(network.path.name),
        "subtitle": f"{network.format}, {network.form}; {plural(count, 'operator')}; {byte_size(network.bytes)}",
        "facts": [
            ("format", network.format),
            *producer,
            ("file", byte_size(network.bytes)),
            ("constants", byte_size(sum(constants))),
            ("operators", f"{count:,}, {network.form}"),
        ],
    }


def _graph(graph: Subgraph, number: int, first: int) -> dict[str, Any]:
    """One graph: its boxes (inputs, operators, outputs, in this order) with their places, and its tensors.

    Args:
        graph: what is drawn.
        number: of the graph in its network.
        first: number of the network's first graph on the page.
    """
    boxes = list(_boxes(graph, first))
    made: dict[int, int] = {}
    read: dict[int, list[int]] = {}
    for place, box in enumerate(boxes):
        for index in box["outputs"]:
            if index is not None:
                made.setdefault(index, place)
        for index in box["inputs"]:
            if index is not None:
                read.setdefault(index, []).append(place)
    drawn = _drawn(made, read, len(boxes))
    drawing = placement.draw(
        [(box["box"][0], box["box"][1]) for box in boxes],
        [(made[index], [place for place in read.get(index, ()) if place != made[index]]) for index in drawn],
    )
    for box, (x, y) in zip(boxes, drawing.corners, strict=True):
        box["box"] = [round(x, 1), round(y, 1), *box["box"]]
    tensors = [_tensor(tensor) for tensor in graph.tensors]
    for index, route in zip(drawn, drawing.routes, strict=True):
        tensors[index]["pieces"] = [round(part, 1) for part in route.pieces]
        tensors[index]["heads"] = [round(part, 1) for part in route.heads]
        tensors[index]["start"] = [round(part, 1) for part in route.start]
    return {
        "name": printable(graph.name) or ("main" if not number else f"graph {number}"),
        "skip": len(_fed(graph)),
        "size": [round(drawing.width), round(drawing.height)],
        "boxes": boxes,
        "tensors": tensors,
    }


def _drawn(made: Mapping[int, int], read: Mapping[int, Sequence[int]], boxes: int) -> list[int]:
    """The tensors whose connections are drawn: all, but for those with most readers where nobody could follow them."""
    left, found = MOST_ENDS * (boxes + 100), []
    for index in sorted(made, key=lambda index: len(read.get(index, ()))):
        left -= len(read.get(index, ()))
        if left >= 0:
            found.append(index)
    return sorted(found)


def _signature(row: Signature, graph: Subgraph) -> tuple[str, list[tuple[str, str]]]:
    """What a signature is called, and what its ports stand for."""
    ports = (*row.inputs.items(), *row.outputs.items())
    return printable(row.key), [(printable(name), printable(graph.tensors[index].name)) for name, index in ports]


def _holders(network: Network) -> dict[int, tuple[int, int]]:
    """By graph the graph and box that it is inside of, which stand before it."""
    found: dict[int, tuple[int, int]] = {}
    for outer, graph in enumerate(network.graphs):
        first = len(_fed(graph))
        for place, operator in enumerate(graph.operators):
            for _, inside in operator.subgraphs:
                if outer < inside:
                    found.setdefault(inside, (outer, first + place))
    return found


def _boxes(graph: Subgraph, first: int) -> Iterator[dict[str, Any]]:
    for index in _fed(graph):
        tensor = graph.tensors[index]
        yield _port("input" if tensor.role != "captured" else "captured", tensor, (), (index,), graph)
    for operator in graph.operators:
        inside = [(printable(role), first + number) for role, number in operator.subgraphs]
        yield {**_operator(operator, graph), "graphs": inside}
    for index in graph.outputs:
        yield _port("output", graph.tensors[index], (index,), (), graph)


def _fed(graph: Subgraph) -> dict[int, None]:
    """The tensors that come from outside: inputs, and what is read of the graphs around."""
    return dict.fromkeys([*graph.inputs, *(at for at, tensor in enumerate(graph.tensors) if tensor.role == "captured")])


def _port(
    kind: str, tensor: Tensor, inputs: tuple[int, ...], outputs: tuple[int, ...], graph: Subgraph
) -> dict[str, Any]:
    name = _short(printable(tensor.name)) or kind
    width = max(NARROWEST, text_width(name, TYPE_SIZE) + 34)
    return {
        "type": kind,
        "name": printable(tensor.name),
        "title": name,
        "kind": "port",
        "inputs": inputs,
        "outputs": outputs,
        "card": HEAD,
        "box": _box(width, HEAD, outputs, graph),
    }


def _operator(operator: Operator, graph: Subgraph) -> dict[str, Any]:
    constants = [
        (networks.operand(operator, place), graph.tensors[index])
        for place, index in enumerate(operator.inputs)
        if index is not None and graph.tensors[index].role in ("constant", "variable")
    ]
    title = printable(operator.type)
    lines = [(printable(name), _constant(tensor)) for name, tensor in constants[:MOST_LINES]]
    if len(constants) > MOST_LINES:
        lines.append(("", f"{len(constants) - MOST_LINES} more"))
    name = _short(networks.label(operator))
    texts = [f"{left}    {right}" for left, right in lines] + [name]
    width = max(text_width(title, TYPE_SIZE) + 24, *(text_width(text, LINE_SIZE) + 26 for text in texts), NARROWEST)
    height = HEAD + LINE * (len(lines) + bool(name)) + (FOOT if lines or name else 0)
    inputs = tuple(
        None if index is None or graph.tensors[index].role in ("constant", "variable") else index
        for index in operator.inputs
    )
    ports = max(len({*inputs, *operator.captured}), len(operator.outputs))
    return {
        "type": title,
        "name": printable(operator.name),
        "title": title,
        "short": name,
        "kind": kind_of(operator.type),
        "inputs": (*operator.inputs, *operator.captured),
        "outputs": operator.outputs,
        "operands": [
            *(printable(networks.operand(operator, place)) for place in range(len(operator.inputs))),
            *("read inside" for _ in operator.captured),
        ],
        "attributes": [
            (printable(name), networks.value_text(value)[:LONGEST_VALUE]) for name, value in operator.attributes.items()
        ],
        "lines": lines,
        "card": height,
        "box": _box(max(width, 12.0 * min(ports, MOST_PORTS)), height, operator.outputs, graph),
    }


def _box(width: float, card: float, outputs: Iterable[int | None], graph: Subgraph) -> list[float]:
    """Width and height of a box with the labels of its outputs side by side below the card."""
    labels = [label for index in outputs if index is not None and (label := _label(graph.tensors[index]))]
    if not labels or len(labels) > MOST_LABELS:
        return [round(width, 1), card]
    wide = max(text_width(line, LINE_SIZE) + 14 for lines in labels for line in lines)
    return [round(max(width, wide * len(labels)), 1), card + 10 + LABEL * max(map(len, labels))]


def _label(tensor: Tensor) -> list[str]:
    """What stands beside a tensor: its shape, its type unless it is the usual one, and its scale."""
    if tensor.shape is None and not tensor.dtype:
        return []
    usual = tensor.dtype in ("float32", "")
    scale = networks.quantization_text(tensor.quantization)
    first = networks.shape(tensor.shape) if usual else networks.type_and_shape(tensor)
    return [first, scale] if scale else [first]


def _constant(tensor: Tensor) -> str:
    match tensor.values:
        case (only,):
            return _short(networks.value_text(only))
        case tuple() if len(tensor.values) <= FEW:
            return _short(networks.value_text(tensor.values))
    return networks.shape(tensor.shape) if tensor.dtype == "float32" else networks.type_and_shape(tensor)


def _short(name: str) -> str:
    """The last parts of a name that fit into a box."""
    if len(name) <= LONGEST_NAME:
        return name
    parts = name.split("/")
    kept = parts.pop()[-LONGEST_NAME:]
    while parts and len(parts[-1]) + len(kept) < LONGEST_NAME:
        kept = f"{parts.pop()}/{kept}"
    return f"…{kept}"


def _tensor(tensor: Tensor) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": printable(tensor.name),
        "type": networks.type_and_shape(tensor),
        "role": tensor.role,
        "label": _label(tensor),
        "whole": bool(tensor.dtype) and not tensor.dtype.startswith(("float", "bfloat", "double", "complex")),
    }
    if tensor.quantization is not None:
        found["scale"] = _scale(tensor.quantization)
    if tensor.values is not None:
        found["values"] = networks.value_text(tensor.values)
    if tensor.bytes is not None:
        found["bytes"] = byte_size(tensor.bytes)
    if tensor.weights is not None and tensor.values is None:
        found["weights"] = _weights(tensor.weights)
    return found


def _scale(found: Quantization) -> str:
    if len(found.scales) == 1:
        return f"scale {found.scales[0]:.6g}, zero point {(*found.zero_points, 0)[0]}"
    axis = "" if found.axis is None else f", along axis {found.axis}"
    return networks.quantization_text(found) + axis


def _weights(found: Weights) -> Mapping[str, Any]:
    most = max(max(found.counts), 1)
    strange = f", {found.strange:,} not finite" if found.strange else ""
    return {
        "low": f"{found.low:.4g}",
        "high": f"{found.high:.4g}",
        "about": f"mean {found.mean:.3g}, deviation {found.deviation:.3g}, {found.zeros * 100:.3g} % zero{strange}",
        "bars": "".join(_level(count, most) for count in found.counts),
    }


def _level(count: int, most: int) -> str:
    """The character for a bar; only an empty interval has the lowest."""
    return LEVELS[-(-count * (len(LEVELS) - 1) // most)]
