"""Repairs: steps from `Model` to `Model` that win back what quantisation loses, each in a module of its own.

Those of stage "floats" change the float graph before it is calibrated, those of stage "integers" the integers of a
quantised one, whose scales stay: so every scheme and every writer profits.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from narrowcast.errors import UsageError, did_you_mean
from narrowcast.model import Feeds, Model
from narrowcast.passes import tidy
from narrowcast.quantization.scheme import add_note
from narrowcast.targets.rules import Target

__all__ = ["REPAIRS", "Evidence", "Repair", "repair_named", "repaired"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a repair may look at.

    Attributes:
        floats: the graph before it is quantised: canonical, adapted to the target, with the names of the quantised one.
        target: whose rules hold.
        samples: opens the first so many calibration samples, the same at each call.
        seed: of all that is drawn.
        progress: is told the number of samples done.
    """

    floats: Model
    target: Target
    samples: Callable[[int], Feeds]
    seed: int = 0
    progress: Callable[[int], None] = lambda _done: None


@dataclass(frozen=True, slots=True)
class Repair:
    """A repair that can be asked for.

    Attributes:
        name: as on the command line.
        stage: "floats" before the calibration, "integers" after the graph was quantised.
        module: whose `repair(model, evidence)` gives the repaired copy.
        line: what it does, for people.
        source: the paper.
    """

    name: str
    stage: Literal["floats", "integers"]
    module: str
    line: str
    source: str


REPAIRS: dict[str, Repair] = {
    row.name: row
    for row in (
        Repair(
            "equalize",
            "floats",
            "narrowcast.quantization.repairs.equalize",
            "channels are scaled between layers, so that one scale of a tensor fits all; for per-tensor weights",
            "M. Nagel et al., Data-Free Quantization, https://arxiv.org/abs/1906.04721, section 4.1",
        ),
        Repair(
            "gptq",
            "integers",
            "narrowcast.quantization.repairs.gptq",
            "weights are rounded so that what each layer computes changes least",
            "E. Frantar et al., GPTQ, https://arxiv.org/abs/2210.17323",
        ),
        Repair(
            "bias",
            "integers",
            "narrowcast.quantization.repairs.bias",
            "biases make up for the mean error of their layer's weights and inputs",
            "M. Nagel et al., Data-Free Quantization, https://arxiv.org/abs/1906.04721, section 4.2",
        ),
        Repair(
            "smooth",
            "floats",
            "narrowcast.quantization.repairs.smooth",
            "channels that are large behind a normalisation are made smaller, the weights that read them larger",
            "G. Xiao et al., SmoothQuant, https://arxiv.org/abs/2211.10438",
        ),
    )
}


def repair_named(name: str) -> Repair:
    """The repair of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in REPAIRS:
        raise UsageError(
            f"unknown repair {name!r}", hint=f"{did_you_mean(name, REPAIRS)} repairs: {', '.join(REPAIRS)}".strip()
        )
    return REPAIRS[name]


def repaired(model: Model, name: str, evidence: Evidence) -> Model:
    """A repaired copy of a model; a note says where integers stayed as they were.

    Args:
        model: of the repair's stage: `evidence.floats`, or a quantised copy of it; it is not changed.
        name: of the repair.
        evidence: what it may look at.

    Raises:
        UsageError: there is no such repair.
        DataError: the samples do not fit the model.
        MissingExtraError: a package that it needs is not installed.
    """
    found: Model = importlib.import_module(repair_named(name).module).repair(model, evidence)
    tidy.remove_unused(found)  # the constants in whose place others are now
    if REPAIRS[name].stage == "integers" and _same_constants(found, model):
        add_note(found, f"the repair {name} found nothing to change")
    return found


def _same_constants(one: Model, other: Model) -> bool:
    first, second = (
        {name: value.const_value for name, value in model.graph.initializers.items() if value.const_value is not None}
        for model in (one, other)
    )
    return first.keys() == second.keys() and all(
        tensor is second[name] or np.array_equal(tensor.numpy(), second[name].numpy()) for name, tensor in first.items()
    )
