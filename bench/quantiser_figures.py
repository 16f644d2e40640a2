"""What quantiser.py counts of a file: its answers to the test samples in LiteRT, beside those of the float network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from quantiser_networks import NETWORKS, Feeds, Samples
from quantiser_trained import folder

THREADS = 1

Outputs = dict[str, np.ndarray]
Run = Callable[[Feeds], Outputs]


def outputs_by(names: Sequence[str], wanted: Outputs, found: Outputs) -> dict[str, str]:
    """Which of some outputs is which of the source's: by name, else by size and what it holds for one sample."""
    if set(wanted) <= set(found):
        return {name: name for name in wanted}
    left, chosen = list(names), {}
    for name, want in wanted.items():
        alike = [other for other in left if found[other].size == want.size]
        near = [float(np.square(found[other].reshape(want.shape).astype(float) - want).sum()) for other in alike]
        chosen[name] = name if name in alike else alike[int(np.argmin(near))]
        left.remove(chosen[name])
    return chosen


class Lite:
    """A .tflite file in LiteRT, fed and answering real numbers, by the source's names.

    Args:
        path: the file, with ports in the source's layout.
        wanted: what the source answers to the first feed, which tells the outputs apart.
    """

    def __init__(self, path: Path, wanted: Outputs) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.wanted, self.known = wanted, {}
        self.interpreter = Interpreter(str(path), num_threads=THREADS)
        self.interpreter.allocate_tensors()
        self.inputs, self.outputs = self.interpreter.get_input_details(), self.interpreter.get_output_details()

    def __call__(self, feed: Feeds) -> Outputs:
        """Real outputs by the source's names and in its shapes."""
        for number, port in enumerate(self.inputs):
            named = [name for name in feed if port["name"] in (name, f"serving_default_{name}:0")]
            array = feed[named[0]] if named else list(feed.values())[number]
            self.interpreter.set_tensor(port["index"], _stored(array, port).reshape(port["shape"]))
        self.interpreter.reset_all_variables()  # a sample knows nothing of the one before it
        self.interpreter.invoke()
        found = {port["name"]: _real(self.interpreter.get_tensor(port["index"]), port) for port in self.outputs}
        self.known = self.known or outputs_by(list(found), self.wanted, found)
        return {name: found[self.known[name]].reshape(want.shape) for name, want in self.wanted.items()}


def _stored(array: np.ndarray, port: Mapping[str, Any]) -> np.ndarray:
    scale, zero = port["quantization"]
    if array.dtype == port["dtype"] or not scale:
        return array
    info = np.iinfo(port["dtype"])
    return np.clip(np.rint(array / scale + zero), info.min, info.max).astype(port["dtype"])


def _real(array: np.ndarray, port: Mapping[str, Any]) -> np.ndarray:
    scale, zero = port["quantization"]
    return array if array.dtype == np.float32 or not scale else (array.astype(np.float32) - zero) * scale


@cache
def _source(network: str) -> Run:
    """The float network: ONNX and TFLite files as they are, Keras files as they were read."""
    import narrowcast
    from narrowcast.evaluation.source import open_source

    held = NETWORKS[network]
    path = held.file()
    model = narrowcast.load(path, **held.reading)
    return open_source(model, original="never" if path.suffix in (".keras", ".h5") else "always").run


@cache
def samples_of(network: str) -> Samples:
    """The samples of a network, kept between runs."""
    path = folder() / f"samples_{network}.npz"
    if not path.exists():
        made = NETWORKS[network].samples()
        parts = {"calibration": made.calibration, "test": made.test}
        arrays = {f"{part}|{name}": array for part, feeds in parts.items() for name, array in feeds.items()}
        labels = {"calibration_labels": made.calibration_labels, "test_labels": made.test_labels}
        np.savez(path, **arrays, **{name: array for name, array in labels.items() if array is not None})
    with np.load(path) as held:
        parts = [
            {name.partition("|")[2]: held[name] for name in held.files if name.startswith(f"{part}|")}
            for part in ("calibration", "test")
        ]
        return Samples(*parts, *(held.get(name) for name in ("calibration_labels", "test_labels")))


def feeds_of(arrays: Feeds) -> Iterator[Feeds]:
    """One feed for each sample."""
    for index in range(len(next(iter(arrays.values())))):
        yield {name: array[index] for name, array in arrays.items()}


