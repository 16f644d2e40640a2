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
"""Runs of each file before the measurement; and at least and at most in it."""


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
        seconds: of running time for each file and number of threads, in at least 7 and at most 200 runs.
        progress: is told the number of thread counts done.

    Returns:
        For each file its latencies, in the order of `threads`.
    """
    found: list[list[Latency]] = [[] for _ in paths]
    for done, count in enumerate(threads, 1):
        runners = [runtimes.open(path, count) for path in paths]
        watches = [runner.stopwatch(random_feed(runner.inputs)) for runner in runners]
        for row, times in zip(found, _rounds(watches, seconds), strict=True):
            low, middle, high = np.percentile(times, (25, 50, 75))
            row.append(Latency(count, float(middle), float(low), float(high), len(times)))
        for runner in runners:
            runner.close()
        if progress is not None:
            progress(done)
    return [tuple(row) for row in found]


def _rounds(watches: Sequence[Callable[[], None]], seconds: float) -> list[list[float]]:
    """The times of each watch.

    In every round each takes one turn, and the next round starts with another, so that none always follows the same one. One
    that has used its seconds up stands aside while faster ones go on.
    """
    times: list[list[float]] = [[] for _ in watches]
    spent = [0.0] * len(watches)
    for watch in watches:
        for _ in range(WARMUP):
            watch()
    waiting = list(range(len(watches)))
    gc.collect()
    gc.disable()
    try:
        while waiting:
            for turn in waiting:
                start = perf_counter()
                watches[turn]()
                times[turn].append(perf_counter() - start)
                spent[turn] += times[turn][-1]
            waiting = [
                turn
                for turn in (*waiting[1:], waiting[0])
                if len(times[turn]) < FEWEST or (spent[turn] < seconds and len(times[turn]) < MOST)
            ]
    finally:
        gc.enable()
    return times


def peak_memory(path: Path, timeout: float = 120.0) -> int | None:
    """Peak resident bytes that opening a file and running it once add to a fresh process, its runtime's code included.

    None where it cannot be measured: the file does not run, or takes longer than `timeout` seconds.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "narrowcast.evaluation._probe", str(path)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        )
        return int(json.loads(done.stdout.strip().splitlines()[-1]))
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return None
