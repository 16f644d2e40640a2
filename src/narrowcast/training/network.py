"""`Network`: a canonical graph as a torch module, fake-quantised where the graph is quantised.

One interpreter for both: a QuantizeLinear with its DequantizeLinear rounds what passes and lets gradients through, and
integers behind a DequantizeLinear are floats that learn, rounded to the same grid at each use. So what it computes is
what the graph's file computes, and a float graph is the case without roundings.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from narrowcast import targets
from narrowcast.dialect.build import constant_of, tensor_of
from narrowcast.errors import DataError, NarrowcastError, UnsupportedError, foreign_as, shown
from narrowcast.model import Array, Model, ir
from narrowcast.passes.canonicalize import DECOMPOSED
from narrowcast.passes.decompose.kept import opened_kept
from narrowcast.passes.recurrent.spelled import opened_beyond
from narrowcast.targets.groups import activation_of, rule_of
from narrowcast.targets.rules import Target
from narrowcast.targets.spelling import axis_of, quantizer_before, scales_of
from narrowcast.training.quantizers import Grid, fake_quantize, real, stored
from narrowcast.training.registry import bound

__all__ = ["Network", "Rounded", "from_torch", "to_torch"]

SMALLEST = 2.0**-60
"""Of learned steps, as of `quantization.parameters`."""
EDGE = 0.49
"""How far from its integer, in steps, a float may begin to learn: it is rounded to that integer."""

Tap = Callable[[str, Tensor], Tensor]
"""Sees each value by its name once it is computed, and says what takes its place."""


@dataclass(frozen=True, slots=True)
class Step:
    """One node's computation.

    Attributes:
        function: of the inputs' tensors.
        inputs: names of values, None where one is left out.
        outputs: names of values.
        where: the node, for errors.
    """

    function: Callable[..., Any]
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    where: str


class Rounded(nn.Module):
    """A constant that is stored in integers.

    Attributes:
        latent: what learns, in units of the step that it started with.
        start: that step, of a shape that broadcasts.
        grid: the integers.
        block: (axis, elements) that share a step, None where the step's shape says so.
    """

    latent: nn.Parameter
    start: Tensor

    def __init__(self, latent: Tensor, step: Tensor, grid: Grid, block: tuple[int, int] | None) -> None:
        super().__init__()
        self.grid, self.block = grid, block
        self.latent = nn.Parameter(latent, requires_grad=latent.numel() > 1)
        self.register_buffer("start", step, persistent=False)

    def forward(self, step: Tensor) -> Tensor:
        """The numbers that the integers stand for.

        Args:
            step: of as many elements as the one that it started with.
        """
        return fake_quantize(self.latent * self._along(self.start), self._along(step), self.grid)

    def integers(self, step: Tensor) -> Tensor:
        """What is stored, as floats."""
        return stored(self.latent * self._along(self.start), self._along(step), self.grid)

    def _along(self, step: Tensor) -> Tensor:
        step = step.reshape(self.start.shape)
        if self.block is None:
            return step
        axis, elements = self.block
        return step.repeat_interleave(elements, axis).narrow(axis, 0, self.latent.shape[axis])


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a network keeps a constant: the kind of list, the place in it, and for what is rounded its step's name."""

    kind: str
    index: int
    step: str = ""


