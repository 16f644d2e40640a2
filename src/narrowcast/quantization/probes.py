"""A float graph that computes, beside its outputs, what calibration remembers of the tensors within.

Handing every tensor out of ONNX Runtime and looking at it costs four times the forward pass. Three facts avoid nearly
all of it. A range holds zero, so the lowest value of what a Relu makes need not be looked for; a bound of a Clip that
has been reached needs no more looking. GlobalMaxPool, unlike ReduceMax, runs on ONNX Runtime's own blocked layout, so
an extreme costs one pass over data that is still in the cache. So does a MaxPool of one place: its strides pick values
from everywhere in an image, the same places in each sample, for the histogram.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import numpy as np

from narrowcast.dialect.build import Builder, dims
from narrowcast.errors import DataError
from narrowcast.model import Array, Feed, Model, ir
from narrowcast.passes.fuse.clip import bounds_of
from narrowcast.quantization.members import HUGE
from narrowcast.quantization.observers import Seen
from narrowcast.reference import Reference

__all__ = ["Probe"]

VALUES = 4096
"""How many values of a tensor each sample gives to its histogram, about."""
PLACES = 9
"""Places of an image at least: of few there are many channels."""
PARTS = 1024
"""Of a tensor that is no image, at most, whose extremes are told."""
WAITING = 2**17
"""Values of a tensor that wait to be counted together."""
_BLOCKED = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool"})


@dataclass(slots=True)
class _Picked:
    """Values of a tensor that wait to be counted."""

    output: str
    waiting: list[Array] = field(default_factory=list)
    lows: list[Array] = field(default_factory=list)
    highs: list[Array] = field(default_factory=list)
    size: int = 0
    total: int = 0


class Probe:
    """A model opened so that each run tells more of some of its values.

    Args:
        model: canonical and float; it is not changed.
        seen: what was seen of each value so far, by name; `finish` widens it.
        each: whether the extremes of each sample are asked for, not only those of all.
        counted: the values whose histograms are asked for.
        threads: for ONNX Runtime; its own choice if None.
    """

    def __init__(
        self, model: Model, seen: Mapping[str, Seen], *, each: bool, counted: Set[str], threads: int | None
    ) -> None:
        self.seen = seen
        copy = model.clone()
        produced = {value.name or "": value for node in copy.graph for value in node.outputs}
        build = Builder(copy.graph)
        self.empty = {name for name, value in produced.items() if 0 in (dims(value) or ())}
        self.sizes = {name: math.prod(found) for name in produced if (found := dims(produced[name])) is not None}
        fed = [spec.name for spec in model.inputs if spec.name in seen]
        self.picked = {name: _Picked(name) for name in fed if name in counted}
        self.signs: list[tuple[str, float]] = []
        made: list[ir.Value] = []
        starts = [0]
        for name in [name for name in seen if name in produced and name not in self.empty]:
            value = produced[name]
            for sign in _open(value, seen[name], each=each):
                extreme = _extreme(build, value, sign)
                parts = math.prod(dims(extreme) or (1,))
                made.append(build("Reshape", extreme, build.constant([parts], "size", np.int64), shape=(parts,)))
                self.signs.append((name, sign))
                starts.append(starts[-1] + parts)
            if name in counted:
                self.picked[name] = _Picked(_pick(build, value).name or "")
        self.outputs = [spec.name for spec in model.outputs if spec.dtype.kind == "f"]
        self.together = build("Concat", *made, name="extremes", dtype=np.float32, axis=0).name or "" if made else ""
        self.starts, self.ends = starts[:-1], starts[1:]
        asked = [picked.output for picked in self.picked.values()]
        self.reference = Reference(copy, [self.together, *asked] if made else asked, threads=threads)

    def run(self, feed: Feed, sample: int) -> dict[str, Array]:
        """Looks at one sample; returns the model's outputs, among others.

        Raises:
            DataError: the feed does not fit, or a tensor becomes NaN or infinite.
        """
        checked = self.reference.checked(feed)
        found = self.reference.run(checked)
        for name in self.outputs:
            if not np.isfinite(found[name]).all():
                raise _not_finite(name, sample)
        together = found[self.together] if self.signs else np.zeros(0, np.float32)
        peaks = np.maximum.reduceat(together, self.starts).tolist() if self.signs else []
        extremes = dict(zip(self.signs, peaks, strict=True))
        for name, seen in self.seen.items():
            if name in self.empty:
                continue
            low, high = -extremes.get((name, -1.0), -seen.low), extremes.get((name, 1.0), seen.high)
            if name in checked:
                low, high = float(checked[name].min(initial=0.0)), float(checked[name].max(initial=0.0))
            if not math.isfinite(low) or not math.isfinite(high):
                raise _not_finite(name, sample)
            seen.widen(low if abs(low) < HUGE else 0.0, high if abs(high) < HUGE else 0.0)
        for (name, sign), start, end in zip(self.signs, self.starts, self.ends, strict=True):
            if name in self.picked:
                part = together[start:end]
                (self.picked[name].highs if sign > 0 else self.picked[name].lows).append(part)
        for name, picked in self.picked.items():
            array = checked[name] if name in checked else found[picked.output]
            picked.waiting.append(_thinned(array))
            picked.size += picked.waiting[-1].size
            picked.total += self.sizes.get(name, array.size)
            if picked.size >= WAITING:
                self._count(name)
        return found

    def finish(self) -> None:
        """Counts what waits."""
        for name in self.picked:
            self._count(name)

    def _count(self, name: str) -> None:
        picked, histogram = self.picked[name], self.seen[name].histogram
        values, lows, highs = map(_joined, (picked.waiting, picked.lows, picked.highs))
        if not np.isfinite(values).all():
            raise _not_finite(name, None)
        if values.size:
            histogram.add(values, picked.total)
        histogram.add_extremes(-lows, highs)
        self.picked[name] = _Picked(picked.output)


def _joined(arrays: list[Array]) -> Array:
    """All numbers of arrays that are no padding. Shape [numbers]."""
    joined = np.concatenate(arrays) if arrays else np.zeros(0, np.float32)
    large = joined.size and max(float(joined.max()), -float(joined.min())) >= HUGE
    return joined[np.abs(joined) < HUGE] if large else joined


def _not_finite(name: str, sample: int | None) -> DataError:
    which = "a calibration sample" if sample is None else f"calibration sample {sample}"
    return DataError(f"{which} makes {name!r} NaN or infinite", hint="check the sample and the preprocessing")


def _open(value: ir.Value, seen: Seen, *, each: bool) -> list[float]:
    """The signs of the bounds that are to be looked for; those that need not are seen."""
    node = value.producer()
    low, high = (bounds_of(node) if node is not None and node.op_type in ("Relu", "Clip") else None) or (
        -np.inf,
        np.inf,
    )
    if low >= 0:
        seen.low = min(seen.low, 0.0)
    found = [-1.0] if low < 0 and (each or seen.low > low) else []
    return [1.0, *found] if each or seen.high < high else found


def _extreme(build: Builder, value: ir.Value, sign: float) -> ir.Value:
    """Adds the nodes for the largest of `sign` times a value, in each channel or along another axis, or in all."""
    source: ir.Value = build("Neg", value, name=f"{value.name}/Neg", shape=value.shape) if sign < 0 else value
    shape = dims(value) or ()
    name = f"{value.name}/{'high' if sign > 0 else 'low'}"
    if len(shape) == 4:
        made: ir.Value = build("GlobalMaxPool", source, name=name, dtype=np.float32, shape=(*shape[:2], 1, 1))
        return made
    axis = max((index for index, size in enumerate(shape) if size <= PARTS), key=lambda index: shape[index], default=0)
    axes = build.constant([index for index in range(len(shape)) if index != axis], "axes", np.int64)
    if len(shape) > 1:
        made = build("ReduceMax", source, axes, name=name, dtype=np.float32, shape=(shape[axis],), keepdims=0)
    else:
        made = build("ReduceMax", source, name=name, dtype=np.float32, shape=(), keepdims=0)
    return made


def _pick(build: Builder, value: ir.Value) -> ir.Value:
    """Adds the nodes that pick about `VALUES` values of a tensor; the tensor itself where it is small or open."""
    shape = dims(value)
    size = 0 if shape is None else math.prod(shape)
    if shape is None or size <= 2 * VALUES:
        return value
    name = f"{value.name}/picked"
    node = value.producer()
    around = [use.node for use in value.uses()] + ([node] if node is not None else [])
    if len(shape) == 4 and any(other.op_type in _BLOCKED for other in around):
        places = max(VALUES / (shape[0] * shape[1]), PLACES)
        across = min(math.ceil(math.sqrt(shape[2] * shape[3] / places)), shape[2])
        along = min(math.ceil(shape[2] * shape[3] / across / places), shape[3])
        made: ir.Value = build(
            "MaxPool", value, name=name, dtype=np.float32, kernel_shape=(1, 1), strides=(across, along)
        )
    else:
        flat = build("Reshape", value, build.constant([size], "size", np.int64), name=f"{name}/flat", shape=(size,))
        bounds = [build.constant([number], "bound", np.int64) for number in (0, size, 0, _stride(size))]
        made = build("Slice", flat, *bounds, name=name, dtype=np.float32)
    return made


def _stride(size: int) -> int:
    """A step through so many numbers in a row that leaves `VALUES` and, in steps of any axis, comes to all places."""
    step = max(size // VALUES, 1)
    while math.gcd(step, size) > 1:
        step += 1
    return step


def _thinned(array: Array) -> Array:
    """About `VALUES` values of what was not picked in the graph. Shape [values]."""
    flat = array.reshape(-1)
    return flat if flat.size <= 16 * VALUES else flat[:: _stride(flat.size)]
