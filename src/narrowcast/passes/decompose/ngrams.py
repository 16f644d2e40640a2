"""TfIdfVectorizer of numbers -> each window compared with each n-gram of the pool, and the matches counted.

https://onnx.ai/onnx/operators/onnx__TfIdfVectorizer.html: n-grams with up to `max_skip_count` elements left out between
two of theirs, always as many.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from narrowcast.model import Array, ir
from narrowcast.passes.decompose.indices import MANY
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, require, static_shape

RULES = RuleSet()


@RULES.rule("TfIdfVectorizer")
def counted(node: ir.Node, rewriter: Rewriter) -> bool:
    """[N, C] or [C] -> [N, numbers] or [numbers]."""
    source, shape, attributes = need(node.inputs[0]), static_shape(node.inputs[0]), node.attributes
    pool, places = (np.array(attributes.get_ints(name, ()), np.int64) for name in ("pool_int64s", "ngram_indexes"))
    require(pool.size and places.size, "it counts strings")
    f, length = Formula(node, rewriter), shape[-1]
    rows = shape[0] if len(shape) > 1 else 1
    x = f.reshape(f.cast(source, np.int64), [rows, length])
    starts = [*attributes.get_ints("ngram_counts", ()), pool.size]
    skips, first = attributes.get_int("max_skip_count", 0), 0
    shortest, longest = attributes.get_int("min_gram_length", 1), attributes.get_int("max_gram_length", 1)
    counts, columns = [], []
    for size, (begin, end) in enumerate(pairwise(starts), start=1):
        grams = pool[begin:end].reshape(-1, size)
        windows = _windows(length, size, skips)
        if shortest <= size <= longest and grams.size and windows.size:
            require(rows * windows.size * len(grams) <= MANY, "it compares very many n-grams")
            counts.append(_matches(f, x, windows, grams))
            columns.append(first + np.arange(len(grams)))
        first += len(grams)
    if not counts:
        return f.becomes(f.constant(np.zeros((*shape[:-1], places.max() + 1)), np.float32))
    found, chosen = f.concat(counts, 1), np.concatenate(columns)
    mode, weights = attributes.get_string("mode", "TF"), np.array(attributes.get_floats("weights", ()), np.float32)
    if mode == "IDF":
        found = f.cast(f("Greater", found, 0.0), np.float32)
    matrix = np.zeros((len(chosen), int(places.max()) + 1), np.float32)
    matrix[np.arange(len(chosen)), places[chosen]] = 1.0 if mode == "TF" or not weights.size else weights[chosen]
    return f.becomes(f.product(found, f.constant(matrix, np.float32, "numbers")))


def _windows(length: int, size: int, skips: int) -> Array:
    """The places [windows, size] of all n-grams of a sequence."""
    steps = [1] if size == 1 else range(1, skips + 2)
    return np.array(
        [start + step * np.arange(size) for step in steps for start in range(length - step * (size - 1))], np.int64
    ).reshape(-1, size)


def _matches(f: Formula, x: ir.Value, windows: Array, grams: Array) -> ir.Value:
    """How many windows are each n-gram, float32 [N, n-grams]."""
    rows, size = static_shape(x)[0], windows.shape[1]
    taken = f.reshape(f.gather(x, windows.reshape(-1), 1), [rows, len(windows), 1, size])
    unlike = f.cast(f("Not", f("Equal", taken, grams[None, None])), np.float32)
    same = f("Equal", f.reduce("ReduceSum", unlike, [3], keep=False), 0.0)
    return f.reduce("ReduceSum", f.cast(same, np.float32), [1], keep=False)