class Network(nn.Module):
    """A canonical model as a torch module. Inputs and outputs are those of the model, in its order and layout.

    Float constants of more than one element are parameters. A batch may be larger than the model's wherever its
    operators treat samples alike (`finetune` makes sure of it).

    Args:
        model: canonical, float or quantised; it is not changed.
        floats: real numbers that quantised weights were rounded from, by the name of the integers.
        learned_steps: whether scales of activations and weights learn, where the target's rules prescribe none.

    Attributes:
        model: as it was.
        trained: float constants.
        rounded: constants that are stored in integers.
        steps: scales of all that is quantised.

    Raises:
        UnsupportedOpError: there is no torch function for an operator.
    """

    def __init__(self, model: Model, floats: Mapping[str, Array] | None = None, *, learned_steps: bool = False) -> None:
        super().__init__()
        self.model, self.learned_steps = model, learned_steps
        self.trained, self.steps, self.rounded = nn.ParameterList(), nn.ParameterList(), nn.ModuleList()
        self.places: dict[str, _Place] = {}
        self.products: dict[str, tuple[str, str]] = {}
        self._constants = 0
        self._floats = floats or {}
        self._plans: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[Step, tuple[str, ...]]]] = {}
        self._program: list[Step] = []
        self._alike: dict[tuple[float, str], str] = {}
        self._before: dict[str, str] = {}
        self._ports: dict[str, tuple[str, Grid]] = {}
        self._target = _target_of(model)
        self._compile(opened_kept(opened_beyond(model.ir)).graph)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs for some inputs; one alone is no tuple."""
        names = [spec.name for spec in self.model.inputs]
        if len(inputs) != len(names):
            raise DataError(f"the network takes {len(names)} inputs, not {len(inputs)}", hint=", ".join(names))
        wanted = [spec.name for spec in self.model.outputs]
        found = self.run(dict(zip(names, inputs, strict=True)), wanted)
        return found[wanted[0]] if len(wanted) == 1 else tuple(found[name] for name in wanted)

    def run(self, feed: Mapping[str, Tensor], wanted: Sequence[str], tap: Tap | None = None) -> dict[str, Tensor]:
        """Computes some values from others.

        Args:
            feed: inputs, or any values that stand in the place of what would compute them.
            wanted: names of values.
            tap: sees what is computed, and may replace it.

        Raises:
            UnsupportedError: torch cannot compute a node.
        """
        clipped = {self._before[name]: value for name, value in feed.items() if name in self._before}
        values, where = {**clipped, **feed}, ""
        try:
            with foreign_as(UnsupportedError, "torch cannot compute it"):
                for step, past in self._plan(tuple(values), tuple(wanted)):
                    where = step.where
                    made = step.function(*(None if name is None else self._value(name, values) for name in step.inputs))
                    for name, value in zip(step.outputs, made if isinstance(made, tuple) else (made,), strict=False):
                        values[name] = value if tap is None else tap(name, value)
                    for name in past:
                        values.pop(name, None)
        except NarrowcastError as error:
            error.where = error.where or where
            raise
        return {name: self._value(name, values) for name in wanted}

    def real(self, name: str, value: Tensor) -> Tensor:
        """A value as a real number: what an output of integers stands for."""
        if name not in self._ports:
            return value
        step, grid = self._ports[name]
        return real(value, self.constant(step), grid)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(itertools.chain(self.parameters(), self.buffers()), torch.empty(0)).device

    def parameter_of(self, name: str) -> nn.Parameter | None:
        """What learns of a constant; None for one that cannot."""
        place = self.places[name]
        if place.kind == "rounded":
            return self.rounded_at(place.index).latent
        if place.kind == "constant":
            return None
        return cast(nn.Parameter, (self.trained if place.kind == "trained" else self.steps)[place.index])

    def rounded_at(self, index: int) -> Rounded:
        """One of `rounded`."""
        return cast(Rounded, self.rounded[index])

    def reached(self, given: Sequence[str], wanted: Sequence[str]) -> list[str]:
        """The names of the constants that are read on the way from some values to others, and of their steps."""
        known = {*given, *(self._before[name] for name in given if name in self._before)}
        names = [name for step, _ in self._plan(tuple(known), tuple(wanted)) for name in step.inputs if name]
        found = [name for name in dict.fromkeys(names) if name in self.places]
        return list(dict.fromkeys((*found, *(self.places[name].step for name in found if self.places[name].step))))

    def _value(self, name: str, values: dict[str, Tensor]) -> Tensor:
        if name not in values:
            values[name] = self.constant(name)
        return values[name]

    def constant(self, name: str) -> Tensor:
        """A constant of the graph as it stands, rounded where it is stored in integers."""
        place = self.places[name]
        if place.kind == "trained":
            return cast(Tensor, self.trained[place.index])
        if place.kind == "rounded":
            return cast(Tensor, self.rounded[place.index](self.constant(place.step)))
        if place.kind == "step":
            return self._step(name, place.index)
        found: Tensor = getattr(self, f"constant_{place.index}")
        return found

    def _step(self, name: str, index: int) -> Tensor:
        """A scale; a bias's is the product of those of what it is added to where one of these learns."""
        own, sources = self.steps[index], self.products.get(name)
        if sources is not None:
            factors = [self.places[source].index for source in sources]
            if any(self.steps[factor].requires_grad for factor in factors):
                source, weights = (self.constant(part) for part in sources)
                return source.reshape(-1) * weights.reshape(-1)
        return own.clamp_min(SMALLEST) if own.requires_grad else cast(Tensor, own)

    def _plan(self, given: tuple[str, ...], wanted: tuple[str, ...]) -> list[tuple[Step, tuple[str, ...]]]:
        """The steps from some values to others, each with the values that nobody needs after it."""
        key = given, wanted
        if key not in self._plans:
            needed, steps = set(wanted), list[Step]()
            for step in reversed(self._program):
                if needed & set(step.outputs) - set(given):
                    steps.append(step)
                    needed.update(name for name in step.inputs if name is not None)
            plan, later = [], set(wanted)
            for step in steps:
                names = {name for name in (*step.inputs, *step.outputs) if name is not None}
                plan.append((step, tuple(names - later)))
                later |= names
            self._plans[key] = plan[::-1]
        return self._plans[key]

    def _compile(self, graph: ir.Graph) -> None:
        """Steps of all nodes, and places of all constants that they read."""
        passed: dict[str, tuple[str, str, Grid]] = {}
        for node in graph:
            names = tuple(value.name or "" for value in node.outputs)
            if node.op_type == "QuantizeLinear" and not node.domain:
                step, grid = self._quantizer(node)
                source = self._unclipped(node.inputs[0], step, grid)
                if _is_paired(node):
                    passed[names[0]] = source, step, grid
                else:
                    self._program.append(Step(partial(stored, grid=grid), (source, step), names, node.name or ""))
            elif node.op_type == "DequantizeLinear" and not node.domain:
                self._dequantize(node, names, passed.get(_name(node.inputs[0])))
            elif node.op_type == "Cast" and _is_half(node):
                self._keep(names[0], _array(node.inputs[0]).astype(np.float32))
                self.places[_name(node.inputs[0])] = self.places[names[0]]
            else:
                function, inputs = bound(node)
                for value in inputs:
                    if value is not None and tensor_of(value) is not None and value.name not in self.places:
                        self._keep(_name(value), _array(value))
                read = tuple(None if value is None else _name(value) for value in inputs)
                self._program.append(Step(function, read, names, node.name or ""))
        for value in graph.outputs:
            last = quantizer_before(value)
            if last is not None:
                self._ports[_name(value)] = self._quantizer(last)
            if tensor_of(value) is not None and value.name not in self.places:
                self._keep(_name(value), _array(value))

    def _unclipped(self, value: ir.Value | None, step: str, grid: Grid) -> str:
        """The name of what is rounded: what comes before a clip that clips nothing which the grid could hold."""
        node = value.producer() if value is not None else None
        name = activation_of(node) if node is not None and not self.learned_steps else ""
        if node is None or not name:
            return _name(value)
        low, high = ("0", "") if name == "Relu" else name[5:-1].split(",")
        scale = self.steps[self.places[step].index].item()
        lowest = np.rint(float(low or -np.inf) / scale) + grid.zero
        highest = np.rint(float(high or np.inf) / scale) + grid.zero
        if lowest > grid.low or highest < grid.high:
            return _name(value)
        self._before[_name(value)] = _name(node.inputs[0])
        return _name(node.inputs[0])

    def _dequantize(self, node: ir.Node, names: tuple[str, ...], pair: tuple[str, str, Grid] | None) -> None:
        step, grid = self._quantizer(node)
        where = node.name or ""
        if pair is not None:
            source, step, grid = pair
            self._program.append(Step(partial(fake_quantize, grid=grid), (source, step), names, where))
        elif tensor_of(node.inputs[0]) is None:
            read = (_name(node.inputs[0]), step)
            self._program.append(Step(partial(real, grid=grid), read, names, where))
        else:
            self._round(node, names[0], step, grid)

    def _round(self, node: ir.Node, name: str, step: str, grid: Grid) -> None:
        """Keeps the integers of a constant as floats that learn."""
        kept = self.places.get(_name(node.inputs[0]))
        if kept is not None and kept.step == step:
            self.places[name] = kept
            return
        integers = _array(node.inputs[0]).astype(np.float32)
        axis, size = axis_of(node), node.attributes.get_int("block_size", 0)
        scale = self.steps[self.places[step].index].detach()
        along = [1] * integers.ndim
        if size:
            along = list(scale.shape)
        elif axis is not None:
            along[axis] = -1
        shaped = scale.reshape(along if integers.ndim else [])
        narrow = grid.zero == 0 and grid.low < 0 and integers.min(initial=0) > grid.low
        latent = torch.from_numpy(integers) - grid.zero
        made = Rounded(
            latent,
            shaped,
            Grid(-grid.high if narrow else grid.low, grid.high, grid.zero),
            (axis or 0, size) if size else None,
        )
        exact = self._floats.get(_name(node.inputs[0]))
        if exact is not None and exact.shape == integers.shape:
            near = torch.from_numpy(np.array(exact, np.float32)) / made._along(shaped)
            latent.copy_(torch.maximum(torch.minimum(near, latent + EDGE), latent - EDGE))
        self.places[name] = self.places[_name(node.inputs[0])] = _Place("rounded", len(self.rounded), step)
        self.rounded.append(made)
        if sources := _factors(node):
            self.products[step] = sources

    def _quantizer(self, node: ir.Node) -> tuple[str, Grid]:
        """The name of a scale, kept from now on, and the integers. Equal scales of activations are one."""
        scale, found = constant_of(node.inputs[1]), scales_of(node)
        if scale is None or found is None or np.ptp(found[1]):
            raise UnsupportedError("training wants one constant scale and zero point", where=shown(node.name))
        kind = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
        dtype = kind.dtype if kind is not None and kind.dtype is not None else ir.DataType.UINT8
        signed, bits = dtype.name.startswith("INT"), dtype.bitwidth
        grid = Grid(-(1 << bits - 1) if signed else 0, (1 << bits - signed) - 1, int(found[1].flat[0]))
        name = _name(node.inputs[1])
        if tensor_of(kind) is None and scale.size == 1:
            name = self._alike.setdefault((float(scale.reshape(())), dtype.name), name)
        if name not in self.places:
            self.places[name] = _Place("step", len(self.steps))
            learns = self.learned_steps and dtype is not ir.DataType.INT32
            self.steps.append(nn.Parameter(torch.from_numpy(scale.astype(np.float32)), requires_grad=learns))
        if self._is_prescribed(node):
            self.steps[self.places[name].index].requires_grad_(False)
        self.places.setdefault(_name(node.inputs[1]), self.places[name])
        return name, grid

    def _is_prescribed(self, node: ir.Node) -> bool:
        """Whether the target's rules say the scale by which a value is quantised."""
        value = node.inputs[0]
        maker = value.producer() if value is not None else None
        rule = rule_of(maker, self._target) if maker is not None and self._target is not None else None
        return rule is not None and rule.fixed is not None

    def _keep(self, name: str, array: Array) -> None:
        """Keeps a constant: a parameter if it is an array of floats."""
        if array.dtype == np.float32 and array.size > 1:
            self.places[name] = _Place("trained", len(self.trained))
            self.trained.append(nn.Parameter(torch.from_numpy(np.array(array))))
        else:
            self.places[name] = _Place("constant", self._constants)
            self.register_buffer(f"constant_{self._constants}", torch.from_numpy(np.array(array)), persistent=False)
            self._constants += 1


