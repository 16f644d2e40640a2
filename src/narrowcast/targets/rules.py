"""What a target says of quantisation, as frozen rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

__all__ = ["FixedScale", "OpRule", "Sharing", "Target"]


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
    """One operator of the canonical dialect on a target.

    Attributes:
        int8: whether there is a kernel for int8 activations.
        int16: whether there is one for int16 activations with int8 weights.
        sharing: how scales are tied.
        fixed: the prescribed output scale, for `Sharing.FIXED`.
        weights: (input index, channel axis in ONNX's layout) of constant weights, or None.
        bias: input index of the bias, or None.
        data: indices of the inputs that are quantised as activations; None for all float inputs.
        hybrid: whether there is a kernel for int8 weights beside float activations.
    """

    int8: bool = True
    int16: bool = True
    sharing: Sharing = Sharing.OWN
    fixed: FixedScale | None = None
    weights: tuple[int, int] | None = None
    bias: int | None = None
    data: tuple[int, ...] | None = None
    hybrid: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A runtime's rules; an operator without a row is computed in float."""

    name: str
    rules: dict[str, OpRule] = field(default_factory=dict)
