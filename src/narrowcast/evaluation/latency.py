"""Latency and memory of files: rounds alternate between the files, so that the machine's noise hits all alike."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from narrowcast import runtimes
from narrowcast.errors import ModelFileError
from narrowcast.evaluation.results import Latency
from narrowcast.evaluation.samples import closed_shape
from narrowcast.model import Feed, TensorSpec

__all__ = ["File", "alternate", "measure", "peak_memory", "random_feed"]

WARMUP, FEWEST, MOST = 3, 7, 200
"""Runs of each file before the measurement; and at least and at most in it."""

LEAST, PATIENCE = 3, 2.0
"""Runs that are enough of a file that has used its `seconds` so many times over."""

DEADLINE = 600.0
"""Seconds after which a process that measures is given up."""


class File(NamedTuple):
    """A file or folder to be measured, the runtime that it is measured on, and the key of one of several graphs."""

    path: Path
    runtime: str
    signature: str = ""


def random_feed(inputs: Sequence[TensorSpec], seed: int = 0) -> Feed:
    """Something for every input of a file; what it is does not matter to the time."""
    random = np.random.default_rng(seed)
    feed = {}
    for spec in inputs:
        shape = closed_shape(spec.shape)
        if spec.dtype.kind == "f":
            feed[spec.name] = random.normal(size=shape).astype(spec.dtype)
        else:
            feed[spec.name] = random.integers(0, 2, shape).astype(spec.dtype)
    return feed


def measure(
    files: Sequence[File],
    threads: Sequence[int],
    *,
    seconds: float = 2.0,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[Latency, ...]]:
    """Times single inferences.

    Files take turns within one process. Those of a runtime that says so (`runtimes.Runtime.apart`) are measured in a
    process each, where the number of threads can be set, and where the runtime leaves the others alone.

    Args:
        files: of any runtime.
        threads: the numbers of threads to measure with.
        seconds: of running time for each file and number of threads, in at least 7 and at most 200 runs; of one whose 7
            take more than twice as long, at least 3.
        progress: is told the number of thread counts done.

    Returns:
        For each file its latencies, in the order of `threads`.

    Raises:
        ModelFileError: a runtime refuses a file.
    """
    found: list[list[Latency]] = [[] for _ in files]
    apart = [file.runtime in runtimes.APART for file in files]
    for done, count in enumerate(threads, 1):
        together = iter(_times([file for file, alone in zip(files, apart, strict=True) if not alone], count, seconds))
        for file, alone, row in zip(files, apart, found, strict=True):
            times = _probed(file, "latency", str(count), str(seconds)) if alone else next(together)
            low, middle, high = np.percentile(times, (25, 50, 75))
            row.append(Latency(count, float(middle), float(low), float(high), len(times)))
        if progress is not None:
            progress(done)
    return [tuple(row) for row in found]


def _times(files: Sequence[File], threads: int, seconds: float) -> list[list[float]]:
    runners = [runtimes.open(file.path, file.runtime, threads, file.signature) for file in files]
    times = alternate([runner.stopwatch(random_feed(runner.inputs)) for runner in runners], seconds)
    for runner in runners:
        runner.close()
    return times


def alternate(watches: Sequence[Callable[[], None]], seconds: float) -> list[list[float]]:
    """The times of each watch, in seconds.

    In every round each takes one turn, and the next round starts with another, so that none always follows the same
    one. One that has used its `seconds` up stands aside while faster ones go on; a very slow one does so after few.
    """
    times: list[list[float]] = [[] for _ in watches]
    spent = [0.0] * len(watches)
    for watch in watches:
        started = perf_counter()
        for _ in range(WARMUP):
            watch()
            if perf_counter() - started > seconds:
                break
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
                if len(times[turn]) < LEAST
                or (len(times[turn]) < FEWEST and spent[turn] < PATIENCE * seconds)
                or (len(times[turn]) < MOST and spent[turn] < seconds)
            ]
    finally:
        gc.enable()
    return times


def peak_memory(file: File) -> int | None:
    """Peak resident bytes that opening a file and running it once add to a fresh process, its runtime's code included.

    None where the file does not run.
    """
    try:
        return int(_probed(file, "memory"))
    except ModelFileError:
        return None


def _probed(file: File, what: str, *arguments: str) -> Any:
    """What `_probe` says of a file. `-P`: modules that lie in the folder where the user stands are not imported.

    Raises:
        ModelFileError: it says nothing; with the last line of its complaint.
    """
    command = [
        sys.executable,
        "-P",
        "-m",
        "narrowcast.evaluation._probe",
        what,
        str(file.path),
        file.runtime,
        file.signature,
        *arguments,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(f"it ran for more than {DEADLINE:g} s", where=str(file.path)) from error
    if done.returncode:
        complaint = (done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"])[-1]
        raise ModelFileError(f"it cannot be measured: {complaint}", where=str(file.path))
    return json.loads(done.stdout.strip().splitlines()[-1])
