"""A graph run on real numbers, whatever integers its inputs and outputs store."""

from __future__ import annotations

from narrowcast.evaluation.ports import feed_for, graph_ports, outputs_as_source
from narrowcast.model import Array, Feed, Model
from narrowcast.reference import Reference

__all__ = ["THREADS", "RealGraph"]

THREADS = 2


class RealGraph:
    """A graph on ONNX Runtime; one that is quantised without optimisations, which compute it in another arithmetic.

    Args:
        model: canonical, perhaps quantised; it is not changed.
        threads: how many.
    """

    def __init__(self, model: Model, threads: int = THREADS) -> None:
        self.ports = graph_ports(model)
        quantised = any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph)
        self._reference = Reference(model, threads=threads, optimize=not quantised)

    def feed(self, feed: Feed) -> dict[str, Array]:
        """A feed of real values, or of stored ones, as the graph's inputs store them."""
        return feed_for(self.ports, feed)

    def run(self, feed: Feed) -> dict[str, Array]:
        """Real outputs by name."""
        return outputs_as_source(self.ports.outputs, self._reference.run(self.feed(feed)))
