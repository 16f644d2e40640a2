"""The schemes that a network can be quantised by, and the names that other tools give them."""

from __future__ import annotations

from dataclasses import dataclass

from narrowcast.errors import UsageError, did_you_mean
from narrowcast.model import Model, ir
from narrowcast.targets.spelling import is_quantizer, is_weight

__all__ = ["NOTES", "SCHEMES", "Scheme", "scheme_named", "scheme_of"]

NOTES = "narrowcast.notes"
"""Key of the graph's metadata under which notes for the user lie, as a JSON list."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way of storing and computing.

    Attributes:
        name: as on the command line.
        activations: "float32", "int8" or "int16".
        weights: "float32", "float16" or "int8".
        integer_ports: whether inputs and outputs are integers too.
        description: one line for people.
        aliases: names that ai-edge-quantizer's recipes and others use.
        compared: whether a comparison that names no schemes has it.
    """

    name: str
    activations: str
    weights: str
    integer_ports: bool
    description: str
    aliases: tuple[str, ...] = ()
    compared: bool = True

    @property
    def calibrated(self) -> bool:
        """Whether ranges of activations are needed."""
        return self.activations != "float32"


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("float32", "float32", "float32", False, "as it is", ("fp32", "float")),
        Scheme(
            "float16", "float32", "float16", False, "float16 weights, float32 arithmetic", ("fp16", "weight_only_fp16")
        ),
        Scheme(
            "dynamic_range",
            "float32",
            "int8",
            False,
            "int8 weights, activations quantised as they come",
            ("dynamic_wi8_afp32", "dynamic"),
        ),
        Scheme("int8", "int8", "int8", False, "int8 inside, float inputs and outputs", ("static_wi8_ai8",)),
        Scheme("full_int8", "int8", "int8", True, "int8 (or uint8) through and through", ("full_integer",)),
        Scheme(
            "int16x8",
            "int16",
            "int8",
            False,
            "int16 activations, int8 weights: accurate, slow on most CPUs",
            ("static_wi8_ai16", "16x8"),
        ),
        Scheme(
            "int8_pow2",
            "int8",
            "int8",
            False,
            "int8 by scales that are powers of two: shifts in the place of multiplications",
            ("pow2", "power2"),
            compared=False,
        ),
    )
}


def scheme_named(name: str) -> Scheme:
    """The scheme of that name or alias.

    Raises:
        UsageError: there is none.
    """
    for scheme in SCHEMES.values():
        if name == scheme.name or name in scheme.aliases:
            return scheme
    guess = did_you_mean(name, (*SCHEMES, *(alias for scheme in SCHEMES.values() for alias in scheme.aliases)))
    raise UsageError(f"unknown scheme {name!r}", hint=f"{guess} schemes: {', '.join(SCHEMES)}".strip())


def scheme_of(model: Model) -> str:
    """The name of the scheme by which a canonical graph is quantised already, "float32" if it is not.

    "uint8", which is no scheme to be chosen, has weights and activations of that type; other mixtures are int8.
    """
    stored = {node.outputs[0].dtype for node in model.graph if node.op_type == "QuantizeLinear"}
    if not stored:
        if any(node.op_type == "DequantizeLinear" for node in model.graph):
            return "dynamic_range"
        return "float16" if _stores_halves(model) else "float32"
    if ir.DataType.INT16 in stored:
        return "int16x8"
    dequantized = [node.inputs[0] for node in model.graph if is_quantizer(node)]
    weights = {value.dtype for value in dequantized if value is not None and is_weight(value)}
    return "uint8" if stored == weights - {ir.DataType.INT32} == {ir.DataType.UINT8} else "int8"


def _stores_halves(model: Model) -> bool:
    """Whether float16 is what constants are stored in, and nothing is computed in."""
    halves = ir.DataType.FLOAT16
    fed = [node.inputs[0] for node in model.graph if node.op_type == "Cast"]
    computed = any(output.dtype is halves for node in model.graph for output in node.outputs)
    return not computed and any(value is not None and is_weight(value) and value.dtype is halves for value in fed)