def to_torch(model: Model) -> Network:
    """A model as a torch module, for loops of your own; `from_torch` gives a model back.

    Args:
        model: from `load` or `quantize`; it is not changed.

    Raises:
        UnsupportedOpError: there is no torch function for an operator.
    """
    return Network(model)


def from_torch(network: Network) -> Model:
    """The model of a network with what its parameters are now, in integers where it was.

    Args:
        network: of `to_torch`; it is not changed.
    """
    model = network.model.clone()
    constants = model.graph.initializers
    for name, place in network.places.items():
        value = constants.get(name)
        if value is None or value.const_value is None or place.kind == "constant":
            continue
        with torch.no_grad():
            made = network.constant(name)
            if place.kind == "rounded":
                made = network.rounded_at(place.index).integers(network.constant(place.step))
        tensor = value.const_value
        array = made.detach().cpu().numpy().reshape(tensor.shape.numpy())
        value.const_value = ir.Tensor(array.astype(tensor.dtype.numpy()), dtype=tensor.dtype, name=name)
    return model


def _target_of(model: Model) -> Target | None:
    """The target that a graph was decomposed for."""
    name = model.graph.meta.get(DECOMPOSED)
    return targets.find(name) if isinstance(name, str) else None


def _is_paired(node: ir.Node) -> bool:
    """Whether integers only go to where they become floats again, by the same numbers."""
    integers = node.outputs[0]
    uses = list(integers.uses())
    return (
        bool(uses)
        and not integers.is_graph_output()
        and all(use.node.op_type == "DequantizeLinear" and use.node.inputs[1:] == node.inputs[1:] for use in uses)
    )


