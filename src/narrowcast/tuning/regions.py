"""A graph in blocks, each a layer with weights and what follows it, and what share of the arithmetic a block has."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from narrowcast.dialect.build import dims
from narrowcast.model import ir
from narrowcast.targets.spelling import dequantizer, parameters_of, weights_behind

__all__ = ["Block", "blocks_of", "share_in_floats"]

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbours in a graph's order: a layer with weights, its activation, and all up to the next such layer.

    Attributes:
        nodes: their names.
        products: their multiply-accumulates.
    """

    nodes: tuple[str, ...]
    products: int


def blocks_of(graph: ir.Graph) -> list[Block]:
    """The blocks of a sorted float graph; what comes before the first layer with weights belongs to that."""
    found: list[list[ir.Node]] = [[]]
    weighed = False
    for node in graph:
        if _weights(node) is not None:
            if weighed:
                found.append([])
            weighed = True
        found[-1].append(node)
    return [
        Block(tuple(node.name for node in nodes if node.name), sum(map(_products, nodes))) for nodes in found if nodes
    ]


def share_in_floats(graph: ir.Graph) -> float:
    """The share of a quantised graph's multiply-accumulates that are not those of 8-bit integers, in 0..1."""
    counts = [(_products(node), _in_bytes(node)) for node in graph]
    total = sum(count for count, _ in counts)
    return sum(count for count, small in counts if not small) / total if total else 0.0


def _in_bytes(node: ir.Node) -> bool:
    """Whether a layer multiplies integers of 8 bits by stored integers."""
    if len(node.inputs) < 2 or dequantizer(node.inputs[1]) is None:
        return False
    how = parameters_of(dequantizer(node.inputs[0]))
    return how is not None and how.dtype in ("int8", "uint8")


def _weights(node: ir.Node) -> tuple[int, ...] | None:
    """The shape of a layer's constant weights; None for other nodes."""
    known = node.op_type in PRODUCTS and not node.domain and len(node.inputs) > 1
    return dims(weights_behind(node.inputs[1])) if known else None


def _products(node: ir.Node) -> int:
    weights = _weights(node)
    if weights is None:
        return 0
    if node.op_type == "ConvTranspose":  # each element of the input meets the weights of its channel once
        return prod(dims(node.inputs[0]) or ()) * prod(weights[1:])
    return prod(dims(node.outputs[0]) or ()) * (weights[0] if node.op_type == "MatMul" else prod(weights[1:]))
