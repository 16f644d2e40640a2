"""The schemes that a network can be quantised by, and the names that other tools give them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from narrowcast.errors import UsageError, did_you_mean
from narrowcast.model import Model, ir
from narrowcast.targets.spelling import becomes_float, is_quantizer, is_weight

__all__ = ["NOTES", "SCHEMES", "Scheme", "add_note", "by_bits", "notes_of", "scheme_named", "scheme_of"]

NOTES = "narrowcast.notes"
"""Key of the graph's metadata under which notes for the user lie, as a JSON list."""


def notes_of(model: Model) -> list[str]:
    """The notes for the user that a graph carries."""
    found: list[str] = json.loads(model.ir.metadata_props.get(NOTES, "[]"))
    return found


def add_note(model: Model, note: str) -> None:
    """Adds a note for the user to those that a graph carries."""
    model.ir.metadata_props[NOTES] = json.dumps([*notes_of(model), note])


SMALLEST_BLOCK = 16


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way of storing and computing.

    Attributes:
        name: as on the command line.
        activations: "float32", "int8" or "int16".
        weights: "float32", "float16", "int8" or, by `by_bits`, "int4".
        integer_ports: whether inputs and outputs are integers too.
        description: one line for people.
        aliases: names that ai-edge-quantizer's recipes and others use.
        compared: whether a comparison that names no schemes has it.
        block: how many weights of 4 bits along the inputs share a scale; 0 for all of an output channel.
    """

    name: str
    activations: str
    weights: str
    integer_ports: bool
    description: str
    aliases: tuple[str, ...] = ()
    compared: bool = True
    block: int = 0

    @property
    def settings(self) -> dict[str, int]:
        """What a trial's settings say of weights as these are, where they are not of 8 bits."""
        found = {"weight_bits": 4, "block_size": self.block} if self.weights == "int4" else {}
        return {name: value for name, value in found.items() if value}

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
            ("dynamic_wi8_afp32", "dynamic_wi8c_afp32", "dynamic"),
        ),
        Scheme(
            "weight_only",
            "float32",
            "int8",
            False,
            "int8 weights that become floats, float32 arithmetic: small files for whom nothing may change",
            ("weight_only_wi8_afp32",),
            compared=False,
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

_NARROW: Mapping[str, tuple[str, int]] = {
    "dynamic_wi4_afp32": ("dynamic_range", 0),
    "dynamic_wi4c_afp32": ("dynamic_range", 0),
    "dynamic_wi4b32_afp32": ("dynamic_range", 32),
    "dynamic_wi4b64_afp32": ("dynamic_range", 64),
    "weight_only_wi4_afp32": ("weight_only", 0),
    "static_wi4_ai8": ("int8", 0),
}
"""Aliases that say weights of 4 bits too: the scheme, and its block."""


def by_bits(scheme: Scheme, weight_bits: int | None, block_size: int | None) -> Scheme:
    """A scheme with weights of so many bits, of which so many share a scale; None for its own.

    Raises:
        UsageError: there are no such weights.
    """
    if weight_bits not in (None, 4, 8):
        raise UsageError(f"no weights of {weight_bits} bits", hint="4 or 8")
    if weight_bits is not None and not scheme.weights.startswith("int"):
        raise UsageError(f"the scheme {scheme.name} has no integer weights", hint="--scheme dynamic_range, for one")
    if weight_bits is not None:
        scheme = replace(scheme, weights=f"int{weight_bits}", block=scheme.block if weight_bits == 4 else 0)
    if block_size is None:
        return scheme
    if scheme.weights != "int4":
        raise UsageError("blocks are of weights of 4 bits", hint="--weight-bits 4")
    if block_size < SMALLEST_BLOCK or block_size & (block_size - 1):
        raise UsageError(f"no blocks of {block_size} weights", hint=f"a power of two from {SMALLEST_BLOCK} up")
    return replace(scheme, block=block_size)


def scheme_named(name: str) -> Scheme:
    """The scheme of that name or alias, which may say weights of 4 bits too.

    Raises:
        UsageError: there is none.
    """
    if name in _NARROW:
        known, block = _NARROW[name]
        return replace(SCHEMES[known], weights="int4", block=block)
    for scheme in SCHEMES.values():
        if name == scheme.name or name in scheme.aliases:
            return scheme
    guess = did_you_mean(
        name, (*SCHEMES, *_NARROW, *(alias for scheme in SCHEMES.values() for alias in scheme.aliases))
    )
    raise UsageError(f"unknown scheme {name!r}", hint=f"{guess} schemes: {', '.join(SCHEMES)}".strip())


def scheme_of(model: Model) -> str:
    """The name of the scheme by which a canonical graph is quantised already, "float32" if it is not.

    "uint8", which is no scheme to be chosen, has weights and activations of that type; other mixtures are int8.
    """
    stored = {node.outputs[0].dtype for node in model.graph if node.op_type == "QuantizeLinear"}
    if not stored:
        integers = [node.outputs[0] for node in model.graph if node.op_type == "DequantizeLinear"]
        if integers:
            return "weight_only" if all(map(becomes_float, integers)) else "dynamic_range"
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
