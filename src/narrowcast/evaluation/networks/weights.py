"""What the weights of a network hold: their range, spread and distribution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from narrowcast.evaluation.networks.records import Described, Network, Subgraph, Tensor, Values, Weights
from narrowcast.model import Array

__all__ = ["INTERVALS", "measured", "weigh"]

INTERVALS = 32
"""Of a histogram."""

LARGEST_COUNTED = 1 << 20
"""Elements that a histogram counts; of larger constants every n-th."""


def measured(described: Described) -> Network:
    """The network with the `weights` of all its constants of numbers."""
    network = described.network
    graphs = (_measured(graph, number, described.values) for number, graph in enumerate(network.graphs))
    return replace(network, graphs=tuple(graphs))


def _measured(graph: Subgraph, number: int, values: Values) -> Subgraph:
    def weighed(tensor: Tensor, index: int) -> Tensor:
        array = values(number, index) if tensor.role == "constant" else None
        return tensor if array is None else replace(tensor, weights=weigh(array))

    return replace(graph, tensors=tuple(weighed(tensor, index) for index, tensor in enumerate(graph.tensors)))


def weigh(array: Array) -> Weights | None:
    """What an array of real numbers holds; None for no finite number."""
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    flat = array.reshape(-1)
    if array.dtype.kind not in "iu":  # also of the types that numpy has from ml_dtypes
        try:
            flat = flat.astype(np.float64 if array.dtype == np.float64 else np.float32, copy=False)
        except (TypeError, ValueError):
            return None
    finite = np.isfinite(flat)
    strange = int(flat.size - np.count_nonzero(finite))
    if strange:
        flat = flat[finite]
    if not flat.size:
        return None
    low, high = float(flat.min()), float(flat.max())
    step = -(-flat.size // LARGEST_COUNTED)
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(flat[::step].std(dtype=np.float64))
        mean = float(flat.mean(dtype=np.float64))
    return Weights(
        low=low,
        high=high,
        mean=mean,
        deviation=deviation,
        zeros=1 - np.count_nonzero(flat) / flat.size,
        strange=strange,
        counts=_counts(flat[::step].astype(np.float64), low, high),
    )


def _counts(values: Array, low: float, high: float) -> tuple[int, ...]:
    """How many values lie in each of equal intervals; all in the middle where there is but one value."""
    if low == high:
        return tuple(values.size if place == INTERVALS // 2 else 0 for place in range(INTERVALS))
    places = ((values / 2 - low / 2) / (high / 2 - low / 2) * INTERVALS).astype(np.int64)
    return tuple(np.bincount(np.clip(places, 0, INTERVALS - 1), minlength=INTERVALS).tolist())
