"""The answers of a source and of many files, sample by sample, shared out over threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import TypeAlias

from narrowcast import runtimes
from narrowcast.evaluation.accuracy import Answer
from narrowcast.evaluation.data import DataSet, Sample
from narrowcast.evaluation.ports import feed_for, outputs_as_source
from narrowcast.evaluation.source import Source
from narrowcast.evaluation.task_metrics import Outputs
from narrowcast.model import Feed
from narrowcast.writers.formats import Written

__all__ = ["SOURCE", "File", "scored"]

SOURCE = "source"

File: TypeAlias = tuple[str, Path, Written]
"""A name, a written file, and what its writer said of it."""


@contextmanager
def scored(test: DataSet, source: Source, files: Sequence[File], threads: int) -> Iterator[Iterator[Answer]]:
    """Yields the samples in order, each with the real outputs of the source and of the files.

    An int16x8 file takes a hundred times as long as the others, and knows one thread only: what can be shared out
    is the samples. So every thread has the files open for itself.

    Args:
        test: samples in the source's layout.
        source: what the files are compared with; run by all threads.
        files: what to score beside it.
        threads: how many samples are scored at a time, at most as many as there are cores.
    """
    panels = [_Panel(source, files) for _ in range(min(threads, os.cpu_count() or 1))]
    try:
        yield _shared_out(test, panels)
    finally:
        for panel in panels:
            panel.close()


class _Panel:
    """The source and every file, asked for their outputs of one sample after the other."""

    def __init__(self, source: Source, files: Sequence[File]) -> None:
        self.source = source
        self.files = [(ports, runtimes.open(path, ports.runtime)) for _, path, ports in files]

    def __call__(self, feed: Feed) -> list[Outputs]:
        """Outputs, the source's first."""
        found: list[Outputs] = [self.source.run(feed)]
        for ports, runner in self.files:
            found.append(outputs_as_source(ports.outputs, runner.run(feed_for(ports, feed))))
        return found

    def close(self) -> None:
        """Closes the files; the source stays open."""
        for _, runner in self.files:
            runner.close()


def _shared_out(test: DataSet, panels: Sequence[_Panel]) -> Iterator[Answer]:
    """Keeps every panel at work, and one sample for each waiting."""
    idle: Queue[_Panel] = Queue()
    for panel in panels:
        idle.put(panel)

    def score(sample: Sample) -> Answer:
        panel = idle.get()
        try:
            return Answer(sample, panel(sample.feed))
        finally:
            idle.put(panel)

    with ThreadPoolExecutor(len(panels)) as pool:
        waiting: deque[Future[Answer]] = deque()
        try:
            for sample in test:
                waiting.append(pool.submit(score, sample))
                if len(waiting) > 2 * len(panels):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
