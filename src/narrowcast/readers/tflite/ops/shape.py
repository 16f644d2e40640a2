"""Operators that move elements, or join and cut tensors."""

from __future__ import annotations

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.emit import static
from narrowcast.readers.tflite.registry import Site, reads


@reads("RESHAPE")
def reshape(site: Site) -> Tensor:
    """To a shape by an input, or by the options of old files; -1 is what is left."""
    x = site.input(0)
    target = site.ints(1) if site.has(1) else [int(dim) for dim in site.option("new_shape", ())]
    return site.g.reshape(x, _filled(target, x))


def _filled(target: list[int], x: Tensor) -> tuple[int | str, ...]:
    """A shape with its -1 worked out."""
    if target.count(-1) > 1 or any(dim < -1 for dim in target):
        raise ModelFileError(f"it has the target shape {target}")
    if -1 not in target:
        return tuple(target)
    if x.rank and isinstance(x.shape[0], str) and target[0] == -1:
        return (x.shape[0], *target[1:])
    total, known = 1, 1
    for dim in static(x.shape):
        total *= dim
    for dim in target:
        known *= dim if dim != -1 else 1
    if known == 0 or total % known:
        raise ModelFileError(f"a tensor of shape {x.shape} cannot be reshaped to {target}")
    return tuple(total // known if dim == -1 else dim for dim in target)


@reads("SQUEEZE")
def squeeze(site: Site) -> Tensor:
    """Without axes of size 1: those of the options, or all."""
    x = site.input(0)
    axes = {x.axis(int(axis)) for axis in site.option("squeeze_dims", ())}
    axes = axes or {axis for axis, dim in enumerate(x.shape) if dim == 1}
    if any(x.shape[axis] != 1 for axis in axes):
        raise ModelFileError(f"axes {sorted(axes)} of {x.shape} are not all of size 1")
    return site.g.reshape(x, [dim for axis, dim in enumerate(x.shape) if axis not in axes])


@reads("CONCATENATION")
def concatenation(site: Site) -> Tensor:
    """Tensors joined along an axis, with an activation."""
    return site.activated(site.g.concat(site.inputs, site.option("axis")))


@reads("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD")
def reduce(site: Site) -> Tensor:
    """A reduction over constant axes."""
    name = {"MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin"}
    op = name.get(site.operator.name, "ReduceProd")
    return site.g.reduce(op, site.input(0), site.ints(1), bool(site.option("keep_dims", default=False)))
