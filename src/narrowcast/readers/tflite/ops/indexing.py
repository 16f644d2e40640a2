"""Operators that take or put elements by their places."""

from __future__ import annotations

import math

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import FILL_LIMIT, Tensor
from narrowcast.readers.tflite.emit import static
from narrowcast.readers.tflite.registry import Site, reads


@reads("GATHER")
def gather(site: Site) -> Tensor:
    """Places of an axis; for each element of the first `batch_dims` axes its own."""
    g, x, places = site.g, site.input(0), site.input(1)
    axis, batch = x.axis(site.option("axis")), site.option("batch_dims")
    batch += places.rank if batch < 0 else 0
    if not 0 <= batch <= min(axis, places.rank):
        raise ModelFileError(f"it takes axis {axis} for each of {batch} axes of {places.shape}")
    if batch == 0:
        shape = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])
        return g.op("Gather", x, places, shape=shape, axis=axis)
    # GatherND takes the axis right behind the batch, and puts what it found there.
    moved = g.transpose(x, [*range(batch), axis, *(a for a in range(batch, x.rank) if a != axis)])
    rest, between, own = moved.shape[batch + 1 :], axis - batch, places.rank - batch
    index = g.cast(g.reshape(places, (*places.shape, 1)), np.int64)
    found = g.op("GatherND", moved, index, shape=(*places.shape, *rest), batch_dims=batch)
    middle = [*range(batch + own, batch + own + between), *range(batch, batch + own)]
    return g.transpose(found, [*range(batch), *middle, *range(batch + own + between, found.rank)])


@reads("GATHER_ND")
def gather_nd(site: Site) -> Tensor:
    """Elements or slices by the places of their first axes, which lie along the last axis of another input."""
    g, x, places = site.g, site.input(0), site.input(1)
    depth = places.dim(-1)
    if depth > x.rank:
        raise ModelFileError(f"a tensor of shape {x.shape} has no places of {depth} axes")
    return g.op("GatherND", x, g.cast(places, np.int64), shape=(*places.shape[:-1], *x.shape[depth:]))


@reads("SCATTER_ND")
def scatter_nd(site: Site) -> Tensor:
    """Sums over zeros of slices, by the places of their first axes."""
    g, update = site.g, site.input(1)
    zeros = g.expand(g.tensor(0, "zeros", update.dtype), site.ints(2))
    return g.op("ScatterND", zeros, g.cast(site.input(0), np.int64), update, shape=zeros.shape, reduction="add")


@reads("SPARSE_TO_DENSE")
def sparse_to_dense(site: Site) -> Tensor:
    """A tensor of one number with others at some places."""
    g, places, values = site.g, _places(site), site.input(2)
    base = g.expand(g.reshape(site.input(3), ()), site.ints(1))
    return g.op("ScatterND", base, places, g.expand(values, static(places.shape[:-1])), shape=base.shape)


def _places(site: Site) -> Tensor:
    """A place, a list of places along one axis, or of several."""
    places = site.g.cast(site.input(0), np.int64)
    if places.rank == 2:
        return places
    return site.g.reshape(places, (places.dim(0), 1) if places.rank else (1, 1))


@reads("EMBEDDING_LOOKUP")
def embedding_lookup(site: Site) -> Tensor:
    """Rows of a table."""
    places, table = site.input(0), site.input(1)
    return site.g.op("Gather", table, places, shape=(*places.shape, *table.shape[1:]), dtype=table.dtype, axis=0)


@reads("ONE_HOT")
def one_hot(site: Site) -> Tensor:
    """One number at a place of a new axis, another elsewhere; everywhere if there is no such place."""
    g, places, depth = site.g, site.input(0), site.number(1)
    axis = site.option("axis")
    axis = places.rank if axis == -1 else axis
    if not 0 <= axis <= places.rank or not 0 <= depth <= FILL_LIMIT:
        raise ModelFileError(f"it puts an axis of {depth} at {axis}")
    numbers = np.arange(depth).reshape([depth if number == axis else 1 for number in range(places.rank + 1)])
    places = g.reshape(places, (*places.shape[:axis], 1, *places.shape[axis:]))
    here = g.pointwise("Equal", places, g.tensor(numbers, "places", places.dtype), dtype=bool)
    on, off = (g.reshape(site.input(index), ()) for index in (2, 3))
    return g.pointwise("Where", here, on, off, dtype=on.dtype)


@reads("TOPK_V2")
def top_k(site: Site) -> list[Tensor]:
    """The largest elements along the last axis, from the largest on, and their places."""
    g, x, count = site.g, site.input(0), site.number(1)
    if not x.rank or not 0 <= count <= x.dim(-1):
        raise ModelFileError(f"a tensor of shape {x.shape} has no {count} largest")
    shape = (*x.shape[:-1], count)
    values, places = g.raw("TopK", g.plain(x), g.ints([count], "k"), shape=shape, dtype=x.dtype, outputs=2, axis=-1)
    found = Tensor(shape, np.dtype(np.int64), places)
    return [Tensor(shape, x.dtype, values), g.cast(found, site.output(1).dtype)]


@reads("BUCKETIZE")
def bucketize(site: Site) -> Tensor:
    """How many boundaries are not above a number."""
    g, x = site.g, site.input(0)
    boundaries = np.asarray(site.option("boundaries", ()), np.float32)
    if math.prod(static(x.shape)) * boundaries.size > FILL_LIMIT:
        raise ModelFileError(f"it has {boundaries.size} boundaries for a tensor of shape {x.shape}")
    there = g.pointwise("GreaterOrEqual", g.reshape(g.floating(x), (*x.shape, 1)), g.tensor(boundaries), dtype=bool)
    return site.typed(g.reduce("ReduceSum", g.cast(there, np.int32), [x.rank]))


@reads("MATRIX_DIAG")
def matrix_diag(site: Site) -> Tensor:
    """Vectors along the diagonals of matrices of zeros."""
    g, x = site.g, site.input(0)
    size = x.dim(-1)
    zero = g.tensor(0, "zero", x.dtype)
    column = g.reshape(x, (*x.shape, 1))
    return g.pointwise("Where", _diagonal(site, (size, size), x.rank + 1), column, zero, dtype=x.dtype)


@reads("MATRIX_SET_DIAG")
def matrix_set_diag(site: Site) -> Tensor:
    """Matrices with vectors along their diagonals."""
    g, x, vectors = site.g, site.input(0), site.input(1)
    rows, columns = x.dim(-2), x.dim(-1)
    if vectors.shape != (*x.shape[:-2], min(rows, columns)):
        raise ModelFileError(f"matrices of shape {x.shape} have no diagonals of shape {vectors.shape}")
    shape = (*vectors.shape, 1) if rows <= columns else (*vectors.shape[:-1], 1, vectors.dim(-1))
    on = g.reshape(vectors, shape)
    return g.pointwise("Where", _diagonal(site, (rows, columns), x.rank), on, x, dtype=x.dtype)


def _diagonal(site: Site, sizes: tuple[int, int], rank: int) -> Tensor:
    if math.prod(sizes) > FILL_LIMIT:
        raise ModelFileError(f"matrices of {sizes} are too large")
    return site.g.tensor(np.eye(*sizes, dtype=bool).reshape((1,) * (rank - 2) + sizes), "diagonal")
