"""Latency and memory of files: rounds alternate between the files, so that the machine's noise hits all alike."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from narrowcast import runtimes
from narrowcast.evaluation.results import Latency
from narrowcast.model import Feed, TensorSpec

__all__ = ["measure", "peak_memory", "random_feed"]

WARMUP, FEWEST, MOST = 3, 7, 200


def random_feed(inputs: Sequence[TensorSpec], seed: int = 0) -> Feed:
    """Something for every input of a file; what it is does not matter to the time."""
    random = np.random.default_rng(seed)
    feed = {}
    for spec in inputs:
        shape = tuple(dim or 1 for dim in spec.shape)
        if spec.dtype.kind == "f":
            feed[spec.name] = random.normal(size=shape).astype(spec.dtype)
        else:
            feed[spec.name] = random.integers(0, 2, shape).astype(spec.dtype)
    return feed


def measure(
    paths: Sequence[Path],
    threads: Sequence[int],
    *,
    seconds: float = 2.0,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[Latency, ...]]:
    """Times single inferences.

    Args:
        paths: files of any runtime.
        threads: the numbers of threads to measure with.
        seconds: about so long for each file and number of threads, at least 7 and at most 200 rounds.
        progress: is told the number of thread counts done.

    Returns:
        For each file its latencies, in the order of `threads`.
    """
    found: list[list[Latency]] = [[] for _ in paths]
    for done, count in enumerate(threads, 1):
        runners = [runtimes.open(path, count) for path in paths]
        watches = [runner.stopwatch(random_feed(runner.inputs)) for runner in runners]
        times = _rounds(watches, seconds)
        for row, values in zip(found, times, strict=True):
            low, middle, high = np.percentile(values, (25, 50, 75))
            row.append(Latency(count, float(middle), float(low), float(high), len(values)))
        for runner in runners:
            runner.close()
        if progress is not None:
            progress(done)
    return [tuple(row) for row in found]


def _rounds(watches: Sequence[Callable[[], None]], seconds: float) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in watches]
    for watch in watches:
        for _ in range(WARMUP):
            watch()
    gc.collect()
    gc.disable()
    try:
        end = perf_counter() + seconds * len(watches)
        while len(times[0]) < FEWEST or (perf_counter() < end and len(times[0]) < MOST):
            for watch, row in zip(watches, times, strict=True):
                start = perf_counter()
                watch()
                row.append(perf_counter() - start)
    finally:
        gc.enable()
    return times


_PROBE = """
import json, resource, sys
from pathlib import Path
from narrowcast import runtimes
from narrowcast.evaluation.latency import random_feed
path = Path(sys.argv[1])
empty = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
runner = runtimes.open(path, 1)
feed = random_feed(runner.inputs)
runner.run(feed)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - empty))
"""


def peak_memory(path: Path, timeout: float = 60.0) -> int | None:
    """Peak resident bytes that opening and running a file adds to a fresh process, its runtime included; None if it fails."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, str(path)], capture_output=True, text=True, timeout=timeout, check=True
        )
        return int(json.loads(done.stdout.strip().splitlines()[-1])) * 1024
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return None
