"""Second moments of what layers multiply, streamed over calibration samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from narrowcast.dialect.build import dims
from narrowcast.model import Array, ir
from narrowcast.quantization.repairs import Evidence
from narrowcast.quantization.repairs.products import columns
from narrowcast.reference import Reference

__all__ = ["input_moments", "widths"]

SAMPLES = 32
COLUMNS = 4096
"""Of each layer, over all samples; what more of them bring was within the noise of one network's figures."""
ROOM = 2**29
"""Bytes of moments that are held at once; layers beyond go into another pass over the samples."""


def input_moments(shared: Mapping[ir.Node, Sequence[ir.Node]], evidence: Evidence) -> Iterator[tuple[ir.Node, Array]]:
    """For weights, the mean of x x' over the columns x that the float network's layers multiply by them.

    Args:
        shared: the float graph's nodes that multiply by the same weights, by whatever stands for these.
        evidence: the float graph and its samples.

    Yields:
        A key of `shared` and its moment, float32 [groups, inner, inner]; in the order of `shared`.

    Raises:
        DataError: a sample does not fit the model.
    """
    left, done = list(shared), 0
    while left:
        count, room = 0, ROOM
        while count < len(left) and (count == 0 or room > 0):
            groups, inner = widths(shared[left[count]][0])
            room -= 4 * groups * inner * inner
            count += 1
        part, left = left[:count], left[count:]
        yield from _of_part({key: shared[key] for key in part}, evidence, done)
        done += SAMPLES


def widths(node: ir.Node) -> tuple[int, int]:
    """How many matrices a layer has, and how many columns each: groups and inner."""
    shape = dims(node.inputs[1]) or ()
    if node.op_type == "MatMul":
        return 1, shape[0]
    groups = node.attributes.get_int("group", 1)
    if node.op_type == "ConvTranspose":
        return groups, shape[0] // groups * int(np.prod(shape[2:]))
    return groups, int(np.prod(shape[1:]))


def _of_part(
    shared: Mapping[ir.Node, Sequence[ir.Node]], evidence: Evidence, done: int
) -> Iterator[tuple[ir.Node, Array]]:
    sources = {node: node.inputs[0].name or "" for nodes in shared.values() for node in nodes if node.inputs[0]}
    reference, random = (
        Reference(evidence.floats, list(dict.fromkeys(sources.values()))),
        np.random.default_rng(evidence.seed),
    )
    sums: dict[ir.Node, Array] = {}
    counts = dict.fromkeys(shared, 0)
    for sample, feed in enumerate(evidence.samples(SAMPLES)):
        found = {**reference.checked(feed), **reference.run(feed)}
        for key, nodes in shared.items():
            for node in nodes:
                taken = columns(node, found[sources[node]], -(-COLUMNS // (SAMPLES * len(nodes))), random)
                sums[key] = sums.get(key, 0) + taken @ taken.swapaxes(1, 2)
                counts[key] += taken.shape[2]
        evidence.progress(done + sample + 1)
    yield from ((key, sums.pop(key) / counts[key]) for key in list(sums))
