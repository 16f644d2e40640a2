"""Pools of images."""

from __future__ import annotations

from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.emit import static
from narrowcast.readers.tflite.ops.conv import pads_of, windows
from narrowcast.readers.tflite.registry import Site, reads


@reads("MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D")
def pool_2d(site: Site) -> Tensor:
    """The largest, the mean or the root of the mean square of each window; padding does not count."""
    g, x = site.g, site.input(0)
    kind = site.operator.name.partition("_")[0]
    if kind == "L2":
        x = g.pointwise("Mul", x, x)
    sizes, kernel = static(x.shape[1:3]), [site.option("filter_height"), site.option("filter_width")]
    if site.stored(0).shape[1:3] == tuple(kernel):
        kernel = list(sizes)  # the whole image, of which the user may have asked for another size
    strides = [site.option("stride_h"), site.option("stride_w")]
    pads = pads_of(site, sizes, kernel, strides, [1, 1])
    shape = (x.shape[0], x.shape[3], *windows(sizes, kernel, strides, [1, 1], pads))
    op = "MaxPool" if kind == "MAX" else "AveragePool"
    made = g.raw(op, g.channels_first(x), shape=shape, dtype=x.dtype, kernel_shape=kernel, strides=strides, pads=pads)
    result = g.from_spatial(made, shape, x.dtype, channels_last=True)
    return site.activated(g.pointwise("Sqrt", result) if kind == "L2" else result)
