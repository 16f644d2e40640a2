"""What a target says of itself, as frozen rows: its kernels, its rules of quantisation, how it stores each scheme.

Rules of `passes` say how a node is replaced, a target says whether: `lacks` is the one question that all ask.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache

from narrowcast.model import CHANNELS_LAST, OPSET, Layout, ir

__all__ = [
    "FixedScale",
    "Kernel",
    "Loops",
    "OpRule",
    "Recurrent",
    "Sharing",
    "Storage",
    "Target",
    "fits_all",
    "lacks",
    "lacks_form",
    "lacks_kernel",
    "lacks_type",
    "no_int4",
    "storable",
    "takes_last_axis",
]

Fits = Callable[[ir.Node], str]
"""Says why a kernel cannot run a node, in words that complete "LiteRT ..."; "" where it can."""


Narrow = Callable[[ir.Node, "Storage"], str]
"""Says why no kernel computes a node in a storage of 4-bit weights, in words that follow "as"; "" where one does."""


def fits_all(node: ir.Node) -> str:
    """Every form of its operator."""
    return ""


def no_int4(node: ir.Node, storage: Storage) -> str:
    """Weights of 4 bits are floats again before anything computes with them, or there are none."""
    if not storage.explicit:
        return "no kernel for it takes weights of 4 bits"
    return "only dense layers have weights in blocks" if storage.block else ""


class Sharing(Enum):
    """How the scales of an operator's inputs and outputs are tied.

    OWN: each has its own. SAME: all inputs and outputs share one. FIXED: the output's scale is prescribed.
    """

    OWN = "own"
    SAME = "same"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class FixedScale:
    """A prescribed output scale and zero point, for int8 and for int16 activations."""

    int8: tuple[float, int]
    int16: tuple[float, int]


@dataclass(frozen=True, slots=True)
class OpRule:
    """How an operator of the canonical dialect is quantised on a target.

    Attributes:
        int8: whether there is a kernel for 8-bit activations.
        int16: whether there is one for int16 activations with int8 weights.
        uint8: whether the one for 8-bit activations takes unsigned ones.
        sharing: how scales are tied.
        fixed: the prescribed output scale, for `Sharing.FIXED`.
        weights: (input index, channel axis in ONNX's layout) of constant weights, or None.
        bias: input index of the bias, or None.
        data: indices of the inputs that are quantised as activations; None for all float inputs.
        hybrid: whether there is a kernel for int8 weights beside float activations.
        fits: says why the integer kernel cannot run a node, in words that follow "as"; "" where it can.
        as_they_come: whether the runtime quantises float activations in front of stored weights whatever a file says of
            these.
        int4: says why a node's weights cannot have 4 bits, asked with the storage that they are to have.
        rescale: the scale of the first operand, times that of weights if there are any, is less than so many times the
            output's.
        only_read: types that there are kernels for as well, which the target's own files keep and nobody else chooses.
        apart: types in which scales may differ in spite of `Sharing.SAME`.
    """

    int8: bool = True
    int16: bool = True
    uint8: bool = True
    sharing: Sharing = Sharing.OWN
    fixed: FixedScale | None = None
    weights: tuple[int, int] | None = None
    bias: int | None = None
    data: tuple[int, ...] | None = None
    hybrid: bool = False
    fits: Fits = fits_all
    as_they_come: bool = False
    int4: Narrow = no_int4
    rescale: float = math.inf
    only_read: frozenset[str] = frozenset()
    apart: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a target's kernels for one operator can run in float or in plain integers.

    Attributes:
        fits: says why a node's form is beyond the kernel, "" where it is not; its docstring is for the page of
            coverage.
        types: numpy names of the integer types, not quantised, in which it computes; None for all.
        rank: the highest of its tensors, where that is below the target's.
        moves: whether it copies bytes, of floats of any size too.
        last_axis: whether it works along the last axis only of what is stored, wherever that is in the graph.
    """

    fits: Fits = fits_all
    types: frozenset[str] | None = None
    rank: int | None = None
    moves: bool = False
    last_axis: bool = False


@dataclass(frozen=True, slots=True)
class Recurrent:
    """How a recurrent layer that a target lacks is spelled: as one operator, as a loop, or with all its steps unrolled.

    Attributes:
        lstm: from how many steps on `narrowcast::LSTM` is better than these unrolled; infinite: never.
        rnn: the same of `narrowcast::RNN`.
        light: bytes of a direction's recurrent weights up to which that operator is better than a loop.
        heavy: bytes of them from which on a loop is better than unrolled steps, where the copies of all steps are more
            than `cache`.
        cache: bytes of all copies that need not leave it.
        many: from so many steps on, a loop is better however light it is.
        block: steps of one loop at most.
    """

    lstm: float = math.inf
    rnn: float = math.inf
    light: int = 0
    heavy: int = 2**16
    cache: int = 2**20
    many: int = 128
    block: int = 64

    def in_sequence(self, kind: str, steps: int, batch: int, weights: int) -> bool:
        """Whether a layer that can be `narrowcast::LSTM` or `narrowcast::RNN` becomes it."""
        first = {"LSTM": self.lstm, "RNN": self.rnn}.get(kind, math.inf)
        return batch == 1 and weights <= self.light and steps >= first

    def in_loop(self, steps: int, weights: int) -> bool:
        """Whether another becomes a loop."""
        return steps >= self.many or (weights >= self.heavy and weights * steps > self.cache)


@dataclass(frozen=True, slots=True)
class Storage:
    """How a target stores what a scheme quantises.

    Attributes:
        activations: "float32", "int8", "uint8" or "int16".
        weights: "float32", "float16", "int8" or "int4".
        bias: "int32" for integers of scale input * weights, None where biases stay in float.
        symmetric: whether the zero points of activations are 0.
        block: how many along the inputs share a scale if weights have 4 bits; 0 for all of a channel.
        explicit: whether weights become floats before an operator computes with them, in floats.
        narrow: whether weights leave out the lowest integer: [-127, 127].
        powers: whether all scales are powers of two.
        shifts: whether the arithmetic of integers is spelled in operators on integers (`passes.shifts`), which for
            scales that are powers of two are additions, shifts and clips.
        recurrent: what becomes of recurrent layers that the target lacks.
    """

    activations: str = "float32"
    weights: str = "float32"
    bias: str | None = None
    block: int = 0
    explicit: bool = False
    symmetric: bool = False
    narrow: bool = True
    powers: bool = False
    shifts: bool = False
    recurrent: Recurrent = field(default_factory=Recurrent)


@dataclass(frozen=True, slots=True)
class Loops:
    """When a loop of a known number of steps stays one.

    Attributes:
        most: a loop is unrolled to at most so many nodes; 0 keeps every loop.
        largest: no graph is unrolled to more nodes than this.
    """

    most: int = 4_000
    largest: int = 20_000


_FUSED = re.compile(r"Relu|Add|Clip\([^,]*,[^,]*\)")
"""What `groups.group` knows to follow an anchor."""


@dataclass(frozen=True, slots=True)
class Target:
    """A runtime: what it can run, and how it wants things stored.

    Attributes:
        name: as in the tables of formats.
        title: as people call it, for messages.
        opset: of ONNX, for targets that take its operators; that of the canonical graph otherwise.
        rank: the highest rank of a tensor, None where there is no limit.
        layout: how it stores images; None leaves the order as it is.
        kernels: by operator ("Conv"; "narrowcast::Loop" outside the default domain); an operator without is lacking.
        floats: numpy names of the types of floats in which kernels compute; None for all.
        integers: rules of quantisation by operator, or by a clip's canonical name; one without is computed in float.
        storage: by the name of each scheme that the target has.
        kept: likewise of schemes that files may have and the quantiser does not make.
        fuses: for each anchor ("Conv") what becomes part of its operator: activations by their canonical names
            (`groups.activation_of`: "Relu", "Clip(0,6)"), and after a MatMul the `groups.BIAS`.
        loops: when loops are unrolled.
    """

    name: str
    title: str = ""
    opset: int = OPSET
    rank: int | None = None
    layout: Layout | None = None
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    floats: frozenset[str] | None = None
    integers: Mapping[str, OpRule] = field(default_factory=dict)
    storage: Mapping[str, Storage] = field(default_factory=dict)
    kept: Mapping[str, Storage] = field(default_factory=dict)
    fuses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    loops: Loops = field(default_factory=Loops)

    def __post_init__(self) -> None:
        """What cannot be fused is a mistake of the page, not a wish that is passed over in silence."""
        unknown = sorted({name for names in self.fuses.values() for name in names if not _FUSED.fullmatch(name)})
        if unknown:
            raise ValueError(f"{self.name} fuses {', '.join(unknown)}: only Relu, Clip(low,high) and Add can be fused")

    def stored(self, scheme: str) -> Storage:
        """How a scheme is stored that the target has, or a file keeps; floats where neither is so."""
        return self.storage.get(scheme) or self.kept.get(scheme, Storage())


def storable(node: ir.Node, rule: OpRule, storage: Storage) -> tuple[Storage, str]:
    """How the weights of a node are stored where kernels lack those of 4 bits, or blocks of them.

    Returns:
        The storage with the next finer weights that there are kernels for, and why it is another; "" where it is not.
    """
    whole = replace(storage, block=0)
    if storage.weights != "int4":
        return whole, ""
    why = rule.int4(node, storage)
    if not why:
        return storage, ""
    if storage.block and not rule.int4(node, whole):
        return whole, why
    return replace(whole, weights="int8"), why


def lacks(node: ir.Node, target: Target) -> str:
    """Why a target cannot run a node, in words that complete its title; "" where it can.

    A node is asked about as it will be computed: in floats, or in the plain integers of its operands. Its order of axes
    may be ONNX's or that of a laid-out graph.
    """
    return lacks_kernel(node, target) or _beyond_rank(node, target)


def lacks_kernel(node: ir.Node, target: Target) -> str:
    """`lacks`, whatever the rank, which no rule mends."""
    return lacks_form(node, target) or lacks_type(node, target)


def lacks_form(node: ir.Node, target: Target) -> str:
    """`lacks`, whatever rank and types: the operator, its attributes and arguments."""
    kernel = target.kernels.get(_name(node))
    if kernel is None:
        return f"has no operator for {node.op_type}"
    return kernel.fits(node)


def lacks_type(node: ir.Node, target: Target) -> str:
    """`lacks`, whatever the form: the types of floats, and of the integers that the first operand has."""
    kernel = target.kernels.get(_name(node))
    if kernel is None:
        return f"has no operator for {node.op_type}"
    if target.floats is not None and not kernel.moves:
        for value in (*node.inputs, *node.outputs):
            name = _float_name(value.dtype) if value is not None and value.dtype is not None else ""
            if name and name not in target.floats:
                return f"does not compute {node.op_type} in {name}"
    source = node.inputs[0] if node.inputs else None
    if kernel.types is None or source is None or source.dtype is None or _float_name(source.dtype):
        return ""
    name = source.dtype.numpy().name
    return "" if name in kernel.types else f"does not compute {node.op_type} in {name}"


@cache
def _float_name(dtype: ir.DataType) -> str:
    """The numpy name of a type of floats, "" of others."""
    return dtype.numpy().name if dtype.is_floating_point() else ""


def takes_last_axis(node: ir.Node, target: Target) -> bool:
    """Whether a target's kernel for a node works along the last axis of what is stored only."""
    kernel = target.kernels.get(_name(node))
    return kernel is not None and kernel.last_axis


def _name(node: ir.Node) -> str:
    """The operator as `Target.kernels` has it: spatial operators are the same in either order."""
    return node.op_type if node.domain in ("", CHANNELS_LAST) else f"{node.domain}::{node.op_type}"


def _beyond_rank(node: ir.Node, target: Target) -> str:
    kernel = target.kernels.get(_name(node))
    most = target.rank if kernel is None or kernel.rank is None else kernel.rank
    if most is None:
        return ""
    ranks = [len(value.shape) for value in (*node.inputs, *node.outputs) if value is not None and value.shape]
    rank = max(ranks, default=0)
    return f"has {node.op_type} of at most {most} axes, not {rank}" if rank > most else ""