def _is_half(node: ir.Node) -> bool:
    """Whether a Cast makes floats of weights in half precision."""
    tensor = tensor_of(node.inputs[0])
    return tensor is not None and tensor.dtype is ir.DataType.FLOAT16 and node.outputs[0].dtype is ir.DataType.FLOAT


def _factors(node: ir.Node) -> tuple[str, str] | None:
    """The scales whose product a bias's is; None for what is no bias."""
    tensor = tensor_of(node.inputs[0])
    uses = list(node.outputs[0].uses())
    if tensor is None or tensor.dtype is not ir.DataType.INT32 or len(uses) != 1:
        return None
    product: ir.Node | None = uses[0].node
    if product is not None and product.op_type == "Add":
        other = product.inputs[1 - uses[0].idx]
        product = other.producer() if other is not None else None
    makers = [value.producer() if value is not None else None for value in product.inputs[:2]] if product else []
    scales = [_name(maker.inputs[1]) for maker in makers if maker is not None and maker.op_type == "DequantizeLinear"]
    return (scales[0], scales[1]) if len(scales) == 2 else None


def _name(value: ir.Value | None) -> str:
    return "" if value is None else value.name or ""


def _array(value: ir.Value | None) -> Array:
    found = constant_of(value)
    assert found is not None
    return found
