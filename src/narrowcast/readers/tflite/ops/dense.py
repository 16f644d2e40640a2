"""Products of matrices."""

from __future__ import annotations

import math

from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.emit import static
from narrowcast.readers.tflite.ops.conv import bias_of
from narrowcast.readers.tflite.registry import Site, reads


@reads("FULLY_CONNECTED")
def fully_connected(site: Site) -> Tensor:
    """All but the last axis are a batch, kept in the output where `keep_num_dims` says so; weights are [out, in]."""
    g, x = site.g, site.input(0)
    if site.word("weights_format", "DEFAULT") != "DEFAULT":
        raise UnsupportedOpError("its weights are shuffled for one kind of processor", hint="give the original file")
    if len(site.stored(1).shape) != 2:
        raise ModelFileError(f"its weights have the shape {site.stored(1).shape}")
    (units, width), value = site.weights(1, (0, 1))
    flat = x if x.rank == 2 and x.shape[-1] == width else g.reshape(x, _rows(x, width))
    made = g.op("Gemm", flat, value, bias_of(site, 2, 0, 1), shape=(flat.shape[0], units), transB=1)
    if site.flag("keep_num_dims"):
        made = g.reshape(made, (*x.shape[:-1], units))
    return site.activated(made)


def _rows(x: Tensor, width: int) -> tuple[int | str, int]:
    """The shape of a tensor as rows of a given width."""
    if x.rank and isinstance(x.shape[0], str):
        return x.shape[0], width
    count = math.prod(static(x.shape))
    if not width or count % width:
        raise ModelFileError(f"an input of shape {x.shape} has no rows of {width}")
    return count // width, width


@reads("BATCH_MATMUL")
def batch_matmul(site: Site) -> Tensor:
    """Products of the last two axes, of which either may be the other way round."""
    x, y = (_turned(site, index, name) for index, name in enumerate(("adj_x", "adj_y")))
    return site.g.matmul(x, y)


def _turned(site: Site, index: int, option: str) -> Tensor:
    x = site.input(index)
    if x.rank < 2:
        raise ModelFileError(f"it multiplies a tensor of shape {x.shape}")
    if not site.flag(option):
        return x
    return site.g.transpose(x, [*range(x.rank - 2), x.rank - 1, x.rank - 2])
