"""Samples by index, read when they are asked for, one after the other and over again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from narrowcast.errors import UsageError
from narrowcast.evaluation.trials import LARGEST_SEED
from narrowcast.model import Array, Feed

__all__ = ["READ_AHEAD", "DataSet", "Sample"]

READ_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """One feed, with its class index where that is known."""

    feed: Feed
    label: int | None = None


@dataclass(frozen=True)
class DataSet:
    """Samples by index, read on demand, over and over.

    Attributes:
        read: makes the feed of a sample.
        indices: which samples take part, in order.
        labels: class index by sample (of all samples, not only those that take part), or None.
        description: for reports.
        class_names: where the data set knows them.
        decoders: how many threads read ahead, so that decoding overlaps inference; 0 where reading costs nothing.
        remarks: what the user should know of the data.
        batch: how many samples make one feed, the first of them again where the last feed is short of some; feeds of
            several have no label.
    """

    read: Callable[[int], Feed]
    indices: Sequence[int]
    labels: Array | None
    description: str
    class_names: tuple[str, ...] = ()
    decoders: int = 0
    remarks: tuple[str, ...] = ()
    batch: int = 1

    def __len__(self) -> int:
        """How many feeds there are."""
        return -(-len(self.indices) // self.batch)

    def __iter__(self) -> Iterator[Sample]:
        indices = self.indices if self.batch == 1 else np.resize(self.indices, len(self) * self.batch).tolist()
        feeds = map(self.read, indices) if not self.decoders else self._read_ahead(indices)
        if self.batch > 1:
            yield from (Sample(_joined(tuple(islice(feeds, self.batch)))) for _ in range(len(self)))
            return
        for index, feed in zip(indices, feeds, strict=True):
            yield Sample(feed, None if self.labels is None else int(self.labels[index]))

    def _read_ahead(self, indices: Sequence[int]) -> Iterator[Feed]:
        with ThreadPoolExecutor(self.decoders) as pool:
            submitted = (pool.submit(self.read, index) for index in indices)
            waiting = deque(islice(submitted, READ_AHEAD))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(islice(submitted, 1))

    def feeds(self) -> Iterator[Feed]:
        """The feeds alone."""
        return (sample.feed for sample in self)

    def subset(self, samples: int | None, seed: int = 0) -> DataSet:
        """At most `samples` of them, drawn without replacement, as equally from the classes as can be; all if None.

        Raises:
            UsageError: fewer than one is asked for, or the seed is negative, or larger than a recipe's.
        """
        if samples is not None and samples < 1:
            raise UsageError(f"cannot take {samples} samples", hint="at least 1")
        if not 0 <= seed <= LARGEST_SEED:
            raise UsageError(f"cannot draw samples by the seed {seed}", hint=f"from 0 to {LARGEST_SEED}")
        if samples is None or samples >= len(self.indices):
            return self
        return replace(self, indices=self._shuffled(seed)[:samples], description=f"{samples} of the {self.description}")

    def last(self, samples: int, seed: int = 0) -> DataSet:
        """At most `samples` of them, those that `subset` takes last by the same seed: others than a smaller one has."""
        if samples >= len(self.indices):
            return self
        return replace(
            self, indices=self._shuffled(seed)[-samples:], description=f"{samples} of the {self.description}"
        )

    def split(self, samples: int, seed: int = 0) -> tuple[DataSet, DataSet]:
        """A drawn part of `samples`, at most half, and the rest; the two share none.

        Raises:
            UsageError: there are fewer than two samples, or fewer than one is asked for.
        """
        count = len(self.indices)
        if samples < 1 or count < 2:
            raise UsageError(f"cannot set {samples} of {count} samples aside", hint="give the calibration data as well")
        first = self.subset(min(samples, count // 2), seed)
        chosen = set(first.indices)
        rest = [index for index in self.indices if index not in chosen]
        return first, replace(self, indices=rest, description=f"the other {len(rest)} of the {self.description}")

    def _shuffled(self, seed: int) -> list[int]:
        """All indices at random; where labels are known, one of each class before a second of any."""
        shuffled = np.asarray(self.indices)[np.random.default_rng(seed).permutation(len(self.indices))]
        if self.labels is not None:
            by_class = np.argsort(self.labels[shuffled], kind="stable")
            ordered = self.labels[shuffled][by_class]
            starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
            turn = np.empty(len(shuffled), np.int64)
            turn[by_class] = np.arange(len(shuffled)) - np.repeat(starts, np.diff(starts, append=len(shuffled)))
            shuffled = shuffled[np.argsort(turn, kind="stable")]
        chosen: list[int] = shuffled.tolist()
        return chosen


def _joined(feeds: Sequence[Feed]) -> Feed:
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