def reference(network: str) -> list[Outputs]:
    """What the float network answers to the test samples."""
    path = folder() / f"reference_{network}.npz"
    if not path.exists():
        found = [_source(network)(feed) for feed in feeds_of(samples_of(network).test)]
        np.savez(path, **{name: np.stack([outputs[name] for outputs in found]) for name in found[0]})
    with np.load(path) as held:
        return list(feeds_of({name: held[name] for name in held.files}))


def fed_back(network: str, run: Run) -> tuple[float, float]:
    """SQNR of the first output over the first and the last 5 s of 30, each run with states of its own."""
    held = NETWORKS[network]
    pairs, states = [], []
    for runner in (_source(network), run):
        state: Feeds | None = None
        answers = []
        for frame in held.streams():
            start = samples_of(network).test
            state = state or {name: np.zeros(start[name].shape[1:], np.float32) for name in held.states}
            found = runner({**frame, **state})
            state = {name: found[output] for name, output in held.states.items()}
            answers.append(next(iter(found.values())).astype(float).reshape(-1))
        pairs.append(np.stack(answers))
        states.append(state)
    sixth = len(pairs[0]) // 6
    return tuple(_decibels(pairs[0][part], pairs[1][part]) for part in (slice(0, sixth), slice(-sixth, None)))


def _decibels(wanted: np.ndarray, found: np.ndarray) -> float:
    from narrowcast.evaluation.metrics import decibels

    difference = wanted.astype(float) - found.astype(float)
    return decibels(float(np.square(wanted.astype(float)).sum()), float(np.square(difference).sum()))


def figures(network: str, answers: Sequence[Outputs], run: Run | None) -> dict[str, Any]:
    """The metrics of a network, each with the interval of its change; SQNR of each output; states fed back."""
    from narrowcast.evaluation.accuracy import aligned
    from narrowcast.evaluation.task_metrics import Tally, metric_of

    held, samples, wanted = NETWORKS[network], samples_of(network), reference(network)
    found: dict[str, Any] = {}
    for given in held.metrics:
        metric = metric_of(str(given) if isinstance(given, Path) else given)
        tallies = Tally(metric), Tally(metric)
        for index, (feed, want, have) in enumerate(zip(feeds_of(samples.test), wanted, answers, strict=True)):
            label = None if samples.test_labels is None else int(samples.test_labels[index])
            for tally, outputs in zip(tallies, (want, aligned(want, have)), strict=True):
                tally.update(want, outputs, label, feed)
        source = tallies[0].result()
        score = tallies[1].result(tallies[0])
        change = None if score.change is None else [score.change.low, score.change.high]
        found[metric.name] = {"value": score.value, "source": source.value, "change": change, "samples": score.samples}
    floats = [name for name, array in wanted[0].items() if array.dtype.kind == "f"]
    stacked = [[np.stack([out[name].reshape(-1) for out in outs]) for name in floats] for outs in (wanted, answers)]
    found["outputs"] = [_decibels(want, have) for want, have in zip(*stacked, strict=True)]
    if held.streams is not None and run is not None:
        found["fed_back"] = fed_back(network, run)
    return found


PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")


def integer_macs(path: Path) -> float | None:
    """The share of a file's multiply-accumulates whose activations and weights are integers; None where it has none."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    tensors = {held["index"]: held for held in interpreter.get_tensor_details()}
    counted = {True: 0.0, False: 0.0}
    for operator in interpreter._get_ops_details():
        kind = operator["op_name"]
        if kind in PRODUCTS:
            data = tensors[operator["inputs"][2 if kind == "TRANSPOSE_CONV" else 0]]
            weights, result = tensors[operator["inputs"][1]], tensors[operator["outputs"][0]]
            is_integer = data["dtype"] != np.float32 and weights["dtype"] != np.float32
            counted[is_integer] += _products(kind, data["shape"], weights["shape"], result["shape"])
    total = sum(counted.values())
    return counted[True] / total if total else None


def _products(kind: str, data: np.ndarray, weights: np.ndarray, result: np.ndarray) -> float:
    """Multiply-accumulates of an operator of PRODUCTS, by the shapes of what it reads and writes."""
    if kind == "TRANSPOSE_CONV":
        return float(np.prod(data)) * float(np.prod(weights[:3]))
    inside = {"CONV_2D": weights[1:], "DEPTHWISE_CONV_2D": weights[1:3], "FULLY_CONNECTED": weights[-1:]}
    return float(np.prod(result)) * float(np.prod(inside.get(kind, data[-1:])))
