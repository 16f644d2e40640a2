"""Measures one file in a process of its own.

`python -m narrowcast.evaluation._probe memory FILE RUNTIME SIGNATURE` prints the peak memory in bytes that one
inference adds; `... latency FILE RUNTIME SIGNATURE THREADS SECONDS` the times of single inferences in seconds, as a
JSON list.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from narrowcast import runtimes
from narrowcast.errors import NarrowcastError
from narrowcast.evaluation.latency import File, alternate, random_feed

__all__ = ["latency", "memory", "peak_bytes"]


def peak_bytes() -> int:
    """The most resident memory that this process has had.

    On Linux from its own memory map: what `getrusage` says there includes the peak of the process that started this one
    (fs/exec.c passes it on), and would hide everything smaller than that.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def memory(file: File) -> int:
    """The peak that opening the file and running it once adds."""
    before = peak_bytes()
    runner = runtimes.open(file.path, file.runtime, signature=file.signature)
    runner.run(random_feed(runner.inputs))
    return peak_bytes() - before


def latency(file: File, threads: int, seconds: float) -> list[float]:
    """The times of single inferences."""
    runner = runtimes.open(file.path, file.runtime, threads, file.signature)
    return alternate([runner.stopwatch(random_feed(runner.inputs))], seconds)[0]


if __name__ == "__main__":
    what, path, runtime, signature, *numbers = sys.argv[1:]
    file = File(Path(path), runtime, signature)
    try:
        found = memory(file) if what == "memory" else latency(file, int(numbers[0]), float(numbers[1]))
    except NarrowcastError as error:
        sys.exit(str(error))  # in words, not as a traceback with the name of a class
    print(json.dumps(found))  # noqa: T201
